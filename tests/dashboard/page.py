"""The dashboard in a browser shows what `lookback query` says, before and after a night.

usage: page.py path/to/lookback [--picture FILE] [--home DIR]

Makes a demo world and starts Superset on it with jobs/superset/up.py, twice. Opens the dashboard in
headless Chromium and compares each figure with sums over the tables, which this script adds up by
itself and not with the views. Loads the bundle again: nothing changes. Filters by dates and by a publisher. Then
one payment lands, the night is made again, and the figures of what is pending change, no others.
Wants the packages playwright, pyarrow and pillow, and Chromium (`playwright install chromium`, or
one on the path). The first run installs Superset.
"""

import argparse
import csv
import datetime
import decimal
import io
import json
import os
import pathlib
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import urllib.parse
import zipfile

import PIL.Image
import playwright.sync_api
import pyarrow
import pyarrow.compute
import pyarrow.parquet

HERE = pathlib.Path(__file__).resolve().parent
SUPERSET = HERE.parent.parent / "jobs" / "superset"
LEDGER = "report.transaction_details"
NOBODY = "(unattributed)"


def say(claim):
    print(f"ok  {claim}", flush=True)


def flat(value, path=()):
    """What is nested, as (path, value)."""
    items = value.items() if isinstance(value, dict) else enumerate(value)
    for key, item in items:
        if isinstance(item, (dict, list)) and item:
            yield from flat(item, (*path, key))
        else:
            yield (*path, key), item


def alike(one, other):
    """DuckDB divides decimals as floats, so the sixth decimal of a ratio may be another."""
    if isinstance(one, float) and isinstance(other, float):
        return abs(one - other) < 1.5e-6
    return one == other


def same(what, found, expected):
    found, expected = dict(flat([found])), dict(flat([expected]))
    wrong = [
        f"  {path[1:]}: the page {found.get(path)!r}, expected {expected.get(path)!r}"
        for path in sorted({**found, **expected}, key=str)
        if path not in found or path not in expected or not alike(found[path], expected[path])
    ]
    if wrong:
        sys.exit("\n".join([f"FAILED: {what}:", *wrong[:20]]))


# ---- what the tables say ----


class Tables:
    def __init__(self, program, job):
        self.program, self.job = program, job

    def ask(self, sql):
        command = [self.program, "query", self.job, sql, "--format", "csv"]
        done = subprocess.run(command, check=True, capture_output=True, text=True)
        return list(csv.DictReader(io.StringIO(done.stdout)))

    def sums(self, key, table, **columns):
        """Sums by a key, as {key: {name: sum}}."""
        named = ", ".join(f"sum({text}) as {name}" for name, text in columns.items())
        rows = self.ask(f"select {key} as of_key, {named} from {table} group by {key}")
        return {
            row["of_key"]: {name: decimal.Decimal(row[name] or 0) for name in columns}
            for row in rows
        }

    def figures(self, key):
        """All figures of the dashboard by a key that traffic, refunds and ledger have."""
        parts = [
            self.sums(key, LEDGER, owed="approved_commission", pending="pending_commission"),
            self.sums(
                key, "report.traffic", clicks="clicks", orders="orders", amount="order_amount"
            ),
            self.sums(key, "report.refunds", refunds="refund_amount", clawback="approved_reversed"),
            self.sums(key, "report.orders", placed="placed_amount"),
        ]
        names = [name for part in parts for name in next(iter(part.values()))]
        found = {}
        for one in sorted(set().union(*parts)):
            found[one] = dict.fromkeys(names, decimal.Decimal(0))
            for part in parts:
                found[one].update(part.get(one, {}))
        return found


def total(rows):
    rows = list(rows)
    return {name: sum(row[name] for row in rows) for name in rows[0]}


def ratio(above, below):
    """To six decimals, as the views have it."""
    if not below:
        return None
    places = decimal.Decimal("0.000001")
    return float((above / below).quantize(places, rounding=decimal.ROUND_HALF_UP))


def shown(value, pattern):
    if value is None:
        return "N/A"
    return format(float(value), pattern)


def tile(now, before, pattern, suffix):
    change = (float(now) - float(before)) / abs(float(before)) if before else 0
    return [shown(now, pattern), f"{shown(change, '+,.1%')} {suffix}"]


def expected_tiles(tables, days, only=None):
    """What the tiles have to show, by their names; of a part of the rows those of the first row."""
    dates = sorted(days)
    last, before = (total(days[date] for date in part) for part in (dates[-7:], dates[-14:-7]))
    pending_now = total(days.values())["pending"]
    pending_before = total(days[date] for date in dates[:-7])["pending"]
    versus = "on the 7 before"

    def of(above, below, pattern):
        return tile(
            ratio(last[above], last[below]), ratio(before[above], before[below]), pattern, versus
        )

    tiles = {
        "Owed": tile(last["owed"], before["owed"], ",.2f", versus),
        "Pending now": tile(pending_now, pending_before, ",.2f", "in 7 dates"),
        "Orders": tile(last["orders"], before["orders"], ",.0f", versus),
        "Conversion": of("orders", "clicks", ",.2%"),
        "EPC": of("owed", "clicks", ",.4f"),
        "AOV": of("amount", "orders", ",.2f"),
    }
    if only:
        return tiles
    # Runs also make conversions of dates before the first report.
    reported = "select min(report_date) from report.traffic"
    lines = tables.sums(
        "1",
        f"(select * from attribution.conversions where order_date >= ({reported}))",
        nobody="case when status = 'attributed' then 0 else 1 end",
        lines="1",
    )["1"]
    whole = total(days.values())
    tiles["Unattributed share"] = [shown(ratio(lines["nobody"], lines["lines"]), ",.2%")]
    tiles["Refund rate"] = [shown(ratio(whole["refunds"], whole["placed"]), ",.2%")]
    rejects = tables.sums(
        "log", "clean.rejects", rows="1", bad="case when reason = 'duplicate' then 0 else 1 end"
    )
    for name, log, table in (
        ("Rejected clicks", "clicks", "clean.clicks"),
        ("Rejected order events", "orders", "clean.order_events"),
    ):
        clean = tables.sums("1", table, rows="1")["1"]["rows"]
        share = ratio(rejects[log]["bad"], rejects[log]["rows"] + clean)
        tiles[name] = [shown(share, ",.2%")]
    return tiles


def table_row(figures, columns):
    patterns = {
        "owed": ",.2f", "pending": ",.2f", "clicks": ",.0f", "orders": ",.0f",
        "refunds": ",.2f", "clawback": ",.2f",
    }  # fmt: skip
    ratios = {
        "conversion": ("orders", "clicks", ",.2%"), "epc": ("owed", "clicks", ",.4f"),
        "aov": ("amount", "orders", ",.2f"), "refund_rate": ("refunds", "placed", ",.2%"),
    }  # fmt: skip
    row = []
    for column in columns:
        if column in patterns:
            row.append(shown(figures[column], patterns[column]))
        else:
            above, below, pattern = ratios[column]
            row.append(shown(ratio(figures[above], figures[below]), pattern))
    return row


PUBLISHER_COLUMNS = [
    "owed", "pending", "clicks", "orders", "conversion", "epc", "aov", "refunds", "clawback",
]  # fmt: skip
STORE_COLUMNS = ["owed", "orders", "refunds", "refund_rate"]


def expected_tables(tables):
    """The rows of the two tables of the page, and their sums, by the first column."""
    publishers = tables.figures("publisher_id")
    publishers.pop(NOBODY, None)
    found = {}
    for name, figures, columns in (
        ("Top publishers by owed", publishers, PUBLISHER_COLUMNS),
        ("Top stores by owed", tables.figures("store_id"), STORE_COLUMNS),
    ):
        found[name] = {key: table_row(row, columns) for key, row in figures.items()}
        found[name]["Summary"] = table_row(total(figures.values()), columns)
    return found


def expected_days(days):
    """What is drawn, by chart and date; ratios as far as a drawing shows them."""
    charts = {}
    for name, metrics in {
        "Owed and pending by day": {"owed": "owed", "pending": "pending"},
        "Clicks and conversion rate by day": {
            "clicks": "clicks", "conversion_rate": ("orders", "clicks"),
        },
        "Orders and AOV by day": {"orders": "orders", "aov": ("amount", "orders")},
        "EPC by day": {"epc": ("owed", "clicks")},
        "Refunds and clawback by day": {"refund_amount": "refunds", "clawback": "clawback"},
    }.items():  # fmt: skip
        charts[name] = {
            date: {
                metric: ratio(row[of[0]], row[of[1]]) if isinstance(of, tuple) else float(row[of])
                for metric, of in metrics.items()
            }
            for date, row in days.items()
        }
    return charts


# ---- what the page says ----


class Page:
    def __init__(self, browser, url, password, width=1600):
        self.url = url
        self.page = browser.new_page(
            viewport={"width": width, "height": 1000}, color_scheme="light", device_scale_factor=1
        )
        self.answers = []
        self.page.on("response", lambda answer: self.answers.append(answer))
        self.page.goto(f"{url}/login/")
        self.page.fill("#username", "admin")
        self.page.fill("#password", password)
        self.page.keyboard.press("Enter")
        self.page.wait_for_url("**/welcome/**", timeout=120_000)

    def drawn(self):
        """What the charts of the page were drawn from, by chart; and what went wrong."""
        charts, errors = {}, []
        for answer in self.answers:
            if "/api/v1/chart/data" not in answer.url:
                continue
            if answer.status >= 400:
                errors.append(f"{answer.status} {answer.text()[:500]}")
                continue
            asked = urllib.parse.parse_qs(urllib.parse.urlparse(answer.url).query)
            chart = json.loads(asked.get("form_data", ["{}"])[0]).get("slice_id")
            if chart:
                charts[chart] = answer.json()["result"]
        return charts, errors

    def open(self, dates=None):
        """All dates, or from the first to before the second of two."""
        self.answers.clear()
        self.page.set_viewport_size({"width": self.page.viewport_size["width"], "height": 1000})
        url = f"{self.url}/superset/dashboard/lookback/"
        if dates:
            chosen = f"'{dates[0]} : {dates[1]}'"
            mask = f"extraFormData:(time_range:{chosen}),filterState:(value:{chosen})"
            mask = f"(NATIVE_FILTER-date:({mask},id:NATIVE_FILTER-date,ownState:()))"
            url += "?native_filters=" + urllib.parse.quote(mask)
        self.page.goto(url)
        self.page.wait_for_selector("[data-test-chart-name]", timeout=120_000)
        self.page.wait_for_timeout(2000)
        # Charts below the fold are not drawn, so there is no fold.
        tallest = "Math.max(...[...document.querySelectorAll('*')].map(e => e.scrollHeight))"
        height = self.page.evaluate(tallest)
        self.page.set_viewport_size(
            {"width": self.page.viewport_size["width"], "height": min(height + 50, 5000)}
        )
        self.wait()

    def wait(self):
        """Until each chart is there and nothing waits any more."""
        calm = 0
        for _ in range(400):
            waiting = sum(
                self.page.locator(of).count()
                for of in ("text=Waiting on", ".loading", "text=Loading filter")
            )
            calm = 0 if waiting else calm + 1
            if calm == 6:
                return
            self.page.wait_for_timeout(500)
        sys.exit("FAILED: the page is not there in time")

    def read(self):
        tiles, tables = {}, {}
        for chart in self.page.locator("[data-test-chart-name]").all():
            name = chart.get_attribute("data-test-chart-name")
            kind = chart.get_attribute("data-test-viz-type") or ""
            if chart.locator(".header-line").count():
                tiles[name] = [chart.locator(".header-line").inner_text()]
                if chart.locator(".subheader-line:not(.subtitle-line)").count():
                    tiles[name].append(chart.locator(".subheader-line").inner_text())
            elif kind == "table" or chart.locator("tbody tr").count():
                rows = chart.locator("tbody tr").all() + chart.locator("tfoot tr").last.all()
                cells = [row.locator("th, td").all_inner_texts() for row in rows]
                cells = [[cell.strip() for cell in row] for row in cells]
                tables[name] = {row[0]: row[1:] for row in cells if row}
        return tiles, tables

    def names(self):
        answer = self.page.request.get(f"{self.url}/api/v1/dashboard/lookback/charts")
        return {chart["id"]: chart["slice_name"] for chart in answer.json()["result"]}

    def days(self):
        """What the time series were drawn from."""
        charts, (drawn, _) = {}, self.drawn()
        for chart, name in self.names().items():
            if not name.endswith("by day"):
                continue
            rows = {}
            for result in drawn[chart]:
                for row in result["data"]:
                    instant = row.pop("report_date") / 1000
                    date = datetime.datetime.fromtimestamp(instant, datetime.timezone.utc)
                    values = {
                        key: None if value is None else float(value) for key, value in row.items()
                    }
                    rows.setdefault(date.date().isoformat(), {}).update(values)
            charts[name] = rows
        return charts

    def faults(self):
        """Charts that say that they are empty or broken."""
        found = self.drawn()[1]
        for words in ("No data", "No results", "Unexpected error", "Data error", "See more"):
            for place in self.page.locator(f"[data-test-chart-name] >> text={words}").all():
                found.append(place.inner_text())
        return found

    def exported(self):
        """The dashboard with all that it needs, but for the time of the export."""
        answer = self.page.request.get(f"{self.url}/api/v1/dashboard/")
        boards = answer.json()["result"]
        packed = self.page.request.get(
            f"{self.url}/api/v1/dashboard/export/?q=!({boards[0]['id']})"
        ).body()
        with zipfile.ZipFile(io.BytesIO(packed)) as archive:
            files = {name.split("/", 1)[1]: archive.read(name) for name in archive.namelist()}
        files.pop("metadata.yaml")
        return len(boards), files

    def choose(self, name, value):
        self.page.click(f"[data-test=NATIVE_FILTER-{name}]")
        self.page.keyboard.type(value)
        self.page.click(f".ant-select-item-option[title='{value}']", timeout=60_000)
        self.page.keyboard.press("Escape")
        self.page.click("[data-test=filter-bar__apply-button]")
        self.page.wait_for_timeout(2000)
        self.wait()

    def picture(self, file):
        """The page without Superset's own bars, small enough for a repository."""
        self.page.set_viewport_size({"width": 1360, "height": 1000})
        self.page.goto(f"{self.url}/superset/dashboard/lookback/?standalone=1")
        self.page.wait_for_selector("[data-test-chart-name]", timeout=120_000)
        self.page.set_viewport_size({"width": 1360, "height": 2400})
        self.page.wait_for_timeout(2000)
        self.wait()
        self.page.wait_for_timeout(3000)
        # Down to the table of publishers.
        table = self.page.locator("[data-test-chart-name='Top publishers by owed']").bounding_box()
        part = {"x": 0, "y": 0, "width": 1360, "height": int(table["y"] + table["height"] + 32)}
        image = PIL.Image.open(io.BytesIO(self.page.screenshot(clip=part))).convert("RGB")
        file.parent.mkdir(parents=True, exist_ok=True)
        image.save(file, optimize=True)
        say(f"{file}: {image.width} × {image.height} pixels, {file.stat().st_size:,} bytes")


# ---- Superset, and a payment ----


class Superset:
    """Started as the documents say."""

    def __init__(self, program, job, home):
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            port = free.getsockname()[1]
        command = [sys.executable, SUPERSET / "up.py", job, "--lookback", program]
        command += ["--port", str(port)] + (["--home", str(home)] if home else [])
        self.process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        said = {}
        for line in self.process.stdout:
            name, _, rest = line.strip().partition(" ")
            said[name] = rest.strip()
            if line.startswith("Ctrl-C"):
                break
        else:
            sys.exit("FAILED: up.py ended")
        self.url = f"http://127.0.0.1:{port}"
        self.password = pathlib.Path(said["account"].split(" in ")[1]).read_text()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.stop()

    def load_again(self):
        environment = {**os.environ, "SUPERSET_PASSWORD": self.password}
        subprocess.run(
            [sys.executable, SUPERSET / "load.py", self.url],
            check=True, env=environment, stdout=subprocess.DEVNULL,
        )  # fmt: skip

    def stop(self):
        self.process.send_signal(signal.SIGTERM)
        same("the exit code of a start that was ended", self.process.wait(timeout=60), 143)


def let_a_payment_land(tables, world, last):
    """Adds one raw row, and returns its publisher and what becomes pending by it."""
    line = tables.ask(
        f"""select order_id, line_id, min(event_id) as event_id, min(publisher_id) as publisher_id,
            min(placed_at) as placed_at, sum(sale_amount) as sale, min(commission_rate) as rate
        from {LEDGER} group by order_id, line_id
        having count(*) = 1 and min(report_date) < date '{last}' and sum(sale_amount) > 50
        order by placed_at desc, order_id, line_id limit 1"""
    )[0]
    folder = world / "raw" / "orders"
    schema = row = None
    for file in sorted(folder.rglob("*.parquet")):
        rows = pyarrow.parquet.read_table(file, partitioning=None)
        found = rows.filter(pyarrow.compute.equal(rows["event_id"], line["event_id"]))
        if found.num_rows:
            schema, row = found.schema, found.to_pylist()[0]
    at = datetime.datetime.fromisoformat(f"{last}T18:00:00+00:00")
    row.update(event_id="a-payment-that-came-late", event_type="paid", event_at=at)
    late = pyarrow.Table.from_pylist([row], schema)
    pyarrow.parquet.write_table(late, folder / f"dt={last}" / "part-late.parquet")
    cent = decimal.Decimal("0.01")
    product = decimal.Decimal(line["sale"]) * decimal.Decimal(line["rate"])
    return line["publisher_id"], product.quantize(cent, rounding=decimal.ROUND_HALF_UP)


def compare(tables, page):
    days = tables.figures("report_date")
    tiles, rows = page.read()
    same("charts that are empty or broken", page.faults(), [])
    same("the tiles", tiles, expected_tiles(tables, days))
    same("the tables", rows, expected_tables(tables))
    drawn = page.days()
    same("the time series", drawn, expected_days(days))
    return days, tiles, rows, drawn


def main():
    arguments = argparse.ArgumentParser()
    arguments.add_argument("program")
    arguments.add_argument("--picture", type=pathlib.Path, help="writes a picture of the page")
    arguments.add_argument("--home", type=pathlib.Path, help="folder of Superset, as for up.py")
    given = arguments.parse_args()
    # As an error does, so that Superset is ended.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    program = str(pathlib.Path(given.program).resolve())
    folder = tempfile.TemporaryDirectory(prefix="lookback-dashboard-")
    world = pathlib.Path(folder.name) / "demo"
    subprocess.run([program, "demo", world, "--quiet"], check=True, capture_output=True)
    tables = Tables(program, world / "job.toml")

    with Superset(program, tables.job, given.home):
        say("Superset starts with the dashboard")
    say("and stops")
    with (
        Superset(program, tables.job, given.home) as superset,
        playwright.sync_api.sync_playwright() as started,
    ):
        own = shutil.which("chromium") or shutil.which("chromium-browser")
        # A container's root has no sandbox.
        browser = started.chromium.launch(executable_path=own, args=["--no-sandbox"])
        page = Page(browser, superset.url, superset.password)
        page.open()
        boards, exported = page.exported()
        same("dashboards after two starts", boards, 1)
        days, tiles, rows, drawn = compare(tables, page)
        last = max(days)
        figures = sum(map(len, tiles.values())) + sum(
            len(row) for table in rows.values() for row in table.values()
        )
        points = sum(len(row) for chart in drawn.values() for row in chart.values())
        say(
            f"{figures} figures on the page and {points} points of its lines are those of the tables"
        )
        if given.picture:
            page.picture(given.picture)

        superset.load_again()
        same("the dashboard after another load", page.exported(), (1, exported))
        say("loading the bundle again changes nothing")

        chosen = sorted(days)[-25:-5]
        page.open((chosen[0], chosen[-1]))
        expected = expected_tiles(
            tables, {date: days[date] for date in days if date < chosen[-1]}, "any"
        )
        expected["Pending now"] = tiles["Pending now"]
        found = page.read()[0]
        same("tiles of some dates", {name: found[name] for name in expected}, expected)
        say(
            f"dates from {chosen[0]} to before {chosen[-1]}: the seven last of them, and the seven before"
        )

        page.open()
        publisher = next(iter(rows["Top publishers by owed"]))
        page.choose("publisher", publisher)
        of_one = Tables(program, tables.job)
        one = {}
        for date, row in days.items():
            one[date] = dict.fromkeys(row, decimal.Decimal(0))
        for table, columns in {
            LEDGER: {"owed": "approved_commission", "pending": "pending_commission"},
            "report.traffic": {"clicks": "clicks", "orders": "orders", "amount": "order_amount"},
        }.items():
            where = f"{table} where publisher_id = '{publisher}'"
            for date, row in of_one.sums("report_date", where, **columns).items():
                one[date].update(row)
        filtered, filtered_rows = page.read()
        expected = expected_tiles(tables, one, publisher)
        same(f"tiles of {publisher}", {name: filtered[name] for name in expected}, expected)
        same(
            "publishers in the table",
            list(filtered_rows["Top publishers by owed"]),
            [publisher, "Summary"],
        )
        say(f"the filter leaves the figures of {publisher}")

        paid_to, pending = let_a_payment_land(tables, world, last)
        command = [program, "run", tables.job, "--date", last, "--quiet"]
        subprocess.run(command, check=True)
        page.open()
        _, new_tiles, new_rows, new_drawn = compare(tables, page)
        changed = sorted(name for name in tiles if tiles[name] != new_tiles[name])
        same("tiles that changed", changed, ["Pending now"])
        changed = sorted(
            (name, key, column)
            for name, table in rows.items()
            for key, row in table.items()
            for column, (old, new) in enumerate(zip(row, new_rows[name][key], strict=True))
            if old != new
        )
        top, of_pending = "Top publishers by owed", PUBLISHER_COLUMNS.index("pending")
        same(
            "cells that changed",
            changed,
            [(top, key, of_pending) for key in sorted([paid_to, "Summary"])],
        )
        changed = [
            (name, date, metric, round(new_drawn[name][date][metric] - value, 2))
            for name, chart in drawn.items()
            for date, row in chart.items()
            for metric, value in row.items()
            if value != new_drawn[name][date][metric]
        ]
        same(
            "points that changed",
            changed,
            [("Owed and pending by day", last, "pending", float(pending))],
        )
        say(
            f"a payment of {last} for {paid_to}: pending rises by {pending} where it should, all else stays"
        )
        browser.close()
    print("the dashboard shows what the tables say")


if __name__ == "__main__":
    main()

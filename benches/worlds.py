"""Worlds: folders with raw logs, reference tables and a job file."""

import datetime
import json
import pathlib
import re
import shutil
import subprocess
import tomllib
import zoneinfo

from measure import say

ONE_DAY = datetime.timedelta(days=1)
ALL_DATES = (datetime.date.min, datetime.date.max)


class World:
    def __init__(self, folder):
        self.folder = folder.resolve()
        self.text = (self.folder / "job.toml").read_text()
        self.job = tomllib.loads(self.text)
        self.zone = zoneinfo.ZoneInfo(self.job["program"].get("time_zone", "UTC"))
        self.late = self.job.get("lateness", {}).get("late_days", 2)
        self.window = self.job.get("attribution", {}).get("window_hours", 720)
        self.horizon = self.job.get("lateness", {}).get("order_horizon_days", 90)
        self.landing_dates = sorted(set(self.landed("clicks")) & set(self.landed("orders")))
        # The report dates for which all landing dates are there.
        self.first = self.landing_dates[0]
        self.last = self.landing_dates[-1]
        while self.utc_dates(self.last)[1] > self.landing_dates[-1]:
            self.last -= ONE_DAY

    def log(self, name):
        return self.folder / self.job["input"][name]

    def landed(self, log):
        return sorted(
            datetime.date.fromisoformat(folder.name[3:]) for folder in self.log(log).glob("dt=*")
        )

    def files(self, log, first, last):
        return [
            str(file)
            for dt in self.landed(log)
            if first <= dt <= last
            for file in sorted((self.log(log) / f"dt={dt}").glob("*.parquet"))
        ]

    def all_files(self):
        return {log: self.files(log, *ALL_DATES) for log in ["clicks", "orders"]}

    def last_dates(self, count):
        """The last so many report dates: the first of them, and the last."""
        return max(self.last - (count - 1) * ONE_DAY, self.first), self.last

    def utc_dates(self, date):
        """First and last UTC date of a local date."""
        start = datetime.datetime.combine(date, datetime.time(), self.zone)
        end = datetime.datetime.combine(date + ONE_DAY, datetime.time(), self.zone)
        last = end.astimezone(datetime.timezone.utc) - datetime.timedelta(microseconds=1)
        return start.astimezone(datetime.timezone.utc).date(), last.date()

    def write_job(self, root, file):
        """Writes the world's job file with another output root."""
        text = re.sub(r"(?m)^(root\s*=\s*).*$", lambda m: m[1] + json.dumps(str(root)), self.text)
        for key, path in self.job["input"].items():
            absolute = json.dumps(str(self.folder / path))
            text = re.sub(rf"(?m)^({key}\s*=\s*)(\"[^\"]*\"|'[^']*')",
                          lambda m, absolute=absolute: m[1] + absolute, text, count=1)
        file.write_text(text)
        return file

    def read_through(self):
        """Brings the raw logs into the page cache: the first to run must not wait for the disk."""
        for files in self.all_files().values():
            for file in files:
                with open(file, "rb") as content:
                    while content.read(1 << 22):
                        pass


def demo_world(arguments, name, days, clicks, orders):
    """A world by `lookback demo`, made once and then taken from the cache folder."""
    folder = arguments.cache / f"{name}-{days}-{clicks}-{orders}"
    if not folder.exists():
        say(f"making {folder}")
        unfinished = folder.with_name(folder.name + ".unfinished")
        shutil.rmtree(unfinished, ignore_errors=True)
        subprocess.run(
            [arguments.binary, "demo", unfinished, "--no-run", "--quiet", "--days", str(days),
             "--clicks-per-day", str(clicks), "--orders-per-day", str(orders)],
            check=True,
        )
        unfinished.rename(folder)
    return World(folder)


SKEWED_JOB = """\
[input]
clicks = "raw/clicks"
orders = "raw/orders"
links = "reference/links.csv"
stores = "reference/stores.csv"
rates = "reference/rates.csv"

[output]
root = "warehouse"

[program]
time_zone = "America/Los_Angeles"
default_rate = "0.03"

[links]
formats = ['^https?://go[.]example/([0-9a-z]+)']
"""


def write_skewed_world(folder, buyers):
    """A world of 40 landing dates, a million clicks and 10,000 orders, among so many buyers."""
    import duckdb

    folder = pathlib.Path(folder)
    (folder / "reference").mkdir(parents=True)
    (folder / "raw").mkdir()
    (folder / "job.toml").write_text(SKEWED_JOB)
    links = "".join(f"link{n},publisher{n % 60},,,\n" for n in range(400))
    (folder / "reference/links.csv").write_text(
        "link_key,publisher_id,tracking_id,valid_from,valid_to\n" + links)
    stores = "".join(f"store{n},,\n" for n in range(40))
    (folder / "reference/stores.csv").write_text("store_id,joined_at,left_at\n" + stores)
    (folder / "reference/rates.csv").write_text(
        "scope,scope_id,store_id,rate,valid_from,valid_to\nstore,store7,,0.08,,\n")

    connection = duckdb.connect()
    connection.execute("set timezone = 'UTC'")
    # Scattered over 40 days; each order is some microseconds after a click.
    span = 40 * 86_400 * 1_000_000
    at = f"make_timestamptz(1772323200000000 + ({{}} * 1000003 * 3456007) % {span})"
    connection.execute(
        f"""create view clicks as
            select 'click' || lpad(n::varchar, 9, '0') as click_id, {at.format('n')} as clicked_at,
                'https://go.example/link' || n % 400 || '?session=' || md5(n::varchar) as url,
                'buyer' || n % {buyers} as buyer_id, md5((n % 30011)::varchar) as visitor_id,
                'store' || n % 41 as store_id, 'product' || n % 900 as product_id,
                ['US', 'DE', 'FR'][1 + n % 3] as country, ['app', 'mobile'][1 + n % 2] as device,
                clicked_at::date as dt
            from range(1000000) as rows(n)"""
    )
    connection.execute(
        f"""create view orders as
            with placed as (
                select n, 'order' || n as order_id,
                    {at.format('(n * 97 + 13)')} + interval 7 microseconds as placed_at,
                    (100 + n % 9901)::decimal(18, 4) as amount
                from range(10000) as rows(n)
            ),
            steps as (
                select 'placed' as event_type, interval 0 hours as wait
                union all select 'paid', interval 1 hours
                union all select 'completed', interval 150 hours
            )
            select event_type || n as event_id, event_type, placed_at + wait as event_at,
                order_id, '1' as line_id, 'buyer' || n % {buyers} as buyer_id,
                'store' || n % 40 as store_id, amount, 'USD' as currency,
                'product' || n % 900 as product_id, 'category' || n % 20 as category_id,
                1 as quantity, 'US' as country, null::varchar as reason, event_at::date as dt
            from placed cross join steps
            where event_at < make_timestamptz(1772323200000000 + {span})"""
    )
    for log in ["clicks", "orders"]:
        connection.execute(
            f"""copy (from {log} order by dt) to '{folder / 'raw' / log}'
                (format parquet, compression zstd, partition_by (dt))"""
        )

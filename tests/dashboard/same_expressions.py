"""The dashboard's files ask for columns that are there, and its ratios are those of the views.

usage: same_expressions.py

Reads the heads of sql/view and the files below jobs/superset/bundle. Needs no Superset, no program
and no tables, only the package pyyaml.
"""

import pathlib
import re
import sys
import uuid

import yaml

ROOT = pathlib.Path(__file__).resolve().parent.parent.parent
VIEWS = ROOT / "sql" / "view"
BUNDLE = ROOT / "jobs" / "superset" / "bundle"
TYPES = {"date": "DATE", "text": "VARCHAR", "count": "BIGINT", "money": "DECIMAL(18, 2)"}
RATIO = "cast(cast(sum({}) as decimal(24, 6)) / nullif(sum({}), 0) as decimal(24, 6))"
failures = []


def expect(holds, what):
    if not holds:
        failures.append(what)


class View:
    """The head of a file: its columns and what may be divided by what."""

    def __init__(self, path):
        self.columns, self.ratios = {}, {}
        part = ""
        for line in path.read_text().splitlines():
            if not line.startswith("--"):
                break
            if field := re.fullmatch(r"-- (\w+):.*", line):
                part = field[1]
            elif not line.startswith("--   "):
                part = ""
            elif part == "columns":
                name, kind = line[2:].split()[:2]
                self.columns[name] = kind
            elif part == "ratios":
                name, above, below = re.fullmatch(r"--\s+(\w+)\s*= (.+) / (.+)", line).groups()
                self.ratios[name] = RATIO.format(above.strip("()"), below.strip("()"))


def files(folder):
    return {
        path.stem: yaml.safe_load(path.read_text())
        for path in sorted((BUNDLE / folder).rglob("*.yaml"))
    }


def dataset(name, found, views, ratios):
    if name not in views:
        return expect(False, f"{name}: is no view")
    view = views[name]
    expect(found["table_name"] == name and found["schema"] == "view", f"{name}: another table")
    expect(not found["sql"], f"{name}: has a query of its own; queries belong into sql/view")
    for column in found["columns"]:
        kind = view.columns.get(column["column_name"])
        expect(kind, f"{name}: no column {column['column_name']}")
        expect(column["type"] == TYPES.get(kind), f"{name}: {column['column_name']} is {kind}")
    for metric in found["metrics"]:
        what = f"{name}: metric {metric['metric_name']}: {metric['expression']}"
        if sum_of := re.fullmatch(r"sum\((\w+)\)", metric["expression"]):
            expect(view.columns.get(sum_of[1]) in ("count", "money"), f"{what}: not such a column")
        else:
            own = ratios.get(metric["metric_name"])
            expect(metric["expression"] == own, f"{what}: the views have {own}")
            for column in re.findall(r"sum\((\w+)\)", metric["expression"]):
                expect(column in view.columns, f"{what}: no column {column}")


def names_in(params):
    """Columns and metrics that a chart asks for."""
    for key in ("metrics", "metrics_b", "metric", "timeseries_limit_metric"):
        values = params.get(key) or []
        yield from (
            ("metric", value) for value in ([values] if isinstance(values, str) else values)
        )
    for key in ("groupby", "groupby_b", "x_axis"):
        values = params.get(key) or []
        yield from (
            ("column", value) for value in ([values] if isinstance(values, str) else values)
        )
    for key in ("adhoc_filters", "adhoc_filters_b"):
        yield from (("column", value["subject"]) for value in params.get(key) or [])


def main():
    views = {path.stem: View(path) for path in sorted(VIEWS.glob("*.sql"))}
    ratios = {name: sql for view in views.values() for name, sql in view.ratios.items()}
    datasets, charts = files("datasets"), files("charts")
    for name, found in datasets.items():
        dataset(name, found, views, ratios)

    # The views spell the ratios as the dashboard does.
    text = (VIEWS / "performance_by_day.sql").read_text().replace("performance.", "")
    text = re.sub(r"\s+", " ", text).replace("( cast", "(cast").replace("6) ) as", "6)) as")
    for name, sql in views["performance"].ratios.items():
        expect(f"{sql} as {name}" in text, f"performance_by_day: not {sql} as {name}")

    by_uuid = {found["uuid"]: found for found in datasets.values()}
    for name, chart in charts.items():
        asked = by_uuid.get(chart["dataset_uuid"])
        if not asked:
            expect(False, f"{name}: no such dataset")
            continue
        known = {
            "column": {column["column_name"] for column in asked["columns"]},
            "metric": {metric["metric_name"] for metric in asked["metrics"]},
        }
        for kind, value in names_in(chart["params"]):
            expect(value in known[kind], f"{name}: {asked['table_name']} has no {kind} {value}")

    # Each chart is on the dashboard once, and the filters ask for columns that are there.
    board = files("dashboards")["lookback"]
    placed = [
        item["meta"]["uuid"]
        for item in board["position"].values()
        if isinstance(item, dict) and item["type"] == "CHART"
    ]
    expect(sorted(placed) == sorted(chart["uuid"] for chart in charts.values()), "charts placed")
    for chosen in board["metadata"]["native_filter_configuration"]:
        for target in chosen["targets"]:
            if target:
                columns = {
                    column["column_name"] for column in by_uuid[target["datasetUuid"]]["columns"]
                }
                expect(target["column"]["name"] in columns, f"filter {chosen['name']}")

    everything = {**datasets, **charts, **files("databases"), "dashboard": board}
    uuids = [str(uuid.UUID(found["uuid"])) for found in everything.values()]
    expect(len(set(uuids)) == len(uuids), "an id is there twice")
    if failures:
        sys.exit("FAILED:\n" + "\n".join(failures))
    print(
        f"{len(charts)} charts over {len(datasets)} views ask for what is there, as the views spell it"
    )


if __name__ == "__main__":
    main()

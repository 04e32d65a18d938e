"""lookback in Airflow 3: the nightly run, and backfills of a range.

Set the constants below, put this file among the DAGs, and have `lookback` on the workers' path (its
wheel brings it). Tables are assets: `lookback_owed.py` is a DAG that waits for one of them.
"""

import json
import subprocess
from datetime import timedelta

import pendulum
from airflow.sdk import Asset, CronDataIntervalTimetable, Param, PokeReturnValue, dag, task
from airflow.sdk.exceptions import AirflowException, AirflowFailException

JOB = "/etc/lookback/job.toml"
ROOT = "s3://shop/warehouse"  # [output] root of the job
ZONE = "America/Los_Angeles"  # [program] time_zone of the job
# When the landing dates of a report date are complete, on the day after it, in ZONE. They are UTC dates: here
# they end at 16:00 or 17:00, and west of UTC such a time has to be after that. In UTC 02:30 is right, and
# east of it 15:00.
COMPLETE_AT = "30 19 * * *"
# More words for each run, such as ["--metrics", "/var/lib/node_exporter/textfile/lookback.prom"], which the
# worker's user has to be able to write. Reports are made by a DAG that waits, as in lookback_owed.py.
FLAGS = []
FIRST_DATE = pendulum.datetime(2026, 4, 1, tz=ZONE)

TABLES = [
    "attribution.conversions",
    "report.traffic",
    "report.orders",
    "report.refunds",
    "report.transaction_details",
    "report.unbooked_events",
]
ASSETS = [Asset(f"lookback/{table}", uri=f"{ROOT}/{table.replace('.', '/')}") for table in TABLES]


def lookback(*arguments):
    """Runs the program and says by its exit code what Airflow does next. The summary is the result."""
    command = ["lookback", *arguments, *FLAGS, "--summary", "-"]
    run = subprocess.run(command, stdout=subprocess.PIPE)
    # A run that was killed, or whose arguments make no sense, has no summary.
    summary = json.loads(run.stdout or "{}")
    trouble = "; ".join([f"exit {run.returncode}", *summary.get("complaints", [])])
    match run.returncode:
        case 0:
            return PokeReturnValue(is_done=True, xcom_value=summary)
        case 3 | 5:  # not landed, or another run holds the warehouse: ask again later
            return False
        case 2 | 4:  # a wrong job or argument, or a broken promise or limit: no retry mends it
            raise AirflowFailException(trouble)
        case _:  # something below failed
            raise AirflowException(trouble)


# Exit 3 and 5 give the worker back and ask again every 15 minutes, for 20 hours. Exit 1 is retried.
# One run at a time, also beside a backfill.
WAITS = {
    "mode": "reschedule",
    "poke_interval": timedelta(minutes=15),
    "timeout": timedelta(hours=20),
    "retries": 3,
    "retry_delay": timedelta(minutes=5),
    "max_active_tis_per_dag": 1,
    "outlets": ASSETS,
}


@dag(
    schedule=CronDataIntervalTimetable(COMPLETE_AT, timezone=ZONE),
    start_date=FIRST_DATE,
    catchup=True,
    max_active_runs=1,
)
def lookback_nightly():
    """One run a night: the report date is the local day on which the data interval begins."""

    @task.sensor(**WAITS)
    def run(data_interval_start=None):
        if data_interval_start is None:  # started by hand, without a date
            return lookback("run", JOB, "--date", "yesterday")
        return lookback("run", JOB, "--date", str(data_interval_start.astimezone(FIRST_DATE.tz).date()))

    run()


@dag(
    schedule=None,
    max_active_runs=1,
    params={
        "first": Param(None, type=["null", "string"], format="date", title="First report date"),
        "last": Param(None, type=["null", "string"], format="date", title="Last report date"),
    },
)
def lookback_backfill():
    """A range of report dates in one run, faster than a run each; without dates, what is outdated."""

    @task.sensor(**WAITS)
    def backfill(params=None):
        if params["first"] is None:
            return lookback("backfill", JOB, "--stale")
        return lookback("backfill", JOB, "--from", params["first"], "--to", params["last"] or params["first"])

    backfill()


lookback_nightly()
lookback_backfill()

"""The DAGs of jobs/airflow under a real Airflow 3, with the program from a wheel, on a made-up world.

usage: airflow.py WHEEL          (needs uv; takes about five minutes)

Makes a virtual environment with Airflow and the wheel, runs `airflow dags test`, then a scheduler, an
API server and a DAG processor: catchup, a backfill of three days, logs that land late, a warehouse
that is held, a wrong job, a failure below, and a DAG that waits for an asset.

Prints a line per claim that holds; ends with exit code 1 at the first that does not.
"""

import datetime
import fcntl
import json
import os
import pathlib
import shutil
import signal
import socket
import sqlite3
import subprocess
import sys
import tempfile
import time

AIRFLOW = "apache-airflow==3.3.2"
DAGS = pathlib.Path(__file__).resolve().parents[2] / "jobs/airflow"
SERVICES = ["dag-processor", "scheduler", "api-server"]
# Not shorter: Airflow takes a task that is back within seconds for one that was lost.
SHORT_PAUSES = {
    "poke_interval\": timedelta(minutes=15)": "poke_interval\": timedelta(seconds=15)",
    "retry_delay\": timedelta(minutes=5)": "retry_delay\": timedelta(seconds=1)",
}


def holds(claim, told=""):
    print(f"ok: {claim}" + (f": {told}" if told else ""), flush=True)


def ensure(condition, trouble):
    if not condition:
        raise SystemExit(f"BROKEN: {trouble}")


def wait_for(what, happens, seconds=300):
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if answer := happens():
            return answer
        time.sleep(1)
    raise SystemExit(f"BROKEN: {what} did not happen in {seconds} s")


class World:
    """A world of logs, its job, and Airflow with DAGs for it."""

    def __init__(self, temp, wheel):
        self.temp = temp
        venv = temp / "venv"
        subprocess.run(["uv", "venv", "--quiet", venv], check=True)
        python = venv / "bin/python"
        install = ["uv", "pip", "install", "--quiet", "--python", python, AIRFLOW, wheel]
        subprocess.run(install, check=True)
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            port = probe.getsockname()[1]
        self.environment = os.environ | {
            "PATH": f"{venv / 'bin'}:{os.environ['PATH']}",
            "AIRFLOW_HOME": str(temp / "airflow"),
            "AIRFLOW__CORE__DAGS_FOLDER": str(temp / "dags"),
            "AIRFLOW__CORE__LOAD_EXAMPLES": "False",
            "AIRFLOW__CORE__EXECUTION_API_SERVER_URL": f"http://127.0.0.1:{port}/execution/",
            "AIRFLOW__CORE__SIMPLE_AUTH_MANAGER_ALL_ADMINS": "True",
            "AIRFLOW__API__PORT": str(port),
            "AIRFLOW__API__HOST": "127.0.0.1",
            "AIRFLOW__API__WORKERS": "1",
            "AIRFLOW__DAG_PROCESSOR__REFRESH_INTERVAL": "5",
            "AIRFLOW__LOGGING__LOGGING_LEVEL": "WARNING",
        }
        self.lookback("demo", str(temp / "world"), "--days", "12", "--clicks-per-day", "300",
                      "--orders-per-day", "60", "--no-run")  # fmt: skip
        self.job = temp / "world/job.toml"
        # The last landing dates come later.
        for log in ["clicks", "orders"]:
            for date in sorted((temp / "world/raw" / log).iterdir())[9:]:
                late = temp / "late" / log / date.name
                late.parent.mkdir(parents=True, exist_ok=True)
                date.rename(late)
        (temp / "dags").mkdir()
        self.put_dags("", self.job)
        shutil.copy(DAGS / "lookback_owed.py", temp / "dags")
        self.replace(temp / "dags/lookback_owed.py", {"/etc/lookback/job.toml": str(self.job)})

    def put_dags(self, suffix, job, first="pendulum.datetime(2026, 3, 5", catchup="catchup=True"):
        """Copies of the DAGs, with short pauses; others are told apart by the end of their names."""
        file = self.temp / f"dags/lookback_dags{suffix}.py"
        shutil.copy(DAGS / "lookback_dags.py", file)
        changes = SHORT_PAUSES | {
            "/etc/lookback/job.toml": str(job),
            "s3://shop/warehouse": f"file://{job.parent}/warehouse{suffix}",
            "pendulum.datetime(2026, 4, 1": first,
            "catchup=True": catchup,
            # As docs/schedulers.md has it, with a file in place of a webhook.
            '"outlets": ASSETS,': '"outlets": ASSETS, "on_failure_callback": lambda context: '
            f"open('{self.temp}/told', 'a').write(str(context['exception'])),",
            "def lookback_nightly": f"def lookback_nightly{suffix}",
            "def lookback_backfill": f"def lookback_backfill{suffix}",
            "\nlookback_nightly()": f"\nlookback_nightly{suffix}()",
            "\nlookback_backfill()": f"\nlookback_backfill{suffix}()",
        }
        if suffix:
            changes['f"lookback/{table}"'] = f'f"lookback{suffix}/{{table}}"'
        self.replace(file, changes)

    def replace(self, file, changes):
        text = file.read_text()
        for old, new in changes.items():
            ensure(old in text, f"{file.name} has no {old}")
            text = text.replace(old, new)
        file.write_text(text)

    def call(self, *command, code=0):
        done = subprocess.run(command, env=self.environment, capture_output=True, text=True)
        ensure(done.returncode == code, f"{command}: {done.returncode}\n{done.stdout}{done.stderr}")
        return done.stdout

    def lookback(self, *arguments):
        return self.call("lookback", *arguments)

    def airflow(self, *arguments):
        return self.call("airflow", *arguments)

    def report_dates(self):
        sql = "select distinct report_date from report.traffic order by report_date"
        rows = self.lookback("query", str(self.job), sql, "--format", "csv").split()
        return rows[1:]

    def sql(self, query, *values):
        """Asks Airflow's own database."""
        database = sqlite3.connect(self.temp / "airflow/airflow.db", timeout=30)
        try:
            return database.execute(query, values).fetchall()
        finally:
            database.close()

    def states(self, dag):
        return self.sql("select state from dag_run where dag_id = ? order by logical_date", dag)

    def task(self, dag):
        query = "select state, try_number from task_instance where dag_id = ? order by start_date desc"
        return (self.sql(query, dag) or [(None, 0)])[0]

    def summaries(self, dag):
        """What the runs of a DAG left as their result, by the date that each was for."""
        query = """select x.value from xcom x join dag_run r on r.id = x.dag_run_id
                   where x.dag_id = ? and x.key = 'return_value' order by r.logical_date"""
        return [json.loads(value) for (value,) in self.sql(query, dag)]

    def start_services(self):
        self.services = []
        for name in SERVICES:
            log = open(self.temp / f"{name}.log", "wb")
            command = ["airflow", name]
            self.services.append(
                subprocess.Popen(
                    command, env=self.environment, stdout=log, stderr=log, start_new_session=True
                )
            )

    def stop_services(self):
        for service in getattr(self, "services", []):
            try:
                os.killpg(service.pid, signal.SIGTERM)
                service.wait(20)
            except (ProcessLookupError, subprocess.TimeoutExpired):
                os.killpg(service.pid, signal.SIGKILL)


def a_test_run_makes_the_day_of_its_interval(world):
    # The interval that has ended by then began on 5 March, 19:30.
    world.airflow("dags", "test", "lookback_nightly", "2026-03-06T20:00:00-08:00")
    dates = world.report_dates()
    ensure("2026-03-05" in dates and "2026-03-06" not in dates, f"{dates}")
    summary = world.summaries("lookback_nightly")[-1]
    ensure("2026-03-05" in summary["report_dates"], f"{summary}")
    holds("`airflow dags test` made the local day of the data interval", ", ".join(dates))
    holds("the summary is the task's result", f"run {summary['run_id']}, {summary['seconds']} s")


def catchup_makes_each_day_and_waits_for_logs(world):
    world.airflow("dags", "unpause", "lookback_nightly")

    def waits():
        return world.task("lookback_nightly")[0] == "up_for_reschedule"

    wait_for("a run that waits for its logs", waits)
    dates = world.report_dates()
    ensure(dates[-1] == "2026-03-08", f"{dates}")
    states = [state for (state,) in world.states("lookback_nightly")]
    ensure(states.count("running") == 1 and "failed" not in states, f"{states}")
    holds("catchup made each day since the first date, one after the other", ", ".join(dates))
    query = """select count(*) from task_reschedule s join task_instance t on t.id = s.ti_id
               where t.dag_id = 'lookback_nightly'"""
    wait_for("a second look for the logs", lambda: world.sql(query)[0][0] >= 2)
    ensure(world.task("lookback_nightly")[1] == 1, f"{world.task('lookback_nightly')}")
    holds("what has not landed (exit 3) is asked for again, without using up a retry")


def a_backfill_makes_three_days_one_at_a_time(world):
    # A DAG whose scheduled run waits for logs; days before its first date cannot be asked for.
    world.put_dags("_history", world.job, "pendulum.datetime(2026, 3, 1", "catchup=False")
    dag = "lookback_nightly_history"
    wait_for(f"the DAG {dag}", lambda: world.sql("select 1 from dag where dag_id = ?", dag))
    world.airflow("dags", "unpause", dag)
    world.airflow("backfill", "create", "--dag-id", dag,
                  "--from-date", "2026-03-01T00:00-08:00", "--to-date", "2026-03-03T23:59-08:00",
                  "--max-active-runs", "3")  # fmt: skip
    query = """select r.state, t.start_date, t.end_date from dag_run r
               join task_instance t on t.run_id = r.run_id and t.dag_id = r.dag_id
               where r.dag_id = 'lookback_nightly_history' and r.run_type = 'backfill'
               order by t.start_date"""

    def done():
        runs = world.sql(query)
        return len(runs) == 3 and all(state in ("success", "failed") for state, _, _ in runs)

    wait_for("the backfill", done)
    runs = world.sql(query)
    ensure(all(state == "success" for state, _, _ in runs), f"{runs}")
    for (_, _, end), (_, start, _) in zip(runs, runs[1:]):
        ensure(end <= start, f"two runs at a time: {runs}")
    dates = world.report_dates()
    ensure(dates[:3] == ["2026-03-01", "2026-03-02", "2026-03-03"], f"{dates}")
    holds("`airflow backfill create` made three days, one run at a time", ", ".join(dates[:3]))


def late_logs_are_found(world):
    for log in ["clicks", "orders"]:
        for date in sorted((world.temp / "late" / log).iterdir()):
            date.rename(world.temp / "world/raw" / log / date.name)
    wait_for("a run with the late logs", lambda: "2026-03-09" in world.report_dates())
    holds("the waiting run went on when its logs had landed")


def the_tables_are_assets_for_which_others_wait(world):
    names = [name for (name,) in world.sql(
        "select distinct a.name from asset_event e join asset a on a.id = e.asset_id order by 1")]  # fmt: skip
    ensure(len([name for name in names if name.startswith("lookback/")]) == 6, f"{names}")
    holds("runs told of their tables as assets", ", ".join(names[:6]))
    world.airflow("dags", "unpause", "lookback_owed")
    # An event from now on starts it.
    world.airflow("dags", "unpause", "lookback_backfill")
    world.airflow("dags", "trigger", "lookback_backfill")
    wait_for("the DAG that waits for the ledger",
             lambda: "success" in [state for (state,) in world.states("lookback_owed")])  # fmt: skip
    # It may have been started by an earlier night.
    wait_for("the backfill", lambda: {s for (s,) in world.states("lookback_backfill")} == {"success"})
    owed = world.summaries("lookback_owed")[-1]
    ensure(owed and {"publisher_id", "owed"} <= set(owed[0]), f"{owed}")
    holds("a DAG that waits for the ledger ran", f"{owed[0]['publisher_id']} is owed {owed[0]['owed']}")


def a_held_warehouse_is_waited_for(world):
    before = len(world.states("lookback_backfill"))
    # Something to do: one more file, all of whose rows are duplicates.
    landed = world.temp / "world/raw/clicks/dt=2026-03-03"
    shutil.copy(landed / "part-0.parquet", landed / "part-9.parquet")
    with open(world.temp / "world/warehouse/_lookback/lock", "r+") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        world.airflow("dags", "trigger", "lookback_backfill",
                      "--conf", '{"first": "2026-03-02", "last": "2026-03-04"}')  # fmt: skip
        wait_for("a run that is turned away",
                 lambda: world.task("lookback_backfill")[0] == "up_for_reschedule")  # fmt: skip
    wait_for("the run after it",
             lambda: [s for (s,) in world.states("lookback_backfill")].count("success") > before)  # fmt: skip
    summary = world.summaries("lookback_backfill")[-1]
    ensure(summary["written"], f"{summary}")
    ensure(world.task("lookback_backfill") == ("success", 1), f"{world.task('lookback_backfill')}")
    holds("a held warehouse (exit 5) is waited for", f"then written: {', '.join(summary['written'])}")


def a_wrong_job_fails_at_once_and_other_failures_are_retried(world):
    text = world.job.read_text()
    (world.temp / "world/wrong.toml").write_text(text.replace("time_zone", "time_zones"))
    (world.temp / "world/below.toml").write_text(
        text.replace('root = "warehouse"', 'root = "job.toml/warehouse"')
    )
    for name in ["wrong", "below"]:
        world.put_dags(f"_{name}", world.temp / f"world/{name}.toml")
    for name, tries in [("wrong", 1), ("below", 4)]:
        dag = f"lookback_backfill_{name}"
        wait_for(f"the DAG {dag}", lambda: world.sql("select 1 from dag where dag_id = ?", dag))
        world.airflow("dags", "unpause", dag)
        world.airflow("dags", "trigger", dag, "--conf", '{"first": "2026-03-02"}')
        wait_for(f"the failure of {dag}", lambda: world.states(dag) == [("failed",)])
        ensure(world.task(dag) == ("failed", tries), f"{dag}: {world.task(dag)}")
    told = (world.temp / "told").read_text()
    ensure(told.startswith("exit 2; ") and "time_zones" in told and "exit 1; " in told, told)
    holds("a wrong job (exit 2) failed at the first try", told.split("exit 1")[0])
    holds("a failure below (exit 1) was tried four times")


def main():
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    wheel = pathlib.Path(sys.argv[1]).resolve(strict=True)
    started = datetime.datetime.now()
    with tempfile.TemporaryDirectory(prefix="lookback-airflow-") as temp:
        world = World(pathlib.Path(temp), wheel)
        version = world.lookback("-V").strip()
        holds(f"{wheel.name} with {AIRFLOW}", version)
        world.airflow("db", "migrate")
        try:
            a_test_run_makes_the_day_of_its_interval(world)
            world.start_services()
            catchup_makes_each_day_and_waits_for_logs(world)
            a_backfill_makes_three_days_one_at_a_time(world)
            late_logs_are_found(world)
            the_tables_are_assets_for_which_others_wait(world)
            a_held_warehouse_is_waited_for(world)
            a_wrong_job_fails_at_once_and_other_failures_are_retried(world)
        except BaseException:
            for name in SERVICES:
                log = pathlib.Path(temp) / f"{name}.log"
                if log.exists():
                    print(f"--- {name}\n" + log.read_text()[-3000:], file=sys.stderr)
            raise
        finally:
            world.stop_services()
    print(f"all holds, {(datetime.datetime.now() - started).seconds} s")


if __name__ == "__main__":
    main()

"""Two runs on one root, and runs that die or sleep: one writes, and nothing is lost."""

import concurrent.futures
import signal
import time

import boto3
import botocore.exceptions

from program import TIME_LIMIT, ensure, holds
from world import REGION


A_REPORT_FILE = r"/report/orders/report_date="
FIRST_REPORT_COMMIT = r"/report/[a-z_]+/_delta_log/0*1\.json"


def one_of_two_runs_is_turned_away(store, root, start_both=True):
    """Both at once where a write can be held back, so that neither ends before the other looks."""
    job = store.job(root)
    store.faults(hold=A_REPORT_FILE)
    backfill = store.world.backfill(job)
    runs = [store.program.start(*backfill), store.program.start(*backfill)]
    deadline = time.monotonic() + TIME_LIMIT
    while all(run.poll() is None for run in runs) and time.monotonic() < deadline:
        time.sleep(0.1)
    store.faults()
    runs.sort(key=lambda run: run.poll() is None)
    loser = store.program.end(runs[0], codes=(5,))
    for word in (root, "is held by", "since"):
        ensure(word in loser.err, f"{loser.said}\ndoes not say {word!r}\n{loser.err[-2000:]}")
    store.program.end(runs[1], codes=(0,))
    store.tables(root).ensure_same_rows(store.world.backfilled, f"{store.label}: two runs")


def two_runs_at_once(store):
    one_of_two_runs_is_turned_away(store, f"{store.url}/twice")
    holds(
        f"{store.label}: of two runs at once one ends with exit code 5 and says who holds the root"
    )


def a_dead_run_does_not_block_for_long(store):
    """It dies while a commit is under way, which reaches the store after the next run has ended."""
    root = f"{store.url}/killed"
    job = store.job(root)
    store.faults(hold=FIRST_REPORT_COMMIT, hold_first=1)
    dead = store.program.start(*store.world.backfill(job))
    store.wait_until_held(dead)
    dead.send_signal(signal.SIGKILL)
    dead.wait()
    ended = store.program(*store.world.backfill(job))
    after = store.tables(root)
    after.ensure_same_rows(store.world.backfilled, f"{store.label}: after a killed run")
    holds(
        f"{store.label}: after a run was killed the next succeeds, this time within"
        f" {ended.seconds:.0f} s"
    )
    store.faults()
    store.wait_until_idle()
    late = store.tables(root)
    late.ensure_same_rows(after, f"{store.label}: a late commit")
    ensure(
        late.versions == after.versions, f"a late commit counts: {after.versions} {late.versions}"
    )
    holds(f"{store.label}: a commit of the killed run that arrives late changes nothing")


def a_run_that_slept_changes_nothing(store):
    root = f"{store.url}/stopped"
    job = store.job(root)
    store.faults(hold=A_REPORT_FILE, hold_first=1)
    sleeper = store.program.start(*store.world.backfill(job))
    store.wait_until_held(sleeper)
    sleeper.send_signal(signal.SIGSTOP)
    store.program(*store.world.backfill(job))
    before = store.tables(root)
    before.ensure_same_rows(store.world.backfilled, f"{store.label}: after a stopped run")
    store.faults()
    sleeper.send_signal(signal.SIGCONT)
    woken = store.program.end(sleeper, codes=(1, 5))
    ensure(
        "error: " in woken.err and root in woken.err, f"says nothing of {root}\n{woken.err[-2000:]}"
    )
    after = store.tables(root)
    after.ensure_same_rows(before, f"{store.label}: after the stopped run went on")
    ensure(
        after.versions == before.versions, f"it has committed: {before.versions} {after.versions}"
    )
    holds(
        f"{store.label}: a run that was stopped, and taken over from, ends with exit code"
        f" {woken.code} and changes nothing"
    )


def one_of_20_writers_wins(store):
    """Of the server: else what was said of two runs says nothing."""
    client = boto3.client(
        "s3",
        endpoint_url=store.server,
        region_name=REGION,
        aws_access_key_id="test",
        aws_secret_access_key="test",
        config=boto3.session.Config(max_pool_connections=20, retries={"total_max_attempts": 1}),
    )

    def wins(key, number, condition):
        try:
            client.put_object(Bucket=store.bucket, Key=key, Body=b"%d" % number, **condition)
            return True
        except botocore.exceptions.ClientError as error:
            status = error.response["ResponseMetadata"]["HTTPStatusCode"]
            ensure(status in (409, 412), f"{store.label}: a conditional put ends with {error}")
            return False

    with concurrent.futures.ThreadPoolExecutor(20) as pool:
        for key in ("race/1", "race/2", "race/3"):
            created = pool.map(lambda number: wins(key, number, {"IfNoneMatch": "*"}), range(20))
            ensure(sum(created) == 1, f"{store.label}: not one create won: {key}")
            etag = client.head_object(Bucket=store.bucket, Key=key)["ETag"]
            updated = pool.map(lambda number: wins(key, 20 + number, {"IfMatch": etag}), range(20))
            ensure(sum(updated) == 1, f"{store.label}: not one update won: {key}")
    holds(f"{store.label}: of 20 creates at once one wins, and of 20 updates")

"""What holds on every store: rows, answers, refusals, secrets."""

import re

from program import ensure, holds


def whole_job_gives_the_rows_of_a_local_one(store):
    world, root = store.world, f"{store.url}/warehouse"
    job = store.job(root)
    store.program(*world.backfill(job))
    tables = store.tables(root).and_query(store.program, job)
    tables.ensure_same_rows(world.backfilled, f"{store.label}: backfill")
    holds(f"{store.label}: a backfill gives the rows of a local one")

    store.program(*world.night(job))
    night = store.tables(root).and_query(store.program, job)
    night.ensure_same_rows(world.after_night, f"{store.label}: night")
    holds(f"{store.label}: a night after it gives the rows of a local one")

    store.program(*world.night(job))
    again = store.tables(root)
    again.ensure_same_rows(night, f"{store.label}: night again")
    ensure(
        again.versions == night.versions,
        f"{store.label}: a night again makes new versions: {night.versions} {again.versions}",
    )
    holds(f"{store.label}: the same night again changes no row and makes no table version")
    answers_are_those_of_a_local_warehouse(store, job)
    return job


def answers_are_those_of_a_local_warehouse(store, job):
    world = store.world
    sql = "select min(order_id) from attribution.conversions where status = 'attributed'"
    order = store.program("query", job, sql, "--format", "csv").out.split()[-1]
    for arguments in (["explain", order], ["plan", "--date", world.last], ["check"]):
        command, *rest = arguments
        here = without_places(store.program(command, job, *rest).out, job)
        there = without_places(world.program(command, world.job, *rest).out, world.job)
        ensure(here, f"{store.label}: {command} says nothing")
        ensure(
            here == there, f"{store.label}: {command} says\n{here}\nand of the local job\n{there}"
        )
        holds(f"{store.label}: {command} says what it says of a local warehouse")


def without_places(told, job):
    """What is told of a job, without where the job and its logs are."""
    return re.sub(r"(clicks|orders) from \S+", r"\1 from PLACE", told.replace(str(job), "JOB"))


def secrets_appear_nowhere(store, job, secrets, missing):
    """At the most talkative, in success and in failure. `missing` is a root that is not there."""
    world = store.world
    night, plan = world.night(job), ["plan", job, "--date", world.last]
    query = ["query", job, "select * from report.orders"]
    cases = [(night, 0), (plan, 0), (query, 0), (world.night(store.job(missing)), 1)]
    for arguments, code in cases:
        ended = store.program(*arguments, codes=(code,), LOOKBACK_LOG="trace")
        ensure("TRACE" in ended.err, f"{ended.said}\nsays nothing at trace level")
        for name, secret in secrets.items():
            for stream, text in (("stdout", ended.out), ("stderr", ended.err)):
                lines = [line for line in text.splitlines() if secret in line]
                ensure(not lines, f"{ended.said}\n{name} is on {stream}: {lines[:1]}")
    holds(f"{store.label}: secrets appear nowhere, not even at trace level")


def ensure_refused(store, job, root, names, words, code=1, what=""):
    """A backfill ends with `code`, says where and why, and has written nothing."""
    ended = store.program(*store.world.backfill(job), codes=(code,))
    heard = f"{store.label}: {what}: stderr was\n{ended.err[-3000:]}"
    ensure(names in ended.err, f"does not name {names}\n{heard}")
    ensure(
        any(word.lower() in ended.err.lower() for word in words), f"says none of {words}\n{heard}"
    )
    ensure(ended.out == "", f"stdout is not empty\n{heard}")
    if root:
        ensure(not store.below(root), f"has written {store.below(root)[:3]}\n{heard}")


def wrong_keys_are_refused(store, wrong):
    """`wrong`: a variable, what it is set to, and words that tell of it."""
    root = f"{store.url}/wrong-keys"
    job = store.job(root)
    for name, value, words in wrong:
        stranger = store.with_credentials(**{name: value})
        ensure_refused(stranger, job, root, f"{store.url}/", words, what=f"wrong {name}")
    holds(f"{store.label}: wrong keys end with exit code 1, and nothing is written")


def a_bucket_to_read_only_is_refused(store, key, secret):
    reader = store.with_credentials(AWS_ACCESS_KEY_ID=key, AWS_SECRET_ACCESS_KEY=secret)
    root = f"{store.url}/read-only"
    ensure_refused(reader, store.job(root), root, root, ["denied"], what="read only")
    reader.program("check", store.job(root))
    holds(f"{store.label}: a root that may only be read ends with exit code 1, nothing is written")


def a_missing_bucket_is_refused(store):
    scheme = store.url.split("://")[0]
    gone = f"{scheme}://no-such-bucket"
    words = ["bucket", "container"]
    root = f"{gone}/warehouse"
    ensure_refused(store, store.job(root), None, root, words, what="root in no bucket")
    holds(f"{store.label}: a root in no bucket ends with exit code 1, and the bucket is named")
    root = f"{store.url}/no-inputs"
    job = store.job(root, inputs=gone)
    ensure_refused(store, job, root, gone, words, code=1, what="inputs in no bucket")
    holds(f"{store.label}: inputs in no bucket end with exit code 1, nothing is written")


def a_store_that_ignores_conditions_is_refused(store):
    root = f"{store.url}/unconditional"
    store.faults(ignore_conditions=True)
    ensure_refused(
        store, store.job(root), root, root, ["conditional"], code=2, what="no conditions"
    )
    store.faults()
    holds(f"{store.label}: a store that ignores conditional puts is refused, nothing is written")


def a_store_that_fails_now_and_then_is_tolerated(store):
    root = f"{store.url}/failing"
    job = store.job(root)
    store.faults(fail_every=7)
    store.program(*store.world.backfill(job))
    counts = store.faults()
    ensure(counts["failed"] > 10, f"too few requests failed to tell: {counts}")
    store.tables(root).ensure_same_rows(store.world.backfilled, f"{store.label}: 503")
    holds(
        f"{store.label}: the same rows though each 7th request, {counts['failed']} in all, ends"
        " with 503"
    )

"""A store that is slow, busy or cut short is waited for, and the log says so; a dead one is not.

Each claim makes one night after a backfill. Only the night meets the bad store.
"""

import os
import re

from program import ensure, holds

# How long a busy store answers everything with 503; a bad day of a real one lasts longer.
BUSY_SECONDS = int(os.environ.get("LOOKBACK_BUSY_SECONDS", "20"))
# Shorter than any of the waits below.
STALL = ["--stall-seconds", 8]
THROTTLED = r"(?i)503|slow ?down|throttl|busy"
SLOW = r"(?i)\bslow|\bwait"
CUT = r"(?i)\bcut|\bagain|retr(y|ied)|ends? early|ended early|incomplete"
NO_PROGRESS = r"(?i)progress"


def each_answer_takes_300_ms(store):
    bad_night(store, SLOW, "each answer takes 300 ms", [], delay=0.3)


def bodies_are_cut(store):
    what = "each third body that is read ends after 1000 bytes"
    bad_night(store, CUT, what, [], cut_every=3, cut_after=1000)


def the_store_is_busy(store):
    what = f"the store answers 503 for {BUSY_SECONDS} s, with --stall-seconds 8"
    night = bad_night(store, THROTTLED, what, STALL, busy_seconds=BUSY_SECONDS)
    ensure(night.seconds >= BUSY_SECONDS, f"it was not busy: {night.seconds} s")


def the_store_is_busy_for_writes(store):
    what = f"it answers 503 to writes of reports for {BUSY_SECONDS} s, with --stall-seconds 8"
    pace = {"only": "^(PUT|POST) .*/report/", "busy_seconds": BUSY_SECONDS}
    night = bad_night(store, THROTTLED, what, STALL, **pace)
    ensure(night.seconds >= BUSY_SECONDS, f"it was not busy: {night.seconds} s")


def bodies_trickle(store):
    what = "three bodies take 12 s each, with --stall-seconds 8"
    pace = {"only": "^GET .*/clean/clicks/.*parquet", "first": 3, "trickle": 12}
    bad_night(store, SLOW, what, STALL, **pace)


def a_few_requests_get_no_answer(store):
    what = "three reads get no answer, ever"
    bad_night(store, SLOW, what, [], only="^GET .*/clean/.*parquet", first=3, silent=True)


def a_dead_store_ends_the_run(store):
    dead_night(store, "at all", only="")


def a_store_that_dies_meanwhile_ends_the_run(store):
    dead_night(store, "to writes of reports", only="^(PUT|POST) .*/report/")


CLAIMS = [
    each_answer_takes_300_ms,
    bodies_are_cut,
    the_store_is_busy,
    the_store_is_busy_for_writes,
    bodies_trickle,
    a_few_requests_get_no_answer,
    a_dead_store_ends_the_run,
    a_store_that_dies_meanwhile_ends_the_run,
]


def bad_night(store, words, what, options, **pace):
    world, root = store.world, f"{store.url}/warehouse"
    job = store.job(root)
    store.program(*world.backfill(job))
    store.set_pace(**pace)
    night = store.program(*world.night(job), *options)
    met = store.set_pace()
    ensure(met or "delay" in pace, f"{store.label}: no request met the fault: {what}")
    store.tables(root).ensure_same_rows(world.after_night, f"{store.label}: {what}")
    ensure(
        re.search(words, night.err),
        f"{night.said}\n{what}: does not say so ({words})\n{night.err[-2000:]}",
    )
    holds(f"{store.label}: {what}: the rows of a local run after {night.seconds:.0f} s, and told of")
    return night


def dead_night(store, what, only):
    """And the next night, on a store that answers, is as if nothing had been."""
    world, root = store.world, f"{store.url}/warehouse"
    job = store.job(root)
    store.program(*world.backfill(job))
    store.set_pace(only=only, silent=True)
    night = store.program(*world.night(job), *STALL, codes=(1,))
    ensure(store.set_pace(), f"{store.label}: no request met the silence")
    for words in (NO_PROGRESS, re.escape(store.url)):
        ensure(re.search(words, night.err), f"{night.said}\ndoes not say {words}\n{night.err}")
    store.program(*world.night(job))
    store.tables(root).ensure_same_rows(world.after_night, f"{store.label}: after a dead store")
    holds(
        f"{store.label}: a store that does not answer {what} ends the run with --stall-seconds 8"
        f" after {night.seconds:.0f} s; the next run makes up for it"
    )

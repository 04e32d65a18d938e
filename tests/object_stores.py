"""The whole job against real object store servers: rows, refusals, faults, races, secrets.

usage: object_stores.py path/to/lookback [SECTION]...

Servers, each in a process of its own and gone at the end:

- moto (S3) with one write at a time and faults on request, see s3_server.py; a second one that
  checks keys and policies.
- localstack (S3), another implementation, for what rests on conditional puts. Needs Python 3.13.
- azurite (Azure blobs).

For Google Cloud Storage no usable server was found: gs:// URLs are not tested.

Prints a line per claim that holds; ends with exit code 1 at the first that does not.
"""

import base64
import collections
import concurrent.futures
import dataclasses
import json
import os
import pathlib
import re
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request

CACHE = (
    pathlib.Path(os.environ.get("XDG_CACHE_HOME") or pathlib.Path.home() / ".cache") / "lookback"
)
HOW_TO_INSTALL = {
    "python": "pip install 'moto[server]==5.2.5' deltalake polars pyarrow",
    "azurite": f"npm install --prefix {CACHE}/azurite azurite@3.37.0",
    "localstack": f"""\
python3.13 -m venv {CACHE}/localstack && pip install uv && uv pip install \
--python {CACHE}/localstack/bin/python --exclude-newer 2026-03-10 \
'localstack-core[base-runtime]==4.14.0'""",
}

try:
    import boto3
    import botocore.exceptions
    import deltalake
    import moto.server  # noqa: F401, used by s3_server.py
    import pyarrow.fs

    import readers
except ImportError as missing:
    sys.exit(f"{missing}; install it with: {HOW_TO_INSTALL['python']}")

REGION = "us-east-1"
SECRET = "CanarySecretAccessKey0Sings0Loudly000000"
TOKEN = "CanarySessionToken0Sings0Loudly0000000000000000"
ACCOUNT_KEY = base64.b64encode(
    b"a canary account key that must be seen in no log at all, ever!!"
).decode()
# A run that died is believed dead after less than a minute.
TAKEOVER = 120

children = []
skipped = []


class Broken(Exception):
    """A claim that does not hold."""


def holds(claim):
    print(f"ok  {claim}", flush=True)


def ensure(condition, message):
    if not condition:
        raise Broken(message)


# --- the program ---


@dataclasses.dataclass
class Ended:
    code: int
    out: str
    err: str
    seconds: float
    said: str


@dataclasses.dataclass
class Program:
    """lookback with the credentials of one store, and no others."""

    path: str
    credentials: dict

    def start(self, *arguments, **more):
        foreign = ("AWS_", "AZURE_", "AZURITE_", "GOOGLE_", "LOOKBACK_")
        kept = {name: value for name, value in os.environ.items() if not name.startswith(foreign)}
        pipes = {"stdout": tempfile.TemporaryFile(), "stderr": tempfile.TemporaryFile()}
        environment = kept | self.credentials | more
        run = subprocess.Popen([self.path, *map(str, arguments)], env=environment, **pipes)
        run.pipes, run.begun, run.arguments = pipes, time.monotonic(), arguments
        children.append(run)
        return run

    def end(self, run, codes, timeout=TAKEOVER):
        said = f"lookback {' '.join(map(str, run.arguments))}"
        try:
            code = run.wait(timeout)
        except subprocess.TimeoutExpired:
            run.kill()
            raise Broken(f"{said}\nhas not ended after {timeout} s") from None
        texts = []
        for pipe in run.pipes.values():
            pipe.seek(0)
            texts.append(pipe.read().decode())
        ended = Ended(code, *texts, time.monotonic() - run.begun, said)
        ensure(code in codes, f"{said}\nexit code {code}, not {codes}\n{ended.err[-4000:]}")
        for word in ("panicked", "stack backtrace", "Traceback", "a bug in lookback"):
            ensure(word not in ended.err, f"{said}\nspeaks of {word!r}\n{ended.err[-4000:]}")
        return ended

    def __call__(self, *arguments, codes=(0,), **more):
        return self.end(self.start(*arguments, **more), codes)


# --- the world ---


class World:
    """A demo world on disk, and the tables that a local run makes of it."""

    def __init__(self, program, folder):
        self.program = Program(program, {})
        self.folder = folder
        scale = ["--days", 6, "--clicks-per-day", 300, "--orders-per-day", 40]
        self.program("demo", folder, "--no-run", *scale)
        self.job = folder / "job.toml"
        landed = sorted(path.name[3:] for path in (folder / "raw/clicks").iterdir())
        self.first, self.before_last, self.last = landed[0], landed[-3], landed[-2]
        self.inputs = [path for path in folder.rglob("*") if path.is_file() and path != self.job]
        self.program(*self.backfill(self.job))
        self.backfilled = Tables.read(folder / "warehouse", {}).and_query(self.program, self.job)
        self.program(*self.night(self.job))
        self.after_night = Tables.read(folder / "warehouse", {}).and_query(self.program, self.job)

    def backfill(self, job):
        return ["backfill", job, "--from", self.first, "--to", self.before_last]

    def night(self, job):
        return ["run", job, "--date", self.last]


@dataclasses.dataclass
class Tables:
    """All tables at one moment: how often each row is there, for each reader and table."""

    rows: dict
    versions: dict

    @staticmethod
    def read(root, options):
        tables = Tables({}, {})
        for name in readers.TABLES:
            table = deltalake.DeltaTable(f"{root}/{name}", storage_options=options)
            rows = readers.counted(table.to_pyarrow_table().to_pylist())
            tables.rows["deltalake", name] = rows
            tables.versions[name] = table.version()
        return tables

    def and_query(self, program, job):
        """Also as lookback itself prints them."""
        for name in readers.TABLES:
            sql = f"select * from {name.replace('/', '.')}"
            printed = program("query", job, sql, "--format", "csv").out
            self.rows["lookback query", name] = collections.Counter(printed.splitlines())
        return self

    def ensure_same_rows(self, other, what):
        for (reader, name), rows in self.rows.items():
            expected = other.rows[reader, name]
            ensure(
                rows == expected,
                f"{what}: {name} has other rows, as {reader} reads it\n"
                f"only here  {list((rows - expected).items())[:2]}\n"
                f"only there {list((expected - rows).items())[:2]}",
            )


# --- stores ---


@dataclasses.dataclass
class Store:
    """A bucket with the world's inputs in it, and what is needed to get at it."""

    label: str
    url: str
    credentials: dict
    files: pyarrow.fs.FileSystem
    world: World
    temp: pathlib.Path
    server: str = ""

    @property
    def bucket(self):
        return self.url.split("/")[2]

    @property
    def program(self):
        return Program(self.world.program.path, self.credentials)

    def with_credentials(self, **others):
        return dataclasses.replace(self, credentials=self.credentials | others)

    def fill(self):
        self.files.create_dir(self.bucket)
        for path in self.world.inputs:
            key = f"{self.bucket}/{path.relative_to(self.world.folder)}"
            with self.files.open_output_stream(key) as stream:
                stream.write(path.read_bytes())
        return self

    def job(self, root, inputs=None):
        """A job file like the local one, with everything in the store."""
        text = self.world.job.read_text()
        text = re.sub(r'"((?:raw|reference)/)', rf'"{inputs or self.url}/\1', text)
        text = text.replace('"warehouse"', f'"{root}"')
        job = pathlib.Path(tempfile.mkdtemp(dir=self.temp)) / "job.toml"
        job.write_text(text)
        return job

    def below(self, root):
        folder = root.split("://")[1]
        selector = pyarrow.fs.FileSelector(folder, recursive=True, allow_not_found=True)
        found = self.files.get_file_info(selector)
        return [info.path for info in found if info.type == pyarrow.fs.FileType.File]

    def tables(self, root):
        return Tables.read(root, self.credentials)

    def faults(self, **faults):
        """Sets what is wrong with the bucket; returns the counts up to here."""
        url = f"{self.server}/_faults/{self.bucket}"
        request = urllib.request.Request(url, json.dumps(faults).encode(), method="PUT")
        with urllib.request.urlopen(request, timeout=30) as answer:
            return json.load(answer)

    def wait_until_held(self, run):
        """Until a write of this run waits in the store."""
        deadline = time.monotonic() + 90
        while run.poll() is None and time.monotonic() < deadline:
            with urllib.request.urlopen(f"{self.server}/_faults/{self.bucket}") as answer:
                if json.load(answer)["waiting"]:
                    return
            time.sleep(0.1)
        if run.poll() is not None:
            self.program.end(run, codes=())
        raise Broken(f"{self.label}: no write was held back")


def s3_credentials(server, key="test", secret="test"):
    return {
        "AWS_ENDPOINT_URL": server,
        "AWS_ALLOW_HTTP": "true",
        "AWS_REGION": REGION,
        "AWS_ACCESS_KEY_ID": key,
        "AWS_SECRET_ACCESS_KEY": secret,
    }


def s3_files(server, key="test", secret="test"):
    return pyarrow.fs.S3FileSystem(
        endpoint_override=server,
        region=REGION,
        access_key=key,
        secret_key=secret,
        allow_bucket_creation=True,
        request_timeout=30,
    )


def s3_store(label, server, bucket, world, temp):
    credentials, files = s3_credentials(server), s3_files(server)
    return Store(label, f"s3://{bucket}", credentials, files, world, temp, server).fill()


# --- servers ---


def start_server(name, command, temp, **environment):
    folder = temp / name
    folder.mkdir()
    log = open(folder / "log", "wb")
    server = subprocess.Popen(
        command,
        stdout=subprocess.PIPE if name.startswith("s3") else log,
        stderr=log,
        cwd=folder,
        env=os.environ | environment,
        start_new_session=True,
    )
    server.log = folder / "log"
    server.is_server = True
    children.append(server)
    return server


def start_s3(name, temp, *behind):
    script = pathlib.Path(__file__).with_name("s3_server.py")
    server = start_server(name, [sys.executable, script, *behind], temp)
    url = server.stdout.readline().decode().strip()
    ensure(url, f"{name} did not start:\n{server.log.read_text()[-2000:]}")
    return url


def wait_for_port(server, port, seconds=60):
    deadline = time.monotonic() + seconds
    while server.poll() is None and time.monotonic() < deadline:
        with socket.socket() as client:
            if client.connect_ex(("127.0.0.1", port)) == 0:
                return
        time.sleep(0.1)
    raise Broken(f"{server.args[0]} did not start:\n{server.log.read_text()[-2000:]}")


def free_port():
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return listener.getsockname()[1]


def stop_all():
    for child in children:
        if child.poll() is None:
            if hasattr(child, "is_server"):
                os.killpg(child.pid, signal.SIGKILL)
            else:
                child.kill()
            child.wait()


# --- claims for every store ---


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
        here = store.program(command, job, *rest).out.replace(str(job), "JOB")
        there = world.program(command, world.job, *rest).out.replace(str(world.job), "JOB")
        ensure(here, f"{store.label}: {command} says nothing")
        ensure(
            here == there, f"{store.label}: {command} says\n{here}\nand of the local job\n{there}"
        )
        holds(f"{store.label}: {command} says what it says of a local warehouse")


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


# --- what goes wrong ---


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


def a_store_that_fails_now_and_then_is_borne(store):
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


# --- two runs ---

A_REPORT_FILE = r"/report/orders/report_date="
FIRST_REPORT_COMMIT = r"/report/[a-z_]+/_delta_log/0*1\.json"


def of_two_runs_one_is_turned_away(store, root, start_both=True):
    """Both at once where a write can be held back, so that neither ends before the other looks."""
    job = store.job(root)
    store.faults(hold=A_REPORT_FILE)
    backfill = store.world.backfill(job)
    runs = [store.program.start(*backfill), store.program.start(*backfill)]
    deadline = time.monotonic() + TAKEOVER
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
    of_two_runs_one_is_turned_away(store, f"{store.url}/twice")
    holds(
        f"{store.label}: of two runs at once one ends with exit code 5 and says who holds the root"
    )


def a_dead_run_blocks_nobody_for_long(store):
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
    time.sleep(2)
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


def of_20_writers_one_wins(store):
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


# --- the sections, side by side ---


def moto_section(world, temp, server):
    store = s3_store("s3", server, "whole-job", world, temp)
    job = whole_job_gives_the_rows_of_a_local_one(store)
    canary = store.with_credentials(AWS_SECRET_ACCESS_KEY=SECRET, AWS_SESSION_TOKEN=TOKEN)
    secrets = {"AWS_SECRET_ACCESS_KEY": SECRET, "AWS_SESSION_TOKEN": TOKEN}
    a_missing_bucket_is_refused(store)
    secrets_appear_nowhere(canary, job, secrets, "s3://no-such-bucket/warehouse")
    a_store_that_ignores_conditions_is_refused(store)
    a_store_that_fails_now_and_then_is_borne(store)


def keys_section(world, temp):
    """moto, checking signatures and policies from the moment that all is set up."""
    server = start_s3("s3-keys", temp)
    label = "s3 with keys"
    iam = boto3.client(
        "iam",
        endpoint_url=server,
        region_name=REGION,
        aws_access_key_id="test",
        aws_secret_access_key="test",
    )
    keys = {}
    for user, actions in (("writer", ["s3:*"]), ("reader", ["s3:Get*", "s3:List*"])):
        iam.create_user(UserName=user)
        allow = {"Effect": "Allow", "Action": actions, "Resource": "*"}
        policy = json.dumps({"Version": "2012-10-17", "Statement": [allow]})
        iam.put_user_policy(UserName=user, PolicyName=user, PolicyDocument=policy)
        made = iam.create_access_key(UserName=user)["AccessKey"]
        keys[user] = (made["AccessKeyId"], made["SecretAccessKey"])
    store = s3_store(label, server, "with-keys", world, temp)
    check_keys_from_now_on = urllib.request.Request(
        f"{server}/moto-api/reset-auth", b"0", {"Content-Type": "text/plain"}
    )
    urllib.request.urlopen(check_keys_from_now_on, timeout=30).close()
    store.files = s3_files(server, *keys["writer"])
    store.credentials = s3_credentials(server, *keys["writer"])

    job = store.job(f"{store.url}/warehouse")
    store.program(*world.backfill(job))
    store.tables(f"{store.url}/warehouse").ensure_same_rows(world.backfilled, label)
    holds(f"{label}: the right keys do")
    wrong = [
        ("AWS_SECRET_ACCESS_KEY", "not-the-secret", ["SignatureDoesNotMatch", "signature"]),
        ("AWS_ACCESS_KEY_ID", "AKIANOSUCHKEY0000000", ["InvalidAccessKeyId", "access key"]),
    ]
    wrong_keys_are_refused(store, wrong)
    a_bucket_to_read_only_is_refused(store, *keys["reader"])


def has_python_3_13():
    """A name on the path may be an empty promise, so it is started."""
    python = shutil.which("python3.13")
    return python and subprocess.run([python, "--version"], capture_output=True).returncode == 0


def localstack_section(world, temp):
    python = CACHE / "localstack/bin/python"
    if not python.exists():
        how = HOW_TO_INSTALL["localstack"]
        ensure(not has_python_3_13(), f"localstack is not installed; install it with: {how}")
        skipped.append("localstack, the second S3 server: there is no Python 3.13")
        return
    port = free_port()
    server = start_server(
        "localstack",
        [python, "-m", "localstack.runtime.main"],
        temp,
        GATEWAY_SERVER="hypercorn",
        GATEWAY_LISTEN=f"127.0.0.1:{port}",
        SERVICES="s3",
        DISABLE_EVENTS="1",
        SKIP_SSL_CERT_DOWNLOAD="1",
        OVERRIDE_IN_DOCKER="0",
        FILESYSTEM_ROOT=str(temp / "localstack"),
    )
    wait_for_port(server, port)
    between = start_s3("s3-before-localstack", temp, f"http://127.0.0.1:{port}")
    store = s3_store("localstack", between, "second-server", world, temp)
    of_20_writers_one_wins(store)
    for number in range(3):
        of_two_runs_one_is_turned_away(store, f"{store.url}/race-{number}")
    holds("localstack: of two runs at once, on three new roots, one wins, and the rows are right")


def azurite_section(world, temp):
    program = CACHE / "azurite/node_modules/.bin/azurite-blob"
    program = str(program) if program.exists() else shutil.which("azurite-blob")
    ensure(program, f"azurite is not installed; install it with: {HOW_TO_INSTALL['azurite']}")
    port = free_port()
    host = ["--blobHost", "127.0.0.1", "--blobPort", str(port)]
    # The program that fills the container may be newer than azurite.
    kind = ["--inMemoryPersistence", "--disableTelemetry", "--skipApiVersionCheck"]
    accounts = f"lookback:{ACCOUNT_KEY}"
    server = start_server("azurite", [program, *host, *kind], temp, AZURITE_ACCOUNTS=accounts)
    wait_for_port(server, port)
    credentials = {
        "AZURE_STORAGE_USE_EMULATOR": "true",
        "AZURITE_BLOB_STORAGE_URL": f"http://127.0.0.1:{port}",
        "AZURE_STORAGE_ACCOUNT_NAME": "lookback",
        "AZURE_STORAGE_ACCOUNT_KEY": ACCOUNT_KEY,
    }
    # deltalake takes this one from nowhere else.
    os.environ["AZURITE_BLOB_STORAGE_URL"] = credentials["AZURITE_BLOB_STORAGE_URL"]
    files = pyarrow.fs.AzureFileSystem(
        "lookback",
        account_key=ACCOUNT_KEY,
        blob_storage_authority=f"127.0.0.1:{port}",
        blob_storage_scheme="http",
        dfs_storage_authority=f"127.0.0.1:{port}",
        dfs_storage_scheme="http",
    )
    store = Store("azurite", "az://lookback", credentials, files, world, temp).fill()
    job = whole_job_gives_the_rows_of_a_local_one(store)
    a_missing_bucket_is_refused(store)
    wrong = base64.b64encode(b"another key").decode()
    words = ["AuthorizationFailure", "not authorized", "denied"]
    wrong_keys_are_refused(store, [("AZURE_STORAGE_ACCOUNT_KEY", wrong, words)])
    secrets = {"AZURE_STORAGE_ACCOUNT_KEY": ACCOUNT_KEY}
    secrets_appear_nowhere(store, job, secrets, "az://no-such-container/warehouse")


def main(program, only):
    begun = time.monotonic()
    with tempfile.TemporaryDirectory() as folder:
        temp = pathlib.Path(folder)
        try:
            world = World(program, temp / "world")
            server = start_s3("s3", temp)

            def lease(claim, bucket):
                return lambda: claim(s3_store("s3", server, bucket, world, temp))

            # The longest first.
            sections = {
                "stopped": lease(a_run_that_slept_changes_nothing, "stopped"),
                "killed": lease(a_dead_run_blocks_nobody_for_long, "killed"),
                "localstack": lambda: localstack_section(world, temp),
                "azurite": lambda: azurite_section(world, temp),
                "s3": lambda: moto_section(world, temp, server),
                "keys": lambda: keys_section(world, temp),
                "races": lease(of_20_writers_one_wins, "races"),
                "twice": lease(two_runs_at_once, "twice"),
            }
            chosen = [sections[name] for name in only] or list(sections.values())
            with concurrent.futures.ThreadPoolExecutor(len(chosen)) as pool:
                results = [pool.submit(section) for section in chosen]
                try:
                    for result in concurrent.futures.as_completed(results):
                        result.result()
                except BaseException:
                    stop_all()
                    raise
        except Broken as broken:
            sys.exit(f"BROKEN  {broken}")
        finally:
            stop_all()
    for what in skipped:
        print(f"SKIPPED  {what}")
    print(f"what was tried of object stores holds ({time.monotonic() - begun:.0f} s)")


if __name__ == "__main__":
    if len(sys.argv) < 2:
        sys.exit(__doc__)
    main(sys.argv[1], sys.argv[2:])

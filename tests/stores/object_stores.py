"""The whole job against real object store servers: rows, refusals, faults, races, secrets.

usage: object_stores.py path/to/lookback [SECTION]...

Servers, each in a process of its own and gone at the end:

- moto (S3) with one write at a time and faults on request, see s3_server.py; a second one that
  checks keys and policies; and lines to the first that are long, thin or cut, see slow_store.py.
- localstack (S3), another implementation, for what rests on conditional puts. Needs Python 3.13.
- azurite (Azure blobs).

For Google Cloud Storage no usable server was found: gs:// URLs are not tested.

Prints a line per claim that holds; ends with exit code 1 at the first that does not.
"""

import base64
import concurrent.futures
import json
import os
import pathlib
import shutil
import sys
import tempfile
import time
import urllib.request

from program import TIME_LIMIT, Broken, ensure, holds
from servers import (
    CACHE,
    HOW_TO_INSTALL,
    free_port,
    has_python_3_13,
    start_s3,
    start_server,
    start_slow,
    stop_all,
    wait_for_port,
)

try:
    import boto3
    import moto.server  # noqa: F401, used by s3_server.py
    import pyarrow.fs

    import claims
    import patience
    import two_runs
    from world import REGION, Store, World, s3_credentials, s3_files, s3_store
except ImportError as missing:
    sys.exit(f"{missing}; install it with: {HOW_TO_INSTALL['python']}")

SECRET = "CanarySecretAccessKey0Sings0Loudly000000"
TOKEN = "CanarySessionToken0Sings0Loudly0000000000000000"
ACCOUNT_KEY = base64.b64encode(
    b"a canary account key that must be seen in no log at all, ever!!"
).decode()

skipped = ["gs:// URLs: no usable server of Google Cloud Storage was found to test against"]


def moto_section(world, temp, server):
    store = s3_store("s3", server, "whole-job", world, temp)
    job = claims.whole_job_gives_the_rows_of_a_local_one(store)
    canary = store.with_credentials(AWS_SECRET_ACCESS_KEY=SECRET, AWS_SESSION_TOKEN=TOKEN)
    secrets = {"AWS_SECRET_ACCESS_KEY": SECRET, "AWS_SESSION_TOKEN": TOKEN}
    claims.a_missing_bucket_is_refused(store)
    claims.secrets_appear_nowhere(canary, job, secrets, "s3://no-such-bucket/warehouse")
    claims.a_store_that_ignores_conditions_is_refused(store)
    claims.a_store_that_fails_now_and_then_is_tolerated(store)


def patience_section(world, temp, server):
    """Each claim has a line of its own to the store, as all of them wait a lot."""

    def check(claim):
        name = claim.__name__.replace("_", "-")
        line = start_slow(name, temp, server)
        claim(s3_store("slow s3", line, f"patience-{patience.CLAIMS.index(claim)}", world, temp))

    with concurrent.futures.ThreadPoolExecutor(len(patience.CLAIMS)) as pool:
        for _ in pool.map(check, patience.CLAIMS):
            pass


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
    urllib.request.urlopen(check_keys_from_now_on, timeout=TIME_LIMIT).close()
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
    claims.wrong_keys_are_refused(store, wrong)
    claims.a_bucket_to_read_only_is_refused(store, *keys["reader"])


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
    two_runs.one_of_20_writers_wins(store)
    for number in range(3):
        two_runs.one_of_two_runs_is_turned_away(store, f"{store.url}/race-{number}")
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
    job = claims.whole_job_gives_the_rows_of_a_local_one(store)
    claims.a_missing_bucket_is_refused(store)
    wrong = base64.b64encode(b"another key").decode()
    words = ["AuthorizationFailure", "not authorized", "denied"]
    claims.wrong_keys_are_refused(store, [("AZURE_STORAGE_ACCOUNT_KEY", wrong, words)])
    secrets = {"AZURE_STORAGE_ACCOUNT_KEY": ACCOUNT_KEY}
    claims.secrets_appear_nowhere(store, job, secrets, "az://no-such-container/warehouse")


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
                "stopped": lease(two_runs.a_run_that_slept_changes_nothing, "stopped"),
                "killed": lease(two_runs.a_dead_run_does_not_block_for_long, "killed"),
                "localstack": lambda: localstack_section(world, temp),
                "azurite": lambda: azurite_section(world, temp),
                "s3": lambda: moto_section(world, temp, server),
                "keys": lambda: keys_section(world, temp),
                "patience": lambda: patience_section(world, temp, server),
                "races": lease(two_runs.one_of_20_writers_wins, "races"),
                "twice": lease(two_runs.two_runs_at_once, "twice"),
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

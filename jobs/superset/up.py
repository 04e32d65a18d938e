"""Starts a Superset with the dashboard over the tables of a job, on this machine only.

python3 jobs/superset/up.py lookback-demo/job.toml

It needs Python, the program `lookback` and, the first time, a package index. All that it makes lies
in one folder: Superset itself (700 MB), its accounts, and a DuckDB file with views of the tables.
Ctrl-C stops it. A second start takes what is there, and puts the dashboard and the views in place
again, also for another job. Superset answers on 127.0.0.1 and has one account with a random
password; it is no installation for a company.
"""

import argparse
import os
import re
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from pathlib import Path

from load import load

HERE = Path(__file__).resolve().parent
# Superset names few upper bounds, so all that is newer than it stays out.
PINS = ["apache-superset==6.1.0", "duckdb-engine==0.17.0", "rich", "cachetools"]
NEWEST = "2026-06-01"
# DuckDB is newer: the first release whose Delta extension is a wheel of the same version.
DUCKDB = ["duckdb==1.5.5", "duckdb-extension-delta==1.5.5"]
NEWEST_DUCKDB = "2026-09-01"

# Runs in Superset's environment: the file takes the place of the old one when it is whole.
MAKE_VIEWS = """
import glob, os, sys
import duckdb, duckdb_extension_delta
file, extensions = sys.argv[1:]
if os.path.exists(file + ".new"):
    os.remove(file + ".new")
connection = duckdb.connect(file + ".new", config={"extension_directory": extensions})
folder = os.path.dirname(duckdb_extension_delta.__file__)
for extension in glob.glob(folder + "/extensions/*/delta.duckdb_extension"):
    quoted = extension.replace("'", "''")
    connection.execute(f"force install '{quoted}'")
try:
    connection.execute("load delta")
    connection.execute(sys.stdin.read())
except duckdb.Error as error:
    sys.exit(str(error).splitlines()[0])
connection.close()
os.replace(file + ".new", file)
"""


# Likewise. The password comes by stdin, because others on this machine see arguments.
MAKE_ACCOUNT = """
import sys
from superset.app import create_app
app = create_app()
with app.app_context():
    accounts = app.appbuilder.sm
    role = accounts.find_role("Admin")
    password = sys.stdin.read()
    if not accounts.find_user("admin"):
        made = accounts.add_user("admin", "lookback", "admin", "admin@localhost", role, password)
        sys.exit(0 if made else "the account could not be made")
"""


def default_home() -> Path:
    cache = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(cache) / "lookback" / "superset"


def install(home: Path) -> Path:
    """The environment of Superset; made once for each set of pins."""
    environment = home / "venv"
    stamp = environment / "lookback-pins"
    pins = "\n".join([*PINS, NEWEST, *DUCKDB, NEWEST_DUCKDB])
    if stamp.exists() and stamp.read_text() == pins:
        return environment / "bin"
    print("installing Superset …", flush=True)
    uv = shutil.which("uv")
    if not uv:
        subprocess.run([sys.executable, "-m", "venv", home / "uv"], check=True)
        uv = home / "uv" / "bin" / "uv"
        subprocess.run([uv.with_name("pip"), "install", "--quiet", "uv"], check=True)
    subprocess.run(
        [uv, "venv", "--quiet", "--clear", "--python", ">=3.10,<3.13", environment], check=True
    )
    command = [uv, "pip", "install", "--quiet", "--python", environment / "bin" / "python"]
    command += ["--exclude-newer", NEWEST]
    for pin in DUCKDB:
        command += ["--exclude-newer-package", f"{pin.split('==')[0]}={NEWEST_DUCKDB}"]
    subprocess.run([*command, *PINS, *DUCKDB], check=True)
    stamp.write_text(pins)
    return environment / "bin"


def secret(path: Path) -> str:
    """A random text that only the owner can read; the same at each start."""
    if not path.exists():
        with open(os.open(path, os.O_CREAT | os.O_WRONLY | os.O_EXCL, 0o600), "w") as file:
            file.write(secrets.token_urlsafe(24))
    return path.read_text()


def statements(job: str, program: str) -> bytes:
    """What makes the views of the job's tables, which have to be there."""
    ddl = subprocess.run([program, "ddl", job, "--dialect", "duckdb"], stdout=subprocess.PIPE)
    if ddl.returncode:
        sys.exit(ddl.returncode)
    tables = re.findall(r"delta_scan\('((?:[^']|'')*)'\)", ddl.stdout.decode())
    for table in (table.replace("''", "'") for table in tables):
        if "://" in table:
            sys.exit(f"error: {job}: tables have to be on a local disk, not at {table}")
        if not Path(table, "_delta_log").is_dir():
            sys.exit(
                f"error: {job}: there is no table {table}; has the job run? `lookback check {job}` "
                "says what makes its tables"
            )
    return ddl.stdout


def make_views(job: str, sql: bytes, python: Path, home: Path) -> None:
    file, extensions = home / "lookback.duckdb", home / "extensions"
    command = [python, "-c", MAKE_VIEWS, file, extensions]
    if subprocess.run(command, input=sql, stdout=subprocess.DEVNULL).returncode:
        sys.exit(f"error: {job}: DuckDB cannot make the views of its tables")


def prepare(binaries: Path, home: Path, environment: dict[str, str], password: str) -> None:
    """Superset's own database; made once for each release of Superset."""
    stamp = home / "prepared"
    if stamp.exists() and stamp.read_text() == PINS[0] and (home / "superset.db").exists():
        return
    print("preparing Superset …", flush=True)
    steps = {
        "db upgrade": [binaries / "superset", "db", "upgrade"],
        "init": [binaries / "superset", "init"],
        "account": [binaries / "python", "-c", MAKE_ACCOUNT],
    }
    with open(home / "superset.log", "a") as log:
        for name, command in steps.items():
            typed = password.encode()
            done = subprocess.run(
                command, env=environment, cwd=home, input=typed, stdout=log, stderr=log
            )
            if done.returncode:
                sys.exit(f"error: Superset cannot be prepared ({name}): see {log.name}")
    stamp.write_text(PINS[0])


def wait_for(url: str, server: subprocess.Popen, log: Path) -> None:
    for _ in range(600):
        if server.poll() is not None:
            sys.exit(f"error: Superset ended: see {log}")
        try:
            with urllib.request.urlopen(f"{url}/health"):
                return
        except OSError:
            time.sleep(0.5)
    sys.exit(f"error: Superset does not answer on {url}: see {log}")


def main() -> None:
    arguments = argparse.ArgumentParser(description="starts a Superset with the dashboard")
    arguments.add_argument("job", help="job file")
    arguments.add_argument("--lookback", default="lookback", help="the program [lookback]")
    arguments.add_argument("--port", type=int, default=8088, help="port on 127.0.0.1 [8088]")
    arguments.add_argument(
        "--home", type=Path, default=default_home(), help="folder of all it makes"
    )
    given = arguments.parse_args()
    # Superset is on this machine, where no proxy leads.
    os.environ["no_proxy"] = ",".join(filter(None, [os.environ.get("no_proxy"), "127.0.0.1"]))
    # As an error does, so that the server is ended.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))

    program = shutil.which(given.lookback)
    if not program:
        sys.exit(f"error: {given.lookback}: no such program; name it with --lookback")
    with socket.socket() as probe:
        if probe.connect_ex(("127.0.0.1", given.port)) == 0:
            sys.exit(
                f"error: port {given.port} is in use; is Superset running? --port takes another"
            )
    sql = statements(given.job, program)
    home = given.home.resolve()
    home.mkdir(mode=0o700, parents=True, exist_ok=True)
    password, _ = secret(home / "admin_password"), secret(home / "secret_key")
    binaries = install(home)
    make_views(given.job, sql, binaries / "python", home)
    environment = {
        **os.environ,
        "FLASK_APP": "superset",
        "LOOKBACK_SUPERSET_HOME": str(home),
        "SCARF_ANALYTICS": "false",
        "SUPERSET_CONFIG_PATH": str(HERE / "superset_config.py"),
        "SUPERSET_HOME": str(home),
    }
    prepare(binaries, home, environment, password)

    url, log = f"http://127.0.0.1:{given.port}", home / "superset.log"
    command = [binaries / "gunicorn", "--bind", f"127.0.0.1:{given.port}", "--workers", "1"]
    command += [
        "--worker-class",
        "gthread",
        "--threads",
        "8",
        "--timeout",
        "300",
        "--no-control-socket",
    ]
    command += ["superset.app:create_app()"]
    with open(log, "a") as file:
        server = subprocess.Popen(command, cwd=home, env=environment, stdout=file, stderr=file)
    try:
        wait_for(url, server, log)
        load(url, "admin", password)
        print(f"dashboard   {url}/superset/dashboard/lookback/")
        print(f"account     admin, password in {home / 'admin_password'}")
        print("Ctrl-C stops it", flush=True)
        server.wait()
    except RuntimeError as refusal:
        sys.exit(f"error: Superset does not take the dashboard: {refusal}")
    except KeyboardInterrupt:
        pass
    finally:
        server.terminate()
        server.wait()


if __name__ == "__main__":
    main()

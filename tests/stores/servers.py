"""Servers to test against, each in a process of its own."""

import os
import pathlib
import shutil
import signal
import socket
import subprocess
import sys
import time

from program import Broken, children, ensure

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


def start_server(name, command, temp, tells_url=False, **environment):
    folder = temp / name
    folder.mkdir()
    log = open(folder / "log", "wb")
    server = subprocess.Popen(
        command,
        stdout=subprocess.PIPE if tells_url else log,
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
    return start_script("s3_server.py", name, temp, *behind)


def start_slow(name, temp, behind):
    """Before the server at the URL `behind`; what was asked of it is in the file `requests`."""
    return start_script("slow_store.py", name, temp, behind, "requests")


def start_script(script, name, temp, *arguments):
    script = pathlib.Path(__file__).resolve().with_name(script)
    server = start_server(name, [sys.executable, script, *arguments], temp, tells_url=True)
    url = server.stdout.readline().decode().strip()
    ensure(url, f"{name} did not start:\n{server.log.read_text()[-2000:]}")
    return url


def wait_for_port(server, port, seconds=600):
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


def has_python_3_13():
    """A name on the path may be an empty promise, so it is started."""
    python = shutil.which("python3.13")
    return python and subprocess.run([python, "--version"], capture_output=True).returncode == 0

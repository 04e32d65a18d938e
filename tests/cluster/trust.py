"""Who may have work done by a worker: those with a certificate of its authority, where it has one.

usage: trust.py path/to/lookback

The program is one with the feature `cluster`. Certificates are those that jobs/cluster/certificates.sh
makes; openssl has to be there. A demo world is run by two workers, and compared with a run that needs none.

Prints a line per claim that holds; ends with exit code 1 at the first that does not.
"""

import contextlib
import pathlib
import re
import shutil
import socket
import subprocess
import sys
import tempfile
import time

SCRIPT = pathlib.Path(__file__).resolve().parents[2] / "jobs/cluster/certificates.sh"
NAME = "lookback-workers"
DATES = ["--from", "2026-03-01", "--to", "2026-03-03"]
TABLES = ["clean.clicks", "attribution.conversions", "report.traffic", "report.orders", "report.refunds",
          "report.transaction_details"]  # fmt: skip
# For a worker to say that it listens, on a busy machine.
PATIENCE = 60


def holds(claim):
    print(f"ok: {claim}", flush=True)


def ensure(is_so, claim, ended=None):
    if not is_so:
        said = f"\nexit {ended.returncode}\n{ended.stderr}" if ended else ""
        sys.exit(f"BROKEN: {claim}{said}")


def certificates(folder, *names):
    subprocess.run([SCRIPT, folder, *names], check=True, capture_output=True)
    return folder


def flags(folder, who, name=NAME, authority=None):
    ca = (authority or folder) / "ca.pem"
    return ["--tls-ca", ca, "--tls-cert", folder / f"{who}.pem", "--tls-key", folder / f"{who}.key",
            *(["--tls-name", name] if name else [])]  # fmt: skip


class Program:
    def __init__(self, path, temp):
        self.path, self.temp = path, temp
        self.world = temp / "world"
        self.call("demo", self.world, "--no-run", "--days", "3", "--clicks-per-day", "300",
                  "--orders-per-day", "60")  # fmt: skip
        job = self.world / "job.toml"
        # So that each file is worth a task.
        job.write_text(job.read_text() + "\n[cluster]\npiece_mb = 0\n")
        self.local = self.copy("local")
        self.call("backfill", self.local / "job.toml", *DATES, "--quiet")

    def run(self, *arguments):
        return subprocess.run([self.path, *map(str, arguments)], capture_output=True, text=True, timeout=600)

    def call(self, *arguments):
        ended = self.run(*arguments)
        ensure(ended.returncode == 0, f"{arguments[0]} runs", ended)
        return ended.stdout

    def copy(self, name):
        return shutil.copytree(self.world, self.temp / "cases" / name)

    @contextlib.contextmanager
    def workers(self, *tls, count=2):
        """Their addresses. They end with the block."""
        started = []
        try:
            for number in range(count):
                log = self.temp / f"worker-{number}.log"
                with log.open("w") as to:
                    arguments = [self.path, "worker", "--listen", "127.0.0.1:0", "--cores", "1", *map(str, tls)]
                    process = subprocess.Popen(arguments, stderr=to)
                started.append((process, log))
            yield [self.address(*worker) for worker in started]
        finally:
            for process, _ in started:
                process.kill()
                process.wait()

    def address(self, process, log):
        until = time.monotonic() + PATIENCE
        while time.monotonic() < until:
            if found := re.search(r"listening on (127\.0\.0\.1:\d+)", log.read_text()):
                return found[1]
            ensure(process.poll() is None, f"a worker begins: {log.read_text()}")
            time.sleep(0.05)
        sys.exit(f"BROKEN: a worker begins within {PATIENCE} s: {log.read_text()}")

    def rows(self, world):
        rows = {}
        for table in TABLES:
            csv = self.call("query", world / "job.toml", f"select * from {table}", "--format", "csv")
            rows[table] = sorted(csv.splitlines())
        return rows

    def backfill(self, world, addresses, *tls):
        return self.run("backfill", world / "job.toml", *DATES, "--workers", ",".join(addresses),
                        "--min-workers", len(addresses), *tls)  # fmt: skip

    def works(self, name, addresses, *tls):
        """The workers make the rows of a run without any."""
        world = self.copy(name)
        ended = self.backfill(world, addresses, *tls)
        ensure(ended.returncode == 0, f"{name}: the run ends well", ended)
        ensure(self.rows(world) == self.rows(self.local), f"{name}: the rows are those of a local run")

    def refused(self, name, addresses, *tls):
        """Nobody works for this driver, and nothing is written."""
        world = self.copy(name)
        ended = self.backfill(world, addresses, *tls)
        said = f"0 of at least {len(addresses)} workers are there"
        ensure(ended.returncode == 1 and said in ended.stderr, f"{name}: refused", ended)
        ensure("a bug in lookback" not in ended.stderr, f"{name}: nothing breaks", ended)
        ensure(not (world / "warehouse").exists(), f"{name}: nothing is written")


def s_client(address, *more):
    """What a client that is none of ours hears, after it asked for the beginning of HTTP/2."""
    command = ["openssl", "s_client", "-connect", address, "-alpn", "h2", "-quiet", *map(str, more)]
    preface = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\4\0\0\0\0\0"
    done = subprocess.run(command, input=preface, capture_output=True, timeout=60)
    return done.stdout, done.stderr.decode(errors="replace")


def others_get_nothing(tls, address):
    _, said = s_client(address, "-CAfile", tls / "ca.pem", "-servername", NAME)
    ensure("certificate required" in said, f"a client without a certificate is refused: {said}")
    holds("a client of another kind without a certificate is refused: certificate required")
    host, port = address.split(":")
    with socket.create_connection((host, int(port)), timeout=60) as plain:
        plain.sendall(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\4\0\0\0\0\0")
        try:
            heard = plain.recv(1024)
        except ConnectionError:
            heard = b""
    # An alert of TLS at most, whose first byte is 21.
    ensure(heard == b"" or heard[0] == 21, f"plain HTTP/2 hears nothing: {heard}")
    holds("a client that speaks without TLS hears nothing")


def main():
    if not shutil.which("openssl"):
        print("SKIPPED: there is no openssl to make certificates")
        return
    with tempfile.TemporaryDirectory() as temp:
        temp = pathlib.Path(temp)
        program = Program(pathlib.Path(sys.argv[1]).resolve(), temp)
        tls = certificates(temp / "tls", NAME)
        other = certificates(temp / "other", NAME)
        by_address = certificates(temp / "by-address", "127.0.0.1")

        said = " ".join(program.run("worker", "--help").stdout.split())
        ensure("[default: 127.0.0.1:7878]" in said, f"a worker listens on loopback by default: {said}")
        holds("a worker listens on loopback unless it is told otherwise")

        with program.workers(*flags(tls, "worker")) as addresses:
            program.works("certificates", addresses, *flags(tls, "driver"))
            holds("with certificates of one authority on both sides workers make the rows of a local run")
            program.refused("plain", addresses)
            holds("a driver without certificates is refused, exit 1, and nothing is written")
            program.refused("other", addresses, *flags(other, "driver", authority=tls))
            holds("so is a driver whose certificate is of another authority")
            program.refused("wary", addresses, *flags(other, "driver"))
            holds("a driver refuses workers of another authority than its own")
            program.refused("name", addresses, *flags(tls, "driver", name="other-workers"))
            holds("and workers whose certificate has another name")
            program.refused("address", addresses, *flags(tls, "driver", name=None))
            holds("and, without a name, those whose certificate does not have the address")
            others_get_nothing(tls, addresses[0])
            program.works("after", addresses, *flags(tls, "driver"))
            holds("after all these the same workers work for whom they should")

        with program.workers(*flags(by_address, "worker", name=None)) as addresses:
            program.works("by-addresses", addresses, *flags(by_address, "driver", name=None))
            holds("certificates with the workers' address need no name, between workers either")

        with program.workers(*flags(tls, "worker", name=None)) as addresses:
            ended = program.backfill(program.copy("nameless"), addresses, *flags(tls, "driver"))
            said = f"does not reach {addresses[1]}: TLS: "
            ensure(ended.returncode == 1 and said in ended.stderr, "workers without a name", ended)
            ensure("--tls-name" in ended.stderr, "the hint names what is missing", ended)
            holds("workers that expect no name do not reach each other, and that is said before they work")

        with program.workers(*flags(tls, "driver")) as addresses:
            program.refused("stolen", addresses, *flags(tls, "driver"))
            holds("who has the driver's certificate cannot pass for a worker")

        with program.workers() as addresses:
            program.refused("open", addresses, *flags(tls, "driver"))
            holds("a driver with certificates does not speak to workers without")

        job = program.copy("in-the-job")
        shutil.copytree(tls, job / "tls")
        text = (job / "job.toml").read_text()
        keys = 'tls_ca = "tls/ca.pem"\ntls_cert = "tls/driver.pem"\ntls_key = "tls/driver.key"\n'
        with program.workers(*flags(tls, "worker")) as addresses:
            (job / "job.toml").write_text(f'{text}{keys}tls_name = "{NAME}"\nworkers = {addresses}\n')
            ended = program.run("backfill", job / "job.toml", *DATES)
        ensure(ended.returncode == 0, "the job file has the certificates", ended)
        ensure(program.rows(job) == program.rows(program.local), "the rows are those of a local run")
        holds("the job file may say all of it")


if __name__ == "__main__":
    main()

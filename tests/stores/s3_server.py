"""An S3 server to test against: moto made atomic, or another server, with faults on request.

usage: s3_server.py            moto
       s3_server.py URL        hands every request on to the server at URL

Prints its own URL on the first line of stdout and serves until it is killed.

moto answers on several threads, and its conditional puts are then no promise: of many that create
one key at once several may win. Here its writes go one at a time. Another server's do not: there
the server itself has to keep them apart.

Faults are set for one bucket at a time by `PUT /_faults/BUCKET` with a JSON object, which replaces
the one before:

    fail_every          each so many-th request is answered with 503 SlowDown
    ignore_conditions   If-Match and If-None-Match are not looked at
    hold                writes to a path that matches this regular expression wait until the faults
                        are set again
    hold_first          only so many writes wait; default all

`GET /_faults/BUCKET` tells how many requests came since, how many of them failed on purpose, how
many wait, and how many of the bucket's have no answer yet.
"""

import collections
import http.client
import io
import json
import re
import sys
import threading
import urllib.parse

from moto.moto_server.werkzeug_app import DomainDispatcherApplication, create_backend_app
from moto.server import MotoRequestHandler
from werkzeug.serving import make_server

SLOW_DOWN = (
    b"<Error><Code>SlowDown</Code><Message>Please reduce your request rate.</Message></Error>"
)
# Longer than any test takes, on a busy machine too.
LONGEST_HOLD = 1800


class Moto:
    """One write at a time."""

    def __init__(self):
        self.app = DomainDispatcherApplication(create_backend_app)
        self.writing = threading.Lock()

    def __call__(self, environ, start_response):
        if environ["REQUEST_METHOD"] in ("GET", "HEAD"):
            return self.app(environ, start_response)
        with self.writing:
            return list(self.app(environ, start_response))


class Forward:
    """Requests as they came, signature and all, and answers too; only chunks are joined."""

    HOP_BY_HOP = ("connection", "transfer-encoding")

    def __init__(self, url):
        self.server = urllib.parse.urlsplit(url).netloc

    def __call__(self, environ, start_response):
        headers = {
            name[5:].replace("_", "-"): value
            for name, value in environ.items()
            if name.startswith("HTTP_")
        }
        for name in ("CONTENT_TYPE", "CONTENT_LENGTH"):
            if environ.get(name):
                headers[name.replace("_", "-")] = environ[name]
        headers = {name: headers[name] for name in headers if name.lower() not in self.HOP_BY_HOP}
        server = http.client.HTTPConnection(self.server, timeout=LONGEST_HOLD)
        method, body = environ["REQUEST_METHOD"], environ["wsgi.input"].read()
        server.request(method, environ["REQUEST_URI"], body=body, headers=headers)
        answer = server.getresponse()
        body = answer.read()
        headers = [pair for pair in answer.getheaders() if pair[0].lower() not in self.HOP_BY_HOP]
        start_response(f"{answer.status} {answer.reason or '-'}", headers)
        server.close()
        return [body]


class Faults:
    """What is wrong with one bucket, and what came of it."""

    def __init__(self, faults):
        self.faults = faults
        self.lock = threading.Lock()
        self.replaced = threading.Event()
        self.requests = self.failed = self.waiting = self.held = 0

    def is_to_fail(self):
        with self.lock:
            self.requests += 1
            every = self.faults.get("fail_every")
            fails = bool(every) and self.requests % every == 0
            self.failed += fails
            return fails

    def hold(self, method, path):
        pattern = self.faults.get("hold")
        if not pattern or method in ("GET", "HEAD") or not re.search(pattern, path):
            return
        with self.lock:
            self.held += 1
            if self.held > self.faults.get("hold_first", self.held):
                return
            self.waiting += 1
        self.replaced.wait(LONGEST_HOLD)
        with self.lock:
            self.waiting -= 1

    def counts(self):
        with self.lock:
            return {"requests": self.requests, "failed": self.failed, "waiting": self.waiting}


class Store:
    def __init__(self, server):
        self.server = server
        self.buckets = {}
        self.lock = threading.Lock()
        # How many requests of a bucket have no answer yet.
        self.open = collections.Counter()

    def __call__(self, environ, start_response):
        bucket = environ["PATH_INFO"].split("/")[1]
        self.count(bucket, 1)
        try:
            return list(self.answer(environ, start_response))
        finally:
            self.count(bucket, -1)

    def count(self, bucket, number):
        with self.lock:
            self.open[bucket] += number

    def answer(self, environ, start_response):
        method, path = environ["REQUEST_METHOD"], environ["PATH_INFO"]
        body = whole_body(environ)
        bucket = path.split("/")[1]
        if bucket == "_faults":
            return answer(start_response, "200 OK", self.control(method, path.split("/")[2], body))
        if body is None:
            return answer(start_response, "400 Bad Request", b"the body ends early")
        environ["wsgi.input"] = io.BytesIO(body)
        if faults := self.buckets.get(bucket):
            if faults.is_to_fail():
                return answer(start_response, "503 Slow Down", SLOW_DOWN)
            faults.hold(method, path)
            if faults.faults.get("ignore_conditions"):
                environ.pop("HTTP_IF_MATCH", None)
                environ.pop("HTTP_IF_NONE_MATCH", None)
        return self.server(environ, start_response)

    def control(self, method, bucket, body):
        before = self.buckets.get(bucket)
        if method == "PUT":
            self.buckets[bucket] = Faults(json.loads(body))
            if before:
                before.replaced.set()
        counts = before.counts() if before else {}
        counts["open"] = self.open[bucket]
        return json.dumps(counts).encode()


def whole_body(environ):
    """Read before any lock is taken: a client that stops in the middle must stop no other."""
    if environ.get("wsgi.input_terminated"):
        return environ["wsgi.input"].read()
    length = int(environ.get("CONTENT_LENGTH") or 0)
    body = environ["wsgi.input"].read(length)
    return body if len(body) == length else None


def answer(start_response, status, body):
    start_response(
        status, [("Content-Type", "application/xml"), ("Content-Length", str(len(body)))]
    )
    return [body]


def main():
    app = Store(Forward(sys.argv[1]) if len(sys.argv) > 1 else Moto())
    server = make_server("127.0.0.1", 0, app, threaded=True, request_handler=MotoRequestHandler)
    print(f"http://127.0.0.1:{server.port}", flush=True)
    server.serve_forever()


if __name__ == "__main__":
    main()

"""What a store was asked for: requests counted by kind, and what they were about."""

import collections
import json
import re
import statistics
import urllib.parse
import urllib.request

# What an object is, by its key: the first that matches.
OBJECTS = [
    (r"/_delta_log/_last_checkpoint$", "delta log: _last_checkpoint"),
    (r"/_delta_log/\d+\.json$", "delta log: commits"),
    (r"/_delta_log/.*checkpoint.*\.parquet$", "delta log: checkpoints"),
    (r"/_delta_log/", "delta log: other"),
    (r"/_lookback/lock$", "lease"),
    (r"/_lookback/", "notes of lookback"),
    (r"/warehouse/.*\.parquet$", "tables"),
    (r"/raw/.*\.parquet$", "raw logs"),
    (r"/reference/", "reference tables as given"),
    (r"", "other"),
]


class Pace:
    """The control of a slow store (tests/stores/slow_store.py)."""

    def __init__(self, url):
        self.url = url

    def ask(self, method, path, body=None):
        request = urllib.request.Request(self.url + path, body, method=method)
        with urllib.request.urlopen(request, timeout=600) as answer:
            return json.load(answer)

    def set(self, **pace):
        self.ask("PUT", "/_pace", json.dumps(pace).encode())
        self.ask("DELETE", "/_requests")

    def requests(self):
        return self.ask("GET", "/_requests")


def figures(requests):
    """One row of figures of all requests of a run."""
    kinds = collections.Counter(request["kind"] for request in requests)
    reads = collections.Counter(
        request["path"] for request in requests if request["kind"] == "get")
    puts = sum(kinds.pop(kind, 0) for kind in ["put", "part", "multipart", "copy"])
    return {
        "requests": len(requests),
        "get": kinds["get"],
        "list": kinds["list"],
        "head": kinds["head"],
        "put": puts,
        "delete": kinds["delete"],
        "bytes read": sum(request["received"] for request in requests),
        "bytes written": sum(request["sent"] for request in requests),
        "objects read": len(reads),
        "reads of one": max(reads.values(), default=0),
        "most at once": most_at_once(requests),
    }


def most_at_once(requests):
    moments = sorted([(request["begin"], 1) for request in requests]
                     + [(request["end"], -1) for request in requests])
    most = now = 0
    for _, step in moments:
        now += step
        most = max(most, now)
    return most


def in_a_row(seconds_at):
    """The slope of time over delay, by least squares. {delay: seconds}"""
    if len(seconds_at) < 2:
        return None
    return statistics.linear_regression(list(seconds_at), list(seconds_at.values())).slope


def kinds_of_objects(requests):
    """Rows of (what, how, requests, objects, bytes): what the requests were about."""
    sizes = {}
    for request in requests:
        end = re.fullmatch(r"bytes=(\d+)-(\d+)", request["range"])
        if end:
            sizes[request["path"]] = max(sizes.get(request["path"], 0), int(end[2]) + 1)
    rows = collections.defaultdict(lambda: [0, set(), 0])
    for request in requests:
        path = request["path"]
        if request["kind"] == "list":
            path = "list:" + listed(request)
        row = rows[what(path), how(request, sizes)]
        row[0] += 1
        row[1].add(path)
        row[2] += request["received"] + request["sent"]
    return [(*name, count, len(paths), size)
            for name, (count, paths, size) in sorted(rows.items())]


def what(path):
    if path.startswith("list:"):
        prefix = path.removeprefix("list:")
        return "listing: " + ("delta logs" if "_delta_log" in prefix else "folders")
    return next(name for pattern, name in OBJECTS if re.search(pattern, path))


def how(request, sizes):
    if request["kind"] != "get":
        return request["kind"]
    if not request["range"]:
        return "get whole"
    span = re.fullmatch(r"bytes=(\d*)-(\d*)", request["range"])
    if not span or not span[1] or not span[2]:
        return "get end"
    start, end = int(span[1]), int(span[2]) + 1
    size = sizes[request["path"]]
    if end - start <= 8:
        return "get last 8 bytes" if end == size else "get 8 bytes"
    if end in (size, size - 8):
        return "get whole" if start == 0 and end == size else "get end (footer)"
    return "get range"


def listed(request):
    query = urllib.parse.parse_qs(request["query"])
    return request["path"] + "/" + query.get("prefix", [""])[0]

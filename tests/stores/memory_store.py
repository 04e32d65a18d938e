"""An S3 server in memory that costs next to nothing: for measuring, where moto would be measured.

It knows what object stores' clients ask for: objects and ranges of them, conditional puts, copies,
listings, uploads in parts, deletes. It checks neither signatures nor checksums, and whatever it
does not know it refuses with 501. It is called by one thread, so each call is atomic.
"""

import dataclasses
import email.utils
import hashlib
import re
import time
import urllib.parse
import uuid
import xml.etree.ElementTree
from xml.sax.saxutils import escape

NAMES = {
    404: "Not Found",
    206: "Partial Content",
    412: "Precondition Failed",
    416: "Range Not Satisfiable",
    501: "Not Implemented",
}


@dataclasses.dataclass
class Stored:
    data: bytes
    etag: str
    since: float


@dataclasses.dataclass
class Answer:
    status: int
    body: bytes = b""
    headers: dict = dataclasses.field(default_factory=dict)

    def head(self):
        """The first line and the headers."""
        headers = {"Content-Length": len(self.body), "Server": "memory"} | self.headers
        lines = [f"HTTP/1.1 {self.status} {NAMES.get(self.status, 'OK')}"]
        return "\r\n".join([*lines, *(f"{name}: {value}" for name, value in headers.items())])


def refused(status, code):
    return Answer(status, f"<Error><Code>{code}</Code><Message>{code}</Message></Error>".encode())


class MemoryStore:
    def __init__(self):
        self.buckets = {}
        self.uploads = {}

    def answer(self, method, path, query, headers, body):
        _, bucket, *rest = path.split("/", 2)
        key = "".join(rest)
        asked = dict(urllib.parse.parse_qsl(query, keep_blank_values=True))
        if method == "PUT" and not key:
            self.buckets.setdefault(bucket, {})
            return Answer(200)
        if bucket not in self.buckets:
            return refused(404, "NoSuchBucket")
        objects = self.buckets[bucket]
        if method in ("GET", "HEAD") and not key:
            known = {"list-type", "prefix", "delimiter", "continuation-token", "start-after",
                     "max-keys", "encoding-type"}
            return refused(501, "NotImplemented") if asked.keys() - known else listing(
                objects, asked)
        if method in ("GET", "HEAD"):
            return read(objects, key, headers)
        if "uploadId" in asked or "uploads" in asked:
            return self.upload(objects, key, method, asked, body)
        if method == "POST" and "delete" in asked:
            for entry in xml.etree.ElementTree.fromstring(body).iter():
                if entry.tag.endswith("Key"):
                    objects.pop(entry.text, None)
            return Answer(200, b"<DeleteResult></DeleteResult>")
        if method == "DELETE":
            objects.pop(key, None)
            return Answer(204)
        if method == "PUT":
            return self.write(objects, key, headers, body)
        return refused(501, "NotImplemented")

    def write(self, objects, key, headers, body):
        now = objects.get(key)
        if headers.get("if-none-match") == "*" and now:
            return refused(412, "PreconditionFailed")
        if "if-match" in headers and (not now or now.etag != headers["if-match"]):
            return refused(412, "PreconditionFailed")
        if "x-amz-copy-source" in headers:
            source = urllib.parse.unquote(headers["x-amz-copy-source"]).lstrip("/")
            bucket, _, name = source.partition("/")
            copied = self.buckets.get(bucket, {}).get(name)
            if not copied:
                return refused(404, "NoSuchKey")
            objects[key] = dataclasses.replace(copied, since=time.time())
            told = f"<CopyObjectResult><ETag>{escape(copied.etag)}</ETag></CopyObjectResult>"
            return Answer(200, told.encode())
        objects[key] = Stored(body, f'"{hashlib.md5(body).hexdigest()}"', time.time())
        return Answer(200, b"", {"ETag": objects[key].etag})

    def upload(self, objects, key, method, asked, body):
        if "uploads" in asked:
            name = uuid.uuid4().hex
            self.uploads[name] = {}
            told = f"<UploadId>{name}</UploadId>"
            told = f"<InitiateMultipartUploadResult>{told}</InitiateMultipartUploadResult>"
            return Answer(200, told.encode())
        if asked["uploadId"] not in self.uploads:
            return refused(404, "NoSuchUpload")
        parts = self.uploads[asked["uploadId"]]
        if method == "PUT":
            parts[int(asked["partNumber"])] = body
            return Answer(200, b"", {"ETag": f'"{hashlib.md5(body).hexdigest()}"'})
        del self.uploads[asked["uploadId"]]
        if method == "DELETE":
            return Answer(204)
        whole = b"".join(parts[number] for number in sorted(parts))
        etag = f'"{hashlib.md5(whole).hexdigest()}-{len(parts)}"'
        objects[key] = Stored(whole, etag, time.time())
        told = f"<ETag>{escape(etag)}</ETag>"
        told = f"<CompleteMultipartUploadResult>{told}</CompleteMultipartUploadResult>"
        return Answer(200, told.encode())


def read(objects, key, headers):
    stored = objects.get(key)
    if not stored:
        return refused(404, "NoSuchKey")
    if headers.get("if-match", stored.etag) != stored.etag:
        return refused(412, "PreconditionFailed")
    about = {
        "ETag": stored.etag,
        "Last-Modified": email.utils.formatdate(stored.since, usegmt=True),
        "Accept-Ranges": "bytes",
        "Content-Type": "binary/octet-stream",
    }
    size = len(stored.data)
    span = re.fullmatch(r"bytes=(\d*)-(\d*)", headers.get("range", ""))
    if not span:
        return Answer(200, memoryview(stored.data), about)
    if span[1]:
        start, end = int(span[1]), min(int(span[2] or size) + 1, size)
    else:
        start, end = max(size - int(span[2]), 0), size
    if start >= size:
        return refused(416, "InvalidRange")
    about["Content-Range"] = f"bytes {start}-{end - 1}/{size}"
    return Answer(206, memoryview(stored.data)[start:end], about)


def listing(objects, asked):
    prefix, delimiter = asked.get("prefix", ""), asked.get("delimiter", "")
    most = min(int(asked.get("max-keys") or 1000), 1000)
    after = asked.get("continuation-token") or asked.get("start-after") or ""
    said = urllib.parse.quote if asked.get("encoding-type") == "url" else escape
    entries, count, last, more = {}, 0, "", ""
    for key in sorted(objects):
        if not key.startswith(prefix) or key <= after or (
            delimiter and after.endswith(delimiter) and key.startswith(after)):
            continue
        folder, found, _ = key[len(prefix) :].partition(delimiter) if delimiter else ("", "", "")
        name = prefix + folder + delimiter if found else key
        if name in entries:
            continue
        if count == most:
            more = last
            break
        stored, last, count = objects[key], name, count + 1
        moment = time.strftime("%Y-%m-%dT%H:%M:%S.000Z", time.gmtime(stored.since))
        entries[name] = (
            f"<CommonPrefixes><Prefix>{said(name)}</Prefix></CommonPrefixes>" if found else
            f"<Contents><Key>{said(key)}</Key><LastModified>{moment}</LastModified>"
            f"<ETag>{escape(stored.etag)}</ETag><Size>{len(stored.data)}</Size>"
            "<StorageClass>STANDARD</StorageClass></Contents>"
        )
    token = f"<NextContinuationToken>{escape(more)}</NextContinuationToken>" if more else ""
    told = (
        '<?xml version="1.0" encoding="UTF-8"?>'
        '<ListBucketResult xmlns="http://s3.amazonaws.com/doc/2006-03-01/">'
        f"<Prefix>{said(prefix)}</Prefix><MaxKeys>{most}</MaxKeys><KeyCount>{count}</KeyCount>"
        f"<IsTruncated>{'true' if more else 'false'}</IsTruncated>{token}"
        f"{''.join(entries.values())}</ListBucketResult>"
    )
    return Answer(200, told.encode(), {"Content-Type": "application/xml"})

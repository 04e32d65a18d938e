"""A bucket of an S3 server that checks no signatures, with nothing between it and this process."""

import http.client
import pathlib
import re
import urllib.parse
import xml.etree.ElementTree

REGION = "us-east-1"
# The servers want to see a key, and do not look at the signature.
HEADERS = {
    "Authorization": f"AWS4-HMAC-SHA256 Credential=test/20260101/{REGION}/s3/aws4_request, "
    "SignedHeaders=host, Signature=none"
}


def credentials(endpoint):
    return {
        "AWS_ENDPOINT_URL": endpoint,
        "AWS_ALLOW_HTTP": "true",
        "AWS_REGION": REGION,
        "AWS_ACCESS_KEY_ID": "test",
        "AWS_SECRET_ACCESS_KEY": "test",
    }


class Bucket:
    def __init__(self, server, name):
        self.server = urllib.parse.urlsplit(server).netloc
        self.name = name
        self.url = f"s3://{name}"
        self.ask("PUT", "")

    def ask(self, method, key, body=None, query=None, **headers):
        connection = http.client.HTTPConnection(self.server, timeout=600)
        path = f"/{self.name}/{urllib.parse.quote(key)}".rstrip("/")
        path += f"?{urllib.parse.urlencode(query)}" if query else ""
        connection.request(method, path, body, HEADERS | headers)
        answer = connection.getresponse()
        content = answer.read()
        connection.close()
        if answer.status >= 300:
            raise SystemExit(f"{method} {path}: {answer.status} {content.decode()[:500]}")
        return content

    def upload(self, folder):
        """All files below the folder, job files aside."""
        folder = pathlib.Path(folder)
        for part in ["raw", "reference"]:
            for file in sorted((folder / part).rglob("*")):
                if file.is_file():
                    self.ask("PUT", str(file.relative_to(folder)), file.read_bytes())

    def etags(self, prefix):
        """{key below the prefix: etag}"""
        found, token = {}, ""
        while token is not None:
            query = {"list-type": 2, "prefix": prefix} | (
                {"continuation-token": token} if token else {})
            tree = xml.etree.ElementTree.fromstring(
                self.ask("GET", "", query=query))
            space = re.match(r"\{.*\}|", tree.tag)[0]
            for entry in tree.iter(f"{space}Contents"):
                key = entry.find(f"{space}Key").text
                found[key.removeprefix(prefix)] = entry.find(f"{space}ETag").text
            token = tree.findtext(f"{space}NextContinuationToken")
        return found

    def copy(self, key, to):
        source = urllib.parse.quote(f"/{self.name}/{key}")
        self.ask("PUT", to, **{"x-amz-copy-source": source})

    def delete(self, prefix):
        for key in self.etags(prefix):
            self.ask("DELETE", prefix + key)


class Snapshot:
    """Objects below a prefix as they were at one moment. They are put back within the server."""

    def __init__(self, bucket, prefix):
        self.bucket, self.prefix = bucket, prefix
        self.kept = f"snapshot/{prefix}"
        bucket.delete(self.kept)
        self.etags = bucket.etags(prefix)
        for key in self.etags:
            bucket.copy(prefix + key, self.kept + key)

    def restore(self):
        now = self.bucket.etags(self.prefix)
        for key in now.keys() - self.etags.keys():
            self.bucket.ask("DELETE", self.prefix + key)
        changed = {key for key, etag in self.etags.items() if now.get(key) != etag}
        for key in changed:
            self.bucket.copy(self.kept + key, self.prefix + key)
        if changed:
            now = self.bucket.etags(self.prefix)
            self.etags |= {key: now[key] for key in changed}

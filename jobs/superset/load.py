"""Puts the dashboard into a Superset that runs somewhere, and replaces it where it is there already.

python jobs/superset/load.py http://127.0.0.1:8088 --user admin

The password comes from the variable SUPERSET_PASSWORD. `--uri` and `--schema` name another database
than bundle/databases, and another schema than `view`. All has fixed ids: loading twice changes nothing,
and what somebody changed of it in Superset is put back. Only the standard library is used.
"""

import argparse
import http.cookiejar
import io
import json
import os
import re
import sys
import urllib.error
import urllib.request
import uuid
import zipfile
from pathlib import Path

BUNDLE = Path(__file__).parent / "bundle"


def zipped(uri: str | None, schema: str | None) -> bytes:
    """The files of the bundle, as Superset wants them."""
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as archive:
        for path in sorted(BUNDLE.rglob("*.yaml")):
            name = path.relative_to(BUNDLE).as_posix()
            text = path.read_text()
            if name == "metadata.yaml":
                # The kind of file that replaces charts as well, and not dashboards alone.
                text = with_value(text, "type", "assets")
            if uri and name.startswith("databases/"):
                text = with_value(text, "sqlalchemy_uri", uri)
                # What DuckDB wants to be given.
                text = with_value(text, "  engine_params", {})
            if schema and name.startswith("datasets/"):
                text = with_value(text, "schema", schema)
            archive.writestr(f"lookback/{name}", text)
    return packed.getvalue()


def with_value(text: str, key: str, value: object) -> str:
    """YAML with another value of a key, and without what was nested below it."""
    indent = len(key) - len(key.lstrip())
    nested = rf"(?:\n {{{indent + 1}}}.*)*"
    return re.sub(rf"(?m)^{key}:.*{nested}", lambda _: f"{key}: {json.dumps(value)}", text)


def load(
    url: str, user: str, password: str, uri: str | None = None, schema: str | None = None
) -> None:
    """Raises RuntimeError with what Superset says, if it says no."""
    jar = http.cookiejar.CookieJar()
    opener = urllib.request.build_opener(urllib.request.HTTPCookieProcessor(jar))

    def ask(path: str, body: bytes | None = None, **headers: str) -> dict:
        request = urllib.request.Request(url.rstrip("/") + path, body)
        for name, value in {"Referer": url, **headers}.items():
            request.add_header(name.replace("_", "-"), value)
        try:
            with opener.open(request) as answer:
                return json.load(answer)
        except urllib.error.HTTPError as error:
            raise RuntimeError(f"{path}: {error.code} {error.read().decode()[:2000]}") from None

    login = {"username": user, "password": password, "provider": "db"}
    answer = ask(
        "/api/v1/security/login", json.dumps(login).encode(), Content_Type="application/json"
    )
    bearer = f"Bearer {answer['access_token']}"
    csrf = ask("/api/v1/security/csrf_token/", Authorization=bearer)["result"]
    boundary = uuid.uuid4().hex
    head = (
        f'--{boundary}\r\nContent-Disposition: form-data; name="bundle"; filename="lookback.zip"\r\n'
        "Content-Type: application/zip\r\n\r\n"
    )
    body = head.encode() + zipped(uri, schema) + f"\r\n--{boundary}--\r\n".encode()
    ask(
        "/api/v1/assets/import/",
        body,
        Authorization=bearer,
        X_CSRFToken=csrf,
        Content_Type=f"multipart/form-data; boundary={boundary}",
    )


def main() -> None:
    arguments = argparse.ArgumentParser(description="puts the dashboard into a Superset")
    arguments.add_argument("url", help="where Superset answers")
    arguments.add_argument("--user", default="admin", help="who may import [admin]")
    arguments.add_argument("--uri", help="the database, as SQLAlchemy wants it")
    arguments.add_argument("--schema", help="the schema of the views, if it is not view")
    given = arguments.parse_args()
    password = os.environ.get("SUPERSET_PASSWORD")
    if not password:
        sys.exit("error: SUPERSET_PASSWORD is not set")
    try:
        load(given.url, given.user, password, given.uri, given.schema)
    except (RuntimeError, urllib.error.URLError) as error:
        sys.exit(f"error: {given.url}: {error}")
    print(f"{given.url.rstrip('/')}/superset/dashboard/lookback/")


if __name__ == "__main__":
    main()

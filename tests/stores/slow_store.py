"""What lies between a program and its object store: distance, thin lines and bad days.

usage: slow_store.py URL [FILE [HOST]]
       slow_store.py memory [FILE [HOST]]

Hands every request on to the S3 server at URL, as it came: the signature names the host that the
client called, which is this one. Or answers by itself, see memory_store.py. Listens on HOST, else on
127.0.0.1. Prints its own URL on the first line of stdout and serves until it is killed. Each request
becomes a line of JSON in FILE, if one is given.

`PUT /_pace` with a JSON object replaces the pace and the faults; what it does not name is off:

    delay               seconds before a request is handed on: the time to the first byte
    bandwidth           bytes a second of each connection, in either direction
    only                the faults below meet only requests that match this regular expression;
                        it is held against "METHOD /path?query"
    first               and of these only so many; default all
    busy_seconds        so long from the first that it meets, the answer is 503 SlowDown
    silent              no answer, until the pace is set again
    cut_every           of each so many-th GET the body ends early, and with it the connection
    cut_after           after so many bytes; default 0
    trickle             seconds that the body of the answer takes, whatever its length

`GET /_pace` tells the pace, and how many requests met a fault since. `GET /_requests` tells all
requests in the order in which they ended; `DELETE /_requests` forgets them.
"""

import asyncio
import collections
import dataclasses
import json
import re
import socket
import sys
import time
import urllib.parse

from memory_store import MemoryStore

# At 60 MB/s a piece takes two milliseconds: fine enough for a pace, and few enough to be fast.
PIECE = 128 * 1024
# Little waits between client and server, so that a slow line is slow for both.
BUFFER = 512 * 1024
SLOW_DOWN = (
    b"<Error><Code>SlowDown</Code><Message>Please reduce your request rate.</Message></Error>"
)


class Closed(Exception):
    """The other side hung up."""


class Head:
    """The first line of a request or an answer, and its headers."""

    def __init__(self, data):
        self.first, *lines = data.decode("latin-1").split("\r\n")
        self.lines = lines
        self.headers = {}
        for line in lines:
            name, _, value = line.partition(":")
            self.headers[name.lower()] = value.strip()

    def get(self, name):
        return self.headers.get(name, "")

    def is_chunked(self):
        return self.get("transfer-encoding").lower() == "chunked"

    def length(self):
        """Of the body; None for one that ends with the connection."""
        return int(self.headers["content-length"]) if "content-length" in self.headers else None

    def ends_connection(self):
        return self.get("connection").lower() == "close" or "HTTP/1.0" in self.first

    def encoded(self, without=("connection",), more=()):
        kept = [line for line in self.lines if line.partition(":")[0].lower() not in without]
        return ("\r\n".join([self.first, *kept, *more]) + "\r\n\r\n").encode("latin-1")


class Side:
    """One end of a connection."""

    def __init__(self, connected):
        connected.setblocking(False)
        connected.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.socket = connected
        self.loop = asyncio.get_running_loop()
        self.rest = b""
        self.piece = memoryview(bytearray(PIECE))

    async def more(self):
        """Adds to the rest; False at the end."""
        data = await self.loop.sock_recv(self.socket, PIECE)
        self.rest += data
        return bool(data)

    async def up_to(self, mark):
        while (end := self.rest.find(mark)) < 0:
            if not await self.more():
                raise Closed
        end += len(mark)
        found, self.rest = self.rest[:end], self.rest[end:]
        return found

    async def head(self):
        return Head((await self.up_to(b"\r\n\r\n"))[:-4])

    async def body(self, head):
        """The body in pieces as they come, the frames of chunks with them."""
        if head.is_chunked():
            size = None
            while size != 0:
                line = await self.up_to(b"\r\n")
                size = int(line.split(b";")[0], 16)
                yield line
                async for piece in self.counted(size + 2):
                    yield piece
        else:
            async for piece in self.counted(head.length()):
                yield piece

    async def counted(self, left):
        """So many bytes; None: all up to the end of the connection."""
        while self.rest and left != 0:
            data, self.rest = self.rest[:left], self.rest[len(self.rest[:left]) :]
            left = left if left is None else left - len(data)
            yield data
        while left != 0:
            room = self.piece if left is None else self.piece[: min(left, PIECE)]
            count = await self.loop.sock_recv_into(self.socket, room)
            if not count:
                if left is None:
                    return
                raise Closed
            left = left if left is None else left - count
            yield self.piece[:count]

    async def send(self, data):
        await self.loop.sock_sendall(self.socket, data)

    def close(self):
        self.socket.close()


@dataclasses.dataclass
class Request:
    """One request, as it is told of."""

    connection: int
    method: str
    path: str
    query: str
    kind: str
    range: str
    begin: float
    status: int = 0
    sent: int = 0
    received: int = 0
    end: float = 0
    fault: str = ""


def kind_of(method, query, head):
    """What the bill calls it: an upload in parts is several requests."""
    names = urllib.parse.parse_qs(query, keep_blank_values=True)
    if method == "GET":
        return "list" if "list-type" in names or "prefix" in names else "get"
    if method == "PUT" and "x-amz-copy-source" in head.headers:
        return "copy"
    if method == "PUT" and "partNumber" in names:
        return "part"
    if method == "POST":
        return "delete" if "delete" in names else "multipart"
    return method.lower()


class Pace:
    def __init__(self, settings):
        self.settings = settings
        self.delay = settings.get("delay", 0)
        self.bandwidth = settings.get("bandwidth")
        self.only = re.compile(settings.get("only", ""))
        self.first = settings.get("first", float("inf"))
        self.busy_until = None
        self.gets = 0
        self.met = collections.Counter()
        self.replaced = asyncio.Event()

    def fault_of(self, request):
        """The fault that this request meets, if any. A cut body may turn out to be too short."""
        query = f"?{request.query}" if request.query else ""
        if not self.only.search(f"{request.method} {request.path}{query}"):
            return ""
        if self.met.total() >= self.first:
            return ""
        for fault, holds in [
            ("silent", self.settings.get("silent")),
            ("busy", self.is_busy()),
            ("cut", self.is_cut(request)),
            ("trickle", self.settings.get("trickle")),
        ]:
            if holds:
                self.met[fault] += fault != "cut"
                return fault
        return ""

    def is_busy(self):
        now = time.monotonic()
        if self.busy_until is None:
            self.busy_until = now + self.settings.get("busy_seconds", 0)
        return now < self.busy_until

    def is_cut(self, request):
        every = self.settings.get("cut_every")
        if request.method != "GET" or not every:
            return False
        self.gets += 1
        return self.gets % every == 0

    def told(self):
        return self.settings | {"met": self.met}


async def paced(pieces, bandwidth):
    """The pieces, each at the time at which its last byte would have come."""
    step = max(int(bandwidth / 20), 1) if bandwidth else PIECE
    begin, count = time.monotonic(), 0
    async for whole in pieces:
        for start in range(0, len(whole), step):
            piece = whole[start : start + step]
            count += len(piece)
            # Another connection's turn, if there is nothing to wait for.
            ahead = begin + count / bandwidth - time.monotonic() if bandwidth else 0
            await asyncio.sleep(max(ahead, 0))
            yield piece


class Between:
    def __init__(self, url, log):
        parts = urllib.parse.urlsplit(url)
        self.server = (parts.hostname, parts.port)
        self.memory = MemoryStore() if url == "memory" else None
        self.log = log
        self.pace = Pace({})
        self.requests = []
        self.connections = 0

    async def serve(self, listener):
        loop = asyncio.get_running_loop()
        clients = set()
        while True:
            connected, _ = await loop.sock_accept(listener)
            client = asyncio.create_task(self.client(Side(connected)))
            clients.add(client)
            client.add_done_callback(clients.discard)

    async def client(self, client):
        self.connections += 1
        connection = Connection(self, client, self.connections)
        try:
            while await connection.exchange():
                pass
        except (Closed, OSError):
            pass
        finally:
            connection.close()

    def control(self, method, path, body):
        if path == "/_pace":
            if method == "PUT":
                before, self.pace = self.pace, Pace(json.loads(body))
                before.replaced.set()
            return json.dumps(self.pace.told()).encode()
        if path == "/_requests":
            told = [] if method == "DELETE" else [dataclasses.asdict(one) for one in self.requests]
            if method == "DELETE":
                self.requests.clear()
            return json.dumps(told).encode()
        return None

    def ended(self, request):
        request.end = time.time()
        self.requests.append(request)
        if self.log:
            print(json.dumps(dataclasses.asdict(request)), file=self.log, flush=True)


class Connection:
    """A client's connection, and the one to the server that belongs to it."""

    def __init__(self, between, client, number):
        self.between = between
        self.client = client
        self.number = number
        self.server = None

    def close(self):
        self.client.close()
        self.leave_server()

    def leave_server(self):
        if self.server:
            self.server.close()
        self.server = None

    async def reach_server(self):
        if self.server and not self.is_still_there():
            self.leave_server()
        if not self.server:
            connected = socket.socket()
            connected.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, BUFFER)
            self.server = Side(connected)
            await self.server.loop.sock_connect(connected, self.between.server)

    def is_still_there(self):
        """The server says nothing between two requests: what there is to read is its goodbye."""
        try:
            self.server.socket.recv(1, socket.MSG_PEEK)
        except BlockingIOError:
            return True
        except OSError:
            return False
        return False

    async def exchange(self):
        """One request and its answer. False when the connection ends with it."""
        head = await self.client.head()
        method, target, _ = head.first.split(" ")
        path, _, query = target.partition("?")
        if head.get("expect"):
            await self.client.send(b"HTTP/1.1 100 Continue\r\n\r\n")
        body = self.client.body(head) if head.is_chunked() or head.length() else nothing()
        if path in ("/_pace", "/_requests"):
            said = self.between.control(method, path, b"".join([bytes(part) async for part in body]))
            await self.client.send(written_answer("200 OK", said, "application/json"))
            return True
        request = Request(
            self.number,
            method,
            urllib.parse.unquote(path),
            query,
            kind_of(method, query, head),
            head.get("range"),
            time.time(),
        )
        try:
            return await self.through_faults(request, head, body)
        finally:
            self.between.ended(request)

    async def through_faults(self, request, head, body):
        pace = self.between.pace
        fault = pace.fault_of(request)
        if fault == "silent":
            request.fault = fault
            await pace.replaced.wait()
            return False
        await asyncio.sleep(pace.delay)
        if fault == "busy":
            request.fault, request.status = fault, 503
            async for part in body:
                request.sent += len(part)
            await self.client.send(written_answer("503 Slow Down", SLOW_DOWN, "application/xml"))
            return True
        return await self.hand_on(request, head, body, pace, fault)

    async def hand_on(self, request, head, body, pace, fault):
        ask = self.ask_memory if self.between.memory else self.ask_server
        answer, pieces = await ask(request, head, paced(body, pace.bandwidth))
        request.status = int(answer.first.split(" ")[1])
        ends = not answer.is_chunked() and answer.length() is None
        ends = ends and request.method != "HEAD" and request.status not in (204, 304)
        answer.first = answer.first.replace("HTTP/1.0", "HTTP/1.1")
        await self.client.send(answer.encoded(more=["Connection: close"] if ends else []))
        bandwidth, left = pace.bandwidth, None
        if fault == "trickle":
            request.fault = fault
            bandwidth = (answer.length() or 1) / pace.settings["trickle"]
        if fault == "cut":
            left = pace.settings.get("cut_after", 0)
        async for part in paced(pieces, bandwidth):
            if left is not None and request.received + len(part) > left:
                await self.client.send(part[: left - request.received])
                request.fault, request.received = fault, left
                pace.met[fault] += 1
                return False
            request.received += len(part)
            await self.client.send(part)
        if ends or answer.ends_connection():
            self.leave_server()
        return not ends

    async def ask_server(self, request, head, body):
        await self.reach_server()
        await self.server.send(head.encoded(without=("connection", "expect")))
        async for part in body:
            request.sent += len(part)
            await self.server.send(part)
        answer = await self.server.head()
        has_body = request.method != "HEAD" and answer.first.split(" ")[1] not in ("204", "304")
        return answer, self.server.body(answer) if has_body else nothing()

    async def ask_memory(self, request, head, body):
        if head.is_chunked():
            raise Closed
        data = bytearray()
        async for part in body:
            data += part
        request.sent = len(data)
        answer = self.between.memory.answer(
            request.method, request.path, request.query, head.headers, bytes(data))
        return Head(answer.head().encode()), pieces_of(
            b"" if request.method == "HEAD" else answer.body)


async def pieces_of(body):
    for start in range(0, len(body), PIECE):
        yield body[start : start + PIECE]


async def nothing():
    return
    yield


def written_answer(status, body, kind):
    head = f"HTTP/1.1 {status}\r\nContent-Type: {kind}\r\nContent-Length: {len(body)}\r\n\r\n"
    return head.encode() + body


def main():
    log = open(sys.argv[2], "a") if len(sys.argv) > 2 else None
    host = sys.argv[3] if len(sys.argv) > 3 else "127.0.0.1"
    listener = socket.create_server((host, 0), backlog=512)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, BUFFER)
    listener.setblocking(False)
    print(f"http://{host}:{listener.getsockname()[1]}", flush=True)

    async def serve():
        await Between(sys.argv[1], log).serve(listener)

    asyncio.run(serve())


if __name__ == "__main__":
    main()

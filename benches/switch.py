#!/usr/bin/env python3
"""A switch between hosts in network namespaces: what lies between two machines, in a process.

usage: switch.py ROUND_TRIP RATE HOST=ADDRESS ...

Makes a network device for each host, in the namespace of that name ("-": the one of this process),
and hands packets on by their address. A packet leaves when its sender's line of RATE bits a second
is free, and arrives half of ROUND_TRIP seconds later. A line that is busy leaves packets with the
sender's kernel, which drops them as a real one would. Prints "ready" and serves until it is killed.

It stands in for `tc netem`, which many kernels lack, and knows neither loss nor jitter.
"""

import fcntl
import heapq
import ipaddress
import os
import select
import struct
import subprocess
import sys
import time

TUNSETIFF, TUN, NO_HEAD = 0x400454CA, 0x0001, 0x1000
# Of packets, as in a cloud's network.
MTU = 9000
# A line takes no more packets than it sends in so many seconds.
AHEAD = 0.02


def device(name):
    opened = os.open("/dev/net/tun", os.O_RDWR | os.O_NONBLOCK)
    fcntl.ioctl(opened, TUNSETIFF, struct.pack("16sH", name.encode(), TUN | NO_HEAD))
    return opened


def ip(*words):
    subprocess.run(["ip", *words], check=True)


def connect(number, host, address):
    name = f"lookback{number}"
    line = device(name)
    within = []
    if host != "-":
        ip("link", "set", name, "netns", host)
        within = ["-n", host]
    ip(*within, "address", "add", f"{address}/24", "dev", name)
    ip(*within, "link", "set", name, "mtu", str(MTU), "txqueuelen", "1000", "up")
    return line


def serve(lines, half, rate):
    """lines: {address as bytes: device}"""
    free = dict.fromkeys(lines.values(), 0.0)
    under_way, count = [], 0
    while True:
        now = time.monotonic()
        while under_way and under_way[0][0] <= now:
            _, _, to, packet = heapq.heappop(under_way)
            try:
                os.write(to, packet)
            except OSError:
                pass  # The host's queue is full: the packet is lost, as on a real line.
        ready = [line for line, until in free.items() if until - now < AHEAD]
        waits = [under_way[0][0] - now] if under_way else []
        waits += [until - AHEAD - now for until in free.values() if until - now >= AHEAD]
        wait = max(0.0, min(waits)) if waits else None
        readable = select.select(ready, [], [], wait)[0]
        now = time.monotonic()
        for line in readable:
            while free[line] - now < AHEAD:
                try:
                    packet = os.read(line, 1 << 16)
                except BlockingIOError:
                    break
                free[line] = max(free[line], now) + len(packet) * 8 / rate
                to = lines.get(packet[16:20])
                if packet[0] >> 4 == 4 and to is not None:
                    count += 1
                    heapq.heappush(under_way, (free[line] + half, count, to, packet))


def main():
    half, rate = float(sys.argv[1]) / 2, float(sys.argv[2])
    lines = {}
    for number, pair in enumerate(sys.argv[3:]):
        host, _, address = pair.partition("=")
        lines[ipaddress.ip_address(address).packed] = connect(number, host, address)
    print("ready", flush=True)
    serve(lines, half, rate)


if __name__ == "__main__":
    main()

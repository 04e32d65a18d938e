"""Hosts in network namespaces of this machine, and the lines between them."""

import json
import os
import shutil
import subprocess
import sys

from measure import HERE

PREFIX = "lookback-bench-"
NETWORK = "10.73.0."


def why_not():
    """Why there can be no namespaces here; None if there can."""
    if os.geteuid() != 0:
        return "network namespaces need root"
    if not shutil.which("ip"):
        return "`ip` is missing (package iproute2)"
    tried = subprocess.run(["ip", "netns", "add", f"{PREFIX}try"], capture_output=True, text=True)
    if tried.returncode:
        return f"`ip netns add` fails: {tried.stderr.strip()}"
    ip("netns", "delete", f"{PREFIX}try")
    return None


def ip(*words):
    done = subprocess.run(["ip", *map(str, words)], capture_output=True, text=True)
    if done.returncode:
        raise SystemExit(f"ip {' '.join(map(str, words))}: {done.stderr.strip()}")
    return done.stdout


class Hosts:
    """Hosts by name, each with an address and a line to a switch. This process has one, too. Without
    a round trip and a rate the switch is a bridge of the kernel; else it is switch.py."""

    def __init__(self, names, round_trip=0.0, rate=None):
        self.clean()
        self.addresses = {name: f"{NETWORK}{number + 2}" for number, name in enumerate(names)}
        self.own = f"{NETWORK}1"
        self.switch = None
        for name in names:
            ip("netns", "add", PREFIX + name)
            ip("-n", PREFIX + name, "link", "set", "lo", "up")
        if rate:
            self.join_by_process(round_trip, rate)
        else:
            self.join_by_bridge()

    def join_by_bridge(self):
        ip("link", "add", "lookback-bridge", "type", "bridge")
        ip("address", "add", f"{self.own}/24", "dev", "lookback-bridge")
        ip("link", "set", "lookback-bridge", "up")
        self.devices = {}
        for number, (name, address) in enumerate(self.addresses.items()):
            near, far = f"lookback{number}", "line"
            ip("link", "add", near, "type", "veth", "peer", "name", far,
               "netns", PREFIX + name)
            ip("link", "set", near, "master", "lookback-bridge", "up")
            ip("-n", PREFIX + name, "address", "add", f"{address}/24", "dev", far)
            ip("-n", PREFIX + name, "link", "set", far, "up")
            self.devices[name] = far

    def join_by_process(self, round_trip, rate):
        hosts = [f"-={self.own}"] + [
            f"{PREFIX}{name}={address}" for name, address in self.addresses.items()]
        command = [sys.executable, HERE / "switch.py", str(round_trip), str(rate), *hosts]
        self.switch = subprocess.Popen(command, stdout=subprocess.PIPE)
        if self.switch.stdout.readline() != b"ready\n":
            raise SystemExit("switch.py did not start")
        self.devices = {name: f"lookback{number + 1}" for number, name in enumerate(self.addresses)}

    def within(self, name):
        """The words before a command that runs on a host."""
        return ["ip", "netns", "exec", PREFIX + name]

    def counted(self):
        """{host: (bytes sent, bytes received)}"""
        return {name: self.counted_of(name) for name in self.addresses}

    def counted_of(self, name):
        told = json.loads(
            ip("-n", PREFIX + name, "-s", "-j", "link", "show", "dev", self.devices[name]))
        counts = told[0]["stats64"]
        return counts["tx"]["bytes"], counts["rx"]["bytes"]

    def clean(self):
        """Removes what an earlier run left."""
        for line in ip("netns", "list").splitlines():
            if line.startswith(PREFIX):
                ip("netns", "delete", line.split()[0])
        subprocess.run(["ip", "link", "delete", "lookback-bridge"], capture_output=True)

    def close(self):
        if self.switch:
            self.switch.kill()
            self.switch.wait()
        self.clean()

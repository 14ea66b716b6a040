#!/usr/bin/env python3
"""A soak of a fleet: a document of many services, ten changes of it a second, for minutes, under load.

One real etcd, --nodes gateways, --services services. Each change is of one service, which tells its
number. Clients on kept connections look at every answer: no request may fail, no node may go back to an
earlier revision. It prints what was seen and what is allowed: one watch of etcd and one connection to it
per node, memory flat, timers of workers in time. Exit status 1 if anything is not so.

Usage: loadtest/fleet.py [--binary target/debug/odin] [--seconds 600] [--services 10000] [--rate 10]
                         [--nodes 2] [--delay 5]
"""

import argparse
import base64
import hashlib
import http.client
import json
import pathlib
import re
import socket
import statistics
import subprocess
import sys
import tempfile
import threading
import time

import reloads

ROOT = pathlib.Path(__file__).resolve().parent.parent
# As the gateway stores it (src/control/fleet/document.rs).
SCHEMA = 1
KEPT = 50

NODE = """
server: {{ listen: 127.0.0.1:0, workers: 1 }}
admin: {{ listen: 127.0.0.1:0 }}
fleet:
  node: {name}
  cacheDir: {folder}/fleet
  etcd: {{ endpoints: ["{url}"] }}
"""


def free_port():
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return free.getsockname()[1]


class Etcd:
    """One member; written to by its JSON gateway, as fast as changes come."""

    def __init__(self, folder):
        self.port, peer = free_port(), free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        peers = f"http://127.0.0.1:{peer}"
        command = ["etcd", "--name", "m", "--data-dir", folder / "etcd", "--log-level", "error"]
        command += ["--listen-client-urls", self.url, "--advertise-client-urls", self.url]
        command += ["--listen-peer-urls", peers, "--initial-advertise-peer-urls", peers]
        command += ["--initial-cluster", f"m={peers}", "--unsafe-no-fsync"]
        # History of a day would fill it: what nodes need is what is current.
        command += ["--auto-compaction-mode", "revision", "--auto-compaction-retention", "100"]
        with (folder / "etcd.log").open("w") as log:
            self.process = subprocess.Popen(command, stdout=log, stderr=log)
        deadline = time.monotonic() + 30
        while True:
            try:
                if b"true" in self.get("/health"):
                    return
            except OSError:
                pass
            if time.monotonic() > deadline:
                sys.exit("etcd does not start")
            time.sleep(0.05)

    def get(self, path):
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=10)
        connection.request("GET", path)
        text = connection.getresponse().read()
        connection.close()
        return text

    def write(self, puts, deletes=()):
        def base(text):
            return base64.b64encode(text if isinstance(text, bytes) else text.encode()).decode()

        steps = [{"requestPut": {"key": base(key), "value": base(text)}} for key, text in puts]
        steps += [{"requestDeleteRange": {"key": base(key)}} for key in deletes]
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=10)
        connection.request("POST", "/v3/kv/txn", json.dumps({"success": steps}))
        answer = connection.getresponse()
        text = answer.read()
        connection.close()
        if answer.status != 200:
            sys.exit(f"etcd: {answer.status} {text.decode()}")

    def watchers(self):
        text = self.get("/metrics").decode()
        return int(float(re.search(r"^etcd_debugging_mvcc_watcher_total (\S+)", text, re.M)[1]))

    def end(self):
        self.process.terminate()
        self.process.wait(20)


class Document:
    """Many services, of which each change changes one."""

    def __init__(self, count):
        # The first tells the number of each change.
        self.lines = [self.line(at, 0) for at in range(count)]

    @staticmethod
    def line(at, number):
        if at == 0:
            return (f"  - {{name: s0, basePath: /, targets: ['builtin:echo'], "
                    f"headers: {{X-Number: '{number}'}}}}\n")
        # Nobody asks them; each is another place, as in a real document.
        target = f"http://127.1.{at >> 8}.{at & 255}:9"
        return f"  - {{name: s{at}, basePath: /s{at}, targets: ['{target}']}}\n"

    def text(self, number):
        self.lines[0] = self.line(0, number)
        return "services:\n" + "".join(self.lines)


def push(etcd, document, number):
    """Writes a revision as `odin-cli fleet push` does, without its process."""
    text = document.text(number).encode()
    packed = subprocess.run(["zstd", "-1", "-c", "-q"], input=text, stdout=subprocess.PIPE, check=True)
    head = {"schema": SCHEMA, "revision": number, "sha256": hashlib.sha256(text).hexdigest(),
            "bytes": len(text), "encoding": "zstd"}
    stored = json.dumps(head).encode() + b"\n" + packed.stdout
    pointer = json.dumps({"schema": SCHEMA, "revision": number})
    puts = [(f"/odin/documents/{number:020}", stored), ("/odin/live/current", pointer)]
    old = [f"/odin/documents/{number - KEPT:020}"] if number > KEPT else []
    etcd.write(puts, old)


class Clients:
    """One for each node, on a connection that it keeps."""

    def __init__(self, gateways):
        self.failures, self.stale, self.looked, self.slowest = [], [], 0, 0.0
        self.seen = [0] * len(gateways)
        self.is_over = False
        self.threads = [
            threading.Thread(target=self.look, args=(at, gateway.port), daemon=True)
            for at, gateway in enumerate(gateways)
        ]
        for thread in self.threads:
            thread.start()

    def look(self, at, port):
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
        connection.connect()
        connection.auto_open = 0
        while not self.is_over:
            began = time.monotonic()
            try:
                connection.request("GET", "/")
                answer = connection.getresponse()
                text = answer.read()
            except (OSError, http.client.HTTPException) as error:
                self.failures.append(repr(error))
                return
            self.slowest = max(self.slowest, time.monotonic() - began)
            if answer.status != 200:
                self.failures.append(f"status {answer.status}: {text[:200]}")
            else:
                number = int(json.loads(text)["headers"]["X-Number"][0])
                if number < self.seen[at]:
                    self.failures.append(f"{number} was served after {self.seen[at]}")
                self.seen[at] = number
            self.looked += 1
            time.sleep(0.005)

    def end(self):
        self.is_over = True
        for thread in self.threads:
            thread.join(60)


def cpu_seconds(pid):
    fields = pathlib.Path(f"/proc/{pid}/stat").read_text().rsplit(") ", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / 100


def connections(pid, port):
    """How many a process has to a port of this machine."""
    wanted = f"0100007F:{port:04X}"
    rows = pathlib.Path("/proc/net/tcp").read_text().splitlines()[1:]
    inodes = {row.split()[9] for row in rows if row.split()[2] == wanted}
    count = 0
    for entry in pathlib.Path(f"/proc/{pid}/fd").iterdir():
        try:
            target = str(entry.readlink())
        except OSError:
            continue
        count += target.removeprefix("socket:[").removesuffix("]") in inodes
    return count


def soak(options, folder):
    etcd, document = Etcd(folder), Document(options.services)
    push(etcd, document, 1)
    gateways = []
    for at in range(options.nodes):
        own = folder / f"n{at}"
        own.mkdir()
        text = NODE.format(name=f"n{at}", folder=own, url=etcd.url)
        gateways.append(reloads.Gateway(options.binary, own, text=text))
    clients = Clients(gateways)
    time.sleep(1)
    before = [cpu_seconds(gateway.pid()) for gateway in gateways]
    memory, number, began = [[] for _ in gateways], 1, time.monotonic()
    watchers, held = set(), set()
    while (now := time.monotonic()) < began + options.seconds:
        number += 1
        push(etcd, document, number)
        if number % options.rate == 0:
            for samples, gateway in zip(memory, gateways):
                samples.append(gateway.resident())
                held.add(connections(gateway.pid(), etcd.port))
            watchers.add(etcd.watchers())
        time.sleep(max(0.0, began + (number - 1) / options.rate - time.monotonic()))
    took = time.monotonic() - began
    deadline = time.monotonic() + 60
    while min(clients.seen) < number and time.monotonic() < deadline:
        time.sleep(0.005)
    behind = time.monotonic() - began - took
    used = [cpu_seconds(gateway.pid()) - start for gateway, start in zip(gateways, before)]
    applied = [gateway.status() for gateway in gateways]
    counts = [outcome(gateway) for gateway in gateways]
    clients.end()
    table = reloads.Table(f"{number - 1} changes of one in {options.services} services in "
                          f"{took:.0f} s, {options.nodes} nodes")
    rate = (number - 1) / took
    table.row("changes a second", f"{rate:.1f}", f"{options.rate}", rate > options.rate * 0.9)
    table.row("failed requests", len(clients.failures), 0, not clients.failures)
    table.row("answers looked at", clients.looked, "some", clients.looked > 0)
    table.row("slowest answer", f"{clients.slowest * 1000:.0f} ms", "", True)
    is_newest = min(clients.seen) == number
    table.row("newest revision served by all", f"after {behind * 1000:.0f} ms", "", is_newest)
    for at, (good, bad) in enumerate(counts):
        per = used[at] / max(good, 1) * 1000
        table.row(f"n{at}: applied, refused", f"{good}, {bad}", "some, 0", good > 0 and bad == 0)
        table.row(f"n{at}: CPU for one applied", f"{per:.0f} ms", "", True)
    table.row("watches of etcd", sorted(watchers), options.nodes, watchers == {options.nodes})
    table.row("connections of a node to it", sorted(held), 1, held == {1})
    for at, samples in enumerate(memory):
        quarter = max(len(samples) // 4, 1)
        early, late = samples[quarter : 2 * quarter], samples[-quarter:]
        growth = statistics.mean(late) / statistics.mean(early or late) - 1
        seen = f"{samples[0] / 1024:.0f} -> {samples[-1] / 1024:.0f} MiB, {growth:+.1%}"
        table.row(f"n{at}: resident memory", seen, "<= 5 %", growth <= 0.05)
    for at, gateway in enumerate(gateways):
        late = max(worker["timerDelayMaxMicros"] for worker in applied[at]["workers"]) / 1000
        text = gateway.ask("GET", "/metrics")
        sums = re.findall(r"^odin_worker_timer_delay_seconds_(sum|count)\S* (\S+)", text, re.M)
        total = sum(float(value) for kind, value in sums if kind == "sum")
        count = sum(float(value) for kind, value in sums if kind == "count")
        seen = f"{late:.1f} ms, mean {total / max(count, 1) * 1000:.2f} ms"
        table.row(f"n{at}: latest timer of a worker", seen, f"<= {options.delay} ms",
                  late <= options.delay)
    ended = all([gateway.end() for gateway in gateways])
    table.row("ended well", ended, True, ended)
    etcd.end()
    return table.print(clients)


def outcome(gateway):
    text = gateway.ask("GET", "/metrics")
    found = dict(re.findall(r'^odin_fleet_revisions_total\{outcome="(\w+)"\} (\d+)', text, re.M))
    return int(found.get("applied", 0)), int(found.get("refused", 0))


def main():
    arguments = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    arguments.add_argument("--binary", type=pathlib.Path, default=ROOT / "target/debug/odin")
    arguments.add_argument("--seconds", type=int, default=600)
    arguments.add_argument("--services", type=int, default=10_000)
    arguments.add_argument("--rate", type=int, default=10)
    arguments.add_argument("--nodes", type=int, default=2)
    arguments.add_argument("--delay", type=float, default=5)
    options = arguments.parse_args()
    options.binary = options.binary.resolve()
    with tempfile.TemporaryDirectory() as folder:
        is_good = soak(options, pathlib.Path(folder))
    print("\nall as it should be" if is_good else "\nNOT as it should be")
    sys.exit(0 if is_good else 1)


if __name__ == "__main__":
    main()

"""Reloads of what stands in front: certificates, listeners and plugins change under HTTP/2 by TLS, with a stream of
server-sent events open over all of them. See reloads.py, whose part it is."""

import http.server
import json
import pathlib
import socket
import subprocess
import threading
import time

import http2

CLIENTS = 3
# Requests of one connection at once.
AT_ONCE = 8
EVENT_SECONDS = 0.1
# Longer than a busy machine is silent.
SILENCE_SECONDS = 5


def free_port():
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return free.getsockname()[1]


class Events(http.server.BaseHTTPRequestHandler):
    """An origin that never ends its answer."""

    def do_GET(self):
        self.send_response(200)
        self.send_header("Content-Type", "text/event-stream")
        self.end_headers()
        number = 0
        try:
            while True:
                number += 1
                self.wfile.write(f"data: {number}\n\n".encode())
                time.sleep(EVENT_SECONDS)
        except OSError:
            pass

    def log_message(self, *_):
        pass


class Edge:
    """The configurations of a gateway."""

    def __init__(self, folder):
        self.folder = folder
        self.ports = [free_port(), free_port()]
        self.events = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Events)
        threading.Thread(target=self.events.serve_forever, daemon=True).start()
        for number in (0, 1):
            subprocess.run(
                ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes",
                 "-keyout", folder / f"{number}.key", "-out", folder / f"{number}.pem", "-days", "2",
                 "-subj", f"/CN=number {number}", "-addext", "subjectAltName=DNS:localhost"],
                check=True, stderr=subprocess.DEVNULL)
        both = [(folder / f"{number}.pem").read_text() for number in (0, 1)]
        self.trusted = folder / "trusted.pem"
        self.trusted.write_text("".join(both))

    def text(self, admin, version):
        """The configuration of a version: its certificate and its plugin take turns, its second listener comes and
        goes."""
        tls = {"certificates": [{"cert": str(self.folder / f"{version % 2}.pem"),
                                 "key": str(self.folder / f"{version % 2}.key")}]}
        listen = [{"address": f"127.0.0.1:{port}", "tls": tls} for port in self.ports]
        plugin = {"name": "versioned", "path": f"code-{version % 2}.wasm", "type": "request", "services": ["soak"],
                  "config": {"version": str(version)}}
        return json.dumps({
            "server": {"listen": listen[: 2 - version % 2], "drainTimeout": "30s"},
            "admin": {"listen": f"127.0.0.1:{admin}"},
            "wasm": {"pluginDir": str(self.folder), "cacheDir": str(self.folder / "cache"), "plugins": [plugin]},
            "services": [
                {"name": "soak", "basePath": "/", "targets": ["builtin:echo"]},
                {"name": "events", "basePath": "/events", "timeout": "off",
                 "targets": [f"http://127.0.0.1:{self.events.server_port}"]},
            ],
        })

    def shown(self):
        """Which certificate a new client is shown."""
        connection = http2.Connection(self.ports[0], self.trusted)
        connection.close()
        return 1 if b"number 1" in connection.certificate else 0


class Load:
    """Clients that ask many things at once over connections that they keep, and one that listens to events."""

    def __init__(self, edge):
        self.edge, self.published = edge, 0
        self.failures, self.stale, self.looked, self.slowest = [], [], 0, 0.0
        self.events, self.longest_silence, self.is_over = 0, 0.0, False
        work = [self.look] * CLIENTS + [self.listen]
        self.threads = [threading.Thread(target=part, daemon=True) for part in work]
        for thread in self.threads:
            thread.start()

    def look(self):
        try:
            connection = http2.Connection(self.edge.ports[0], self.edge.trusted, 30)
            while not self.is_over:
                floor, began = self.published, time.monotonic()
                streams = [connection.ask("/") for _ in range(AT_ONCE)]
                known = [connection.streams[stream] for stream in streams]
                connection.until(lambda: all(one["has_ended"] or one["reset"] is not None for one in known))
                for stream, one in zip(streams, known):
                    del connection.streams[stream]
                    if not one["has_ended"] or one["status"] != 200:
                        self.failures.append(f"status {one['status']}, reset {one['reset']}, {connection.goaway}")
                        continue
                    version = int(json.loads(one["body"])["headers"]["X-Version"][0])
                    if version < floor:
                        self.stale.append(f"version {version} answered behind {floor}")
                    self.looked += 1
                self.slowest = max(self.slowest, time.monotonic() - began)
                if connection.is_over:
                    self.failures.append("a connection was closed")
                    return
        except OSError as error:
            self.failures.append(repr(error))

    def listen(self):
        try:
            connection = http2.Connection(self.edge.ports[0], self.edge.trusted, SILENCE_SECONDS)
            known = connection.streams[connection.ask("/events")]
            last = time.monotonic()
            while not self.is_over:
                if not connection.read() or known["has_ended"] or known["reset"] is not None:
                    self.failures.append(f"the events have ended: {known['reset']}")
                    return
                now = time.monotonic()
                self.longest_silence, last = max(self.longest_silence, now - last), now
                self.events += known["body"].count(b"data: ")
                known["body"] = b""
        except OSError as error:
            self.failures.append(f"events: {error!r}")

    def end(self):
        self.is_over = True
        for thread in self.threads:
            thread.join(60)


def run(options, folder, gateway_of, table_of):
    """`gateway_of` starts one with a configuration of its own, `table_of` begins a table."""
    edge, admin = Edge(folder), free_port()
    gateway = gateway_of(edge.text(admin, 0), edge.ports[0], admin)
    load = Load(edge)
    memory, wrong, started, held = [], 0, time.monotonic(), None
    for version in range(1, options.edges + 1):
        new = folder / "odin.yaml.new"
        new.write_text(edge.text(admin, version))
        new.rename(folder / "odin.yaml")
        gateway.ask("POST", "/api/config/reload")
        load.published = version
        wrong += edge.shown() != version % 2
        memory.append(gateway.resident())
        time.sleep(0.02)
        if version == min(100, options.edges // 2):
            held = gateway.held()
    took, held_last = time.monotonic() - started, gateway.held()
    load.end()
    requests, alive = load.looked, gateway.status()["generationsAlive"]
    table = table_of(f"{options.edges} reloads of certificates, listeners and plugins in {took:.0f} s, "
                     f"{requests} requests by HTTP/2")
    table.failed(load)
    table.row("events of one stream", load.events, "goes on", load.events > took / EVENT_SECONDS / 10)
    table.row("its longest silence", f"{load.longest_silence * 1000:.0f} ms", f"<= {SILENCE_SECONDS} s", True)
    table.row("handshakes with the old certificate", wrong, 0, wrong == 0)
    table.resident(memory)
    if held:
        table.held(held, held_last)
    # The stream of events has kept the one that it began with.
    table.row("generations alive", alive, "<= 2", alive <= 2)
    ended = gateway.end()
    table.row("ended well", ended, True, ended)
    edge.events.shutdown()
    return table.print(load)

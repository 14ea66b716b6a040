"""Reloads of Envoy filters while exchanges are paused in them and bodies pass them: every exchange ends as it should,
every context is told of its end once, and nothing stays in memory. See reloads.py, whose part it is."""

import http.client
import http.server
import json
import re
import threading
import time

# Always there: exchanges that are paused until a call is answered, and streams of events.
PAUSED = 16
STREAMS = 8
EVENTS = 10
EVENT_SECONDS = 0.05
CALL_SECONDS = 0.3
# Between two reloads.
PAUSE_SECONDS = 0.02

# Counts exchanges that begin and end in it; all others it lets pass.
COUNTING = """define_metric 0 "begun" >begun;define_metric 0 "ended" >ended;on request_headers;\
increment_metric $begun 1;on log;increment_metric $ended 1"""

CONFIG = """
server: {{ listen: 127.0.0.1:0, workers: 2, drainTimeout: 30s }}
admin: {{ listen: 127.0.0.1:0 }}
logging: {{ level: info }}
wasm:
  pluginDir: {dir}
  cacheDir: {dir}/cache
  plugins:
    - {{ name: counting, path: counting-0.wasm, priority: 1, vmId: counts, config: '{counting}' }}
    - {{ name: paused, path: rust-0.wasm, priority: 2, services: [paused], config: auth slow, timeout: 20s }}
    - {{ name: upper, path: rust-0.wasm, priority: 3, services: [events], config: upper, timeout: 20s }}
services:
  - {{ name: paused, basePath: /paused, targets: ["{origin}"] }}
  - {{ name: events, basePath: /events, targets: ["{origin}"] }}
  - {{ name: slow, basePath: /slow, targets: ["{origin}"] }}
"""


class Answers(http.server.BaseHTTPRequestHandler):
    """An origin of all: of calls that take their time, of events, of what waits behind a filter."""

    protocol_version = "HTTP/1.1"

    def do_GET(self):
        if self.path.startswith("/events"):
            self.send_response(200)
            self.send_header("Content-Type", "text/event-stream")
            self.send_header("Transfer-Encoding", "chunked")
            self.end_headers()
            for number in range(EVENTS):
                event = f"data: event {number}\n\n".encode()
                self.wfile.write(b"%x\r\n%s\r\n" % (len(event), event))
                time.sleep(EVENT_SECONDS)
            self.wfile.write(b"0\r\n\r\n")
            return
        if self.path.startswith("/check"):
            time.sleep(CALL_SECONDS)
        self.send_response(200)
        self.send_header("Content-Length", "3")
        self.end_headers()
        self.wfile.write(b"yes")

    def log_message(self, *_):
        pass


class Server(http.server.ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 128


class Clients:
    """Clients that are always there."""

    def __init__(self, port):
        self.port = port
        self.failures, self.stale = [], []
        self.looked, self.slowest = 0, 0.0
        # Calls that had no answer in their two seconds, as the filter says: on a machine that is too busy.
        self.late = 0
        self.is_over = False
        whole = "".join(f"DATA: EVENT {number}\n\n" for number in range(EVENTS))
        asked = [("/paused", "yes")] * PAUSED + [("/events", whole)] * STREAMS
        self.threads = [threading.Thread(target=self.look, args=one, daemon=True) for one in asked]
        for thread in self.threads:
            thread.start()

    def look(self, path, expected):
        while not self.is_over:
            began = time.monotonic()
            try:
                connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=30)
                connection.request("GET", path)
                answer = connection.getresponse()
                text = answer.read().decode()
                connection.close()
                if answer.status == 403 and text.startswith('status "", 0 headers'):
                    self.late += 1
                elif answer.status != 200 or text != expected:
                    self.failures.append(f"{path}: {answer.status} {text[:200]!r}")
            except (OSError, http.client.HTTPException) as error:
                self.failures.append(f"{path}: {error!r}")
            self.looked += 1
            self.slowest = max(self.slowest, time.monotonic() - began)

    def end(self):
        self.is_over = True
        for thread in self.threads:
            thread.join(60)


def counted(gateway, name):
    pattern = rf'wasm_plugin_custom_total{{plugin="counting",name="{name}"}} (\d+)'
    found = re.search(pattern, gateway.ask("GET", "/metrics"))
    return int(found[1]) if found else 0


def section(number):
    """A custom section that makes of a module another one."""
    return bytes([0, 3, 1, ord("v"), number])


def run(options, folder, dist, gateway_of, table_of):
    for name in ("script", "rust"):
        code = (dist / f"filter-{name}.wasm").read_bytes()
        file = "counting" if name == "script" else name
        for version in (0, 1):
            (folder / f"{file}-{version}.wasm").write_bytes(code + section(version))
    server = Server(("127.0.0.1", 0), Answers)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    origin = f"http://127.0.0.1:{server.server_address[1]}"
    text = CONFIG.format(dir=folder, origin=origin, counting=COUNTING.replace("'", "''"))
    gateway = gateway_of(text)
    clients = Clients(gateway.port)
    time.sleep(2)
    loads = [
        {"name": "counting", "path": "counting-{}.wasm", "priority": 1, "vmId": "counts",
         "config": COUNTING},
        {"name": "paused", "path": "rust-{}.wasm", "priority": 2, "services": ["paused"], "config": "auth slow",
         "timeout": "20s"},
        {"name": "upper", "path": "rust-{}.wasm", "priority": 3, "services": ["events"], "config": "upper",
         "timeout": "20s"},
    ]
    memory, before, started = [], None, time.monotonic()
    for number in range(1, options.filters + 1):
        keys = dict(loads[number % len(loads)])
        keys["path"] = keys["path"].format(number // len(loads) % 2)
        gateway.ask("POST", "/api/plugins/load", json.dumps(keys))
        memory.append(gateway.resident())
        if number == max(1, options.filters // 10):
            before = gateway.held()
        time.sleep(PAUSE_SECONDS)
    took = time.monotonic() - started
    clients.end()
    # The last contexts are told, the last instances freed.
    deadline = time.monotonic() + 20
    while time.monotonic() < deadline and counted(gateway, "ended") != counted(gateway, "begun"):
        time.sleep(0.2)
    begun, ended = counted(gateway, "begun"), counted(gateway, "ended")
    table = table_of(f"{options.filters} reloads of Envoy filters in {took:.0f} s, {clients.looked} exchanges of which "
                     f"{PAUSED} are always paused and {STREAMS} stream")
    table.failed(clients)
    table.row("exchanges begun in a filter", begun, clients.looked, begun == clients.looked)
    table.row("exchanges told of their end", ended, begun, ended == begun)
    # Three plugins fill the slots that wasmtime keeps warm later than one does.
    table.resident(memory[len(memory) // 2 :] if len(memory) >= 400 else memory)
    table.held(before, gateway.held())
    log = gateway.log.read_text()
    wrong = [line for line in log.splitlines() if " ERROR " in line or "panicked" in line]
    clients.failures += wrong[:5]
    late = log.count("no whole answer within")
    table.row("calls out of time, as the log says", clients.late, late, clients.late == late)
    table.row("errors in the log", len(wrong), 0, not wrong)
    is_ended = gateway.end()
    table.row("ended well", is_ended, True, is_ended)
    server.shutdown()
    return table.print(clients)

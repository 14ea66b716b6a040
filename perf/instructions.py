#!/usr/bin/env python3
"""Counts the instructions that the gateway spends on one request, with valgrind's callgrind.

Starts the gateway (epoll, one worker) under callgrind in front of a scripted origin, sends a few
hundred requests over one keep-alive connection, and does so twice with different numbers of them:
the difference, divided, is what one request costs once everything is warm. Instructions of user
space only; the kernel's are not counted. The same binary gives the same count within 0.5 %.

Usage: perf/instructions.py [--binary target/release/odin] [--scenario NAME]... [--json FILE]
"""

import argparse
import json
import os
import pathlib
import re
import socket
import subprocess
import sys
import tempfile
import threading

ROOT = pathlib.Path(__file__).resolve().parent.parent
WARM_UP = 200
COUNTED = 1000

REQUEST = (
    b"GET /api/users?limit=10 HTTP/1.1\r\nHost: gateway.example\r\nUser-Agent: counter/1.0\r\n"
    b"Accept: application/json, text/plain, */*\r\nAccept-Encoding: gzip, br\r\n"
    b"Accept-Language: en-GB,en;q=0.9\r\nCookie: session=0123456789abcdef0123456789abcdef\r\n"
    b"Authorization: Bearer 0123456789abcdef0123456789abcdef0123456789abcdef\r\n"
    b"Referer: https://gateway.example/dashboard\r\nCache-Control: no-cache\r\n\r\n"
)
RESPONSE = b"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: 128\r\n\r\n" + b"x" * 128

PLUGIN = """
    - name: header-{index}
      path: header-injection-rust.wasm
      type: request
      body: false
      priority: {index}
      instances: 1
      config: {{ addHeaders: {{ X-Gateway: Odin }} }}"""

SCENARIOS = {"no-plugin": 0, "one-rust-plugin": 1, "three-rust-plugins": 3}


def config(plugins: int, origin: int) -> str:
    entries = "".join(PLUGIN.format(index=index) for index in range(plugins))
    wasm = f"\n  pluginDir: {ROOT}/plugins/dist\n  plugins:{entries}" if plugins else " {}"
    return f"""
server: {{ listen: 127.0.0.1:0, workers: 1, pinCores: false, ioDriver: epoll }}
admin: {{ listen: 127.0.0.1:0 }}
wasm:{wasm}
services:
  - {{ name: users-service, basePath: /api, targets: ["http://127.0.0.1:{origin}"] }}
"""


def serve_origin(listener: socket.socket) -> None:
    def serve(connection: socket.socket) -> None:
        buffered = b""
        while piece := connection.recv(65536):
            buffered += piece
            while (end := buffered.find(b"\r\n\r\n")) >= 0:
                buffered = buffered[end + 4 :]
                connection.sendall(RESPONSE)

    while True:
        connection, _ = listener.accept()
        threading.Thread(target=serve, args=(connection,), daemon=True).start()


def send_requests(port: int, count: int) -> None:
    with socket.create_connection(("127.0.0.1", port), timeout=60) as client:
        for _ in range(count):
            client.sendall(REQUEST)
            answer = b""
            while not answer.endswith(b"x" * 128):
                piece = client.recv(65536)
                if not piece:
                    sys.exit(f"the gateway closed the connection after {answer!r}")
                answer += piece
            if not answer.startswith(b"HTTP/1.1 200 "):
                sys.exit(f"the gateway answered {answer[:100]!r}")


def count(binary: pathlib.Path, plugins: int, requests: int) -> int:
    listener = socket.create_server(("127.0.0.1", 0))
    threading.Thread(target=serve_origin, args=(listener,), daemon=True).start()
    with tempfile.TemporaryDirectory() as scratch:
        file = pathlib.Path(scratch, "odin.yaml")
        file.write_text(config(plugins, listener.getsockname()[1]))
        gateway = subprocess.Popen(
            ["valgrind", "--tool=callgrind", "--callgrind-out-file=/dev/null", binary, "--config", file],
            stderr=subprocess.PIPE,
            text=True,
            env={**os.environ, "XDG_CACHE_HOME": scratch},
        )
        log = []
        for line in gateway.stderr:
            log.append(line)
            if found := re.search(r"listening on 127\.0\.0\.1:(\d+)", line):
                break
        else:
            sys.exit("the gateway did not start:\n" + "".join(log))
        send_requests(int(found[1]), requests)
        gateway.terminate()
        rest = gateway.stderr.read()
        gateway.wait()
    if not (collected := re.search(r"Collected : (\d+)", rest)):
        sys.exit("valgrind printed no count:\n" + rest)
    return int(collected[1])


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    arguments.add_argument("--binary", type=pathlib.Path, default=ROOT / "target/release/odin")
    arguments.add_argument("--scenario", action="append", choices=SCENARIOS)
    arguments.add_argument("--json", type=pathlib.Path, help="write the counts to this file")
    options = arguments.parse_args()
    counts = {}
    for scenario in options.scenario or SCENARIOS:
        plugins = SCENARIOS[scenario]
        few = count(options.binary, plugins, WARM_UP)
        many = count(options.binary, plugins, WARM_UP + COUNTED)
        counts[scenario] = round((many - few) / COUNTED)
        print(f"{scenario:20} {counts[scenario]:>8} instructions/request", flush=True)
    if options.json:
        options.json.write_text(json.dumps(counts, indent=2) + "\n")


if __name__ == "__main__":
    main()

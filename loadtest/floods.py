#!/usr/bin/env python3
"""Floods of HTTP/2, and what a second client sees of them: how long its requests take in calm and while two abusers
come again and again, beside nginx, HAProxy and Envoy as far as they are installed.

Usage: loadtest/floods.py [--binary target/release/odin] [--seconds 3] [--write FILE]

In the clear, one worker each, answers of a few bytes that the server makes itself. Half of a minute for each server.
"""

import argparse
import json
import multiprocessing
import pathlib
import shutil
import socket
import statistics
import subprocess
import sys
import tempfile
import time

import http2
from edges import free_port
from http2 import DATA, HEADERS, PING, RST_STREAM, SETTINGS, WINDOW_UPDATE, frame

ROOT = pathlib.Path(__file__).resolve().parent.parent
ABUSERS = 2
CONTINUATION = 9
REQUEST = http2.request("/", "http")
# POST, so that the stream stays open.
OPEN = b"\x83" + REQUEST[1:]


def streams(make, count=2000):
    return b"".join(make(2 * number + 1) for number in range(count))


def window(size):
    return frame(SETTINGS, 0, 0, b"\0\x04" + size.to_bytes(4, "big"))


LARGE = b"\x40\x01x\x7f\xa1\x1e" + b"y" * 4000
FLOODS = {
    "rapid reset": streams(lambda id: frame(HEADERS, 5, id, REQUEST) + frame(RST_STREAM, 0, id, b"\0\0\0\x08")),
    "resets made by the server": streams(
        lambda id: frame(HEADERS, 4, id, OPEN) + frame(WINDOW_UPDATE, 0, id, b"\0\0\0\0")),
    "CONTINUATION": frame(HEADERS, 1, 1, REQUEST) + frame(CONTINUATION, 0, 1, b"\x00\x01a\x01b" * 1000) * 2000,
    "SETTINGS": window(65535) * 50_000,
    "PING": frame(PING, 0, 0, b"12345678") * 50_000,
    "empty DATA": frame(HEADERS, 4, 1, OPEN) + frame(DATA, 0, 1) * 100_000,
    "zero windows": window(0) + streams(lambda id: frame(HEADERS, 5, id, REQUEST), 100),
    "HPACK bomb": streams(
        lambda id: frame(HEADERS, 5, id, (REQUEST + LARGE + b"\xbe" * 8000)[:16384]), 50),
}

NGINX = """
worker_processes 1;
error_log {dir}/error.log crit;
pid {dir}/nginx.pid;
daemon off;
events {{ worker_connections 4096; }}
http {{
  access_log off;
  keepalive_requests 1000000000;
  server {{ listen 127.0.0.1:{port}{old}; {new} location / {{ return 200 'ok'; }} }}
}}
"""
HAPROXY = """
global
  nbthread 1
  maxconn 4096
defaults
  mode http
  timeout client 30s
  timeout server 30s
  timeout connect 5s
frontend all
  bind 127.0.0.1:{port} proto h2
  http-request return status 200 content-type text/plain string ok
"""
ENVOY = {
    "typed_config": {
        "@type": "type.googleapis.com/envoy.extensions.filters.network.http_connection_manager.v3."
                 "HttpConnectionManager",
        "stat_prefix": "all", "codec_type": "HTTP2",
        "http_filters": [{"name": "router", "typed_config": {
            "@type": "type.googleapis.com/envoy.extensions.filters.http.router.v3.Router"}}],
        "route_config": {"virtual_hosts": [{"name": "all", "domains": ["*"], "routes": [
            {"match": {"prefix": "/"}, "direct_response": {"status": 200, "body": {"inline_string": "ok"}}}]}]},
    },
    "name": "http",
}


def odin(binary, folder, port):
    config = {"server": {"workers": 1, "listen": f"127.0.0.1:{port}"}, "admin": {"listen": f"127.0.0.1:{free_port()}"},
              "services": [{"name": "all", "basePath": "/", "targets": ["builtin:echo"]}]}
    (folder / "odin.yaml").write_text(json.dumps(config))
    return [binary, "--config", folder / "odin.yaml"]


def nginx(binary, folder, port):
    said = subprocess.run([binary, "-v"], capture_output=True, text=True).stderr
    numbers = tuple(int(part) for part in said.split("/")[1].split()[0].split("."))
    has_word = numbers >= (1, 25, 1)
    text = NGINX.format(dir=folder, port=port, old="" if has_word else " http2", new="http2 on;" if has_word else "")
    (folder / "nginx.conf").write_text(text)
    return [binary, "-p", folder, "-c", folder / "nginx.conf"]


def haproxy(binary, folder, port):
    (folder / "haproxy.cfg").write_text(HAPROXY.format(port=port))
    return [binary, "-f", folder / "haproxy.cfg"]


def envoy(binary, folder, port):
    address = {"socket_address": {"address": "127.0.0.1", "port_value": port}}
    config = {"static_resources": {"listeners": [{"address": address, "filter_chains": [{"filters": [ENVOY]}]}]}}
    (folder / "envoy.json").write_text(json.dumps(config))
    return [binary, "-c", folder / "envoy.json", "--concurrency", "1", "--disable-hot-restart", "-l", "off"]


def abuse(port, name, until):
    """Connects, floods, and comes again when it is cut."""
    flood = FLOODS[name]
    while time.monotonic() < until:
        try:
            with socket.create_connection(("127.0.0.1", port), 1) as plain:
                plain.settimeout(1)
                plain.sendall(http2.PREFACE + frame(SETTINGS, 0, 0))
                # By pieces, so that what is said of it is read.
                for at in range(0, len(flood), 65536):
                    plain.sendall(flood[at : at + 65536])
                    if time.monotonic() > until:
                        return
                while plain.recv(65536):
                    if time.monotonic() > until:
                        return
        except OSError:
            time.sleep(0.005)


def ask(port, seconds):
    """Milliseconds that requests take, one after the other; None for one that failed."""
    times, until = [], time.monotonic() + seconds
    connection = None
    while time.monotonic() < until:
        began = time.monotonic()
        try:
            connection = connection or http2.Connection(port, patience=5)
            status, _ = connection.get("/")
            times.append((time.monotonic() - began) * 1000 if status == 200 else None)
            if status != 200 or connection.is_over or connection.goaway:
                connection = None
        except OSError:
            times.append(None)
            connection = None
    return times


def told(times):
    good = sorted(one for one in times if one is not None)
    failed = len(times) - len(good)
    if len(good) < 10:
        return f"{len(good)} served, {failed} failed"
    p99 = statistics.quantiles(good, n=100)[98]
    return f"{statistics.median(good):.2f} / {p99:.2f}" + (f", {failed} failed" if failed else "")


def measure(command, port, seconds):
    program = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        for _ in range(200):
            try:
                socket.create_connection(("127.0.0.1", port), 1).close()
                break
            except OSError:
                time.sleep(0.05)
        else:
            sys.exit(f"{command[0]} does not listen")
        ask(port, 0.5)
        found = {"calm": told(ask(port, seconds))}
        for name in FLOODS:
            until = time.monotonic() + seconds + 0.3
            abusers = [multiprocessing.Process(target=abuse, args=(port, name, until)) for _ in range(ABUSERS)]
            for abuser in abusers:
                abuser.start()
            time.sleep(0.3)
            found[name] = told(ask(port, seconds))
            for abuser in abusers:
                abuser.join(5)
                abuser.kill()
            if program.poll() is not None:
                found[name] += ", IT HAS ENDED"
                return found
        return found
    finally:
        program.terminate()
        program.wait()


def main():
    arguments = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    arguments.add_argument("--binary", type=pathlib.Path, default=ROOT / "target/release/odin")
    arguments.add_argument("--seconds", type=float, default=3)
    arguments.add_argument("--write", type=pathlib.Path)
    options = arguments.parse_args()
    servers = {"odin": (odin, options.binary)}
    for name, make in (("nginx", nginx), ("haproxy", haproxy), ("envoy", envoy)):
        if shutil.which(name):
            servers[name] = (make, shutil.which(name))
    found = {}
    for name, (make, binary) in servers.items():
        with tempfile.TemporaryDirectory() as folder:
            port = free_port()
            found[name] = measure(make(binary, pathlib.Path(folder), port), port, options.seconds)
    lines = [f"| flood | {' | '.join(found)} |", "|---" * (len(found) + 1) + "|"]
    for name in ["calm", *FLOODS]:
        lines.append(f"| {name} | {' | '.join(one.get(name, '') for one in found.values())} |")
    text = ("# Floods of HTTP/2\n\nWritten by `make floods`: what one client's requests take, one after the other, in "
            "milliseconds (median / 99th\npercentile), while two abusers flood the same worker.\n\n" + "\n".join(lines) + "\n")
    print(text)
    if options.write:
        options.write.write_text(text)


if __name__ == "__main__":
    main()

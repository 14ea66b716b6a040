"""A client of TLS for the load test; a program of its own, so that its cores can be chosen.

Usage: handshakes.py full|resumed PORT SECONDS    handshakes one after the other; says how many
       handshakes.py idle PORT COUNT              so many connections with a request each, which it
                                                  keeps until its input ends
"""

import json
import socket
import ssl
import sys
import time

# Longer than any proxy takes, shorter than they keep who is idle.
IDLE_SECONDS = 60
REQUEST = b"GET /bytes/128 HTTP/1.1\r\nHost: gateway.example\r\n\r\n"


def context() -> ssl.SSLContext:
    made = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    made.check_hostname, made.verify_mode = False, ssl.CERT_NONE
    return made


def connect(how: ssl.SSLContext, port: int, session=None) -> ssl.SSLSocket:
    plain = socket.create_connection(("127.0.0.1", port), 10)
    return how.wrap_socket(plain, server_hostname="gateway.example", session=session)


def asked(stream: ssl.SSLSocket) -> None:
    stream.sendall(REQUEST)
    answer = b""
    while b"\r\n\r\n" not in answer or len(answer.partition(b"\r\n\r\n")[2]) < 128:
        piece = stream.recv(4096)
        if not piece:
            sys.exit("closed before its answer was whole")
        answer += piece
    if not answer.startswith(b"HTTP/1.1 200"):
        sys.exit(f"answered with {answer[:40]!r}")


def handshakes(is_resumed: bool, port: int, seconds: float) -> None:
    how, session = context(), None
    if is_resumed:
        # By TLS 1.3 the ticket comes after the handshake.
        with connect(how, port) as stream:
            asked(stream)
            session = stream.session
    count, began = 0, time.monotonic()
    while time.monotonic() - began < seconds:
        with connect(how, port, session) as stream:
            if stream.session_reused != is_resumed:
                sys.exit(f"a handshake was {'full' if is_resumed else 'resumed'}")
        count += 1
    print(json.dumps({"requests": count, "seconds": time.monotonic() - began}))


def idle(port: int, count: int) -> None:
    how, kept, began = context(), [], time.monotonic()
    for _ in range(count):
        if time.monotonic() - began > IDLE_SECONDS:
            sys.exit(f"{len(kept)} connections after {IDLE_SECONDS} s")
        stream = connect(how, port)
        asked(stream)
        kept.append(stream)
    print("open", flush=True)
    sys.stdin.read()


if __name__ == "__main__":
    what, port, amount = sys.argv[1:]
    if what == "idle":
        idle(int(port), int(amount))
    else:
        handshakes(what == "resumed", int(port), float(amount))

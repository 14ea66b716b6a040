"""A client of HTTP/2 that asks for paths and looks at statuses: what the standard library has not."""

import socket
import ssl
import struct

DATA, HEADERS, RST_STREAM, SETTINGS, PING, GOAWAY, WINDOW_UPDATE = 0, 1, 3, 4, 6, 7, 8
PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
WINDOW = 1 << 30


def frame(kind, flags, stream, payload=b""):
    return struct.pack(">I", len(payload))[1:] + bytes([kind, flags]) + struct.pack(">I", stream) + payload


def literal(index, value):
    """A field whose name is at a place of the static table."""
    return bytes([index, len(value)]) + value.encode()


def request(path, scheme="https"):
    """A GET, as a field block."""
    return b"\x82" + (b"\x87" if scheme == "https" else b"\x86") + literal(1, "localhost") + literal(4, path)


class Connection:
    """One connection. `ca` None: in the clear."""

    def __init__(self, port, ca=None, patience=10):
        plain = socket.create_connection(("127.0.0.1", port), patience)
        plain.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.scheme = "https" if ca else "http"
        if ca:
            context = ssl.create_default_context(cafile=ca)
            context.set_alpn_protocols(["h2"])
            plain = context.wrap_socket(plain, server_hostname="localhost")
            self.certificate = plain.getpeercert(True)
        self.socket, self.bytes, self.next = plain, b"", 1
        # Of each stream: its status, its body, whether it has ended, its reset.
        self.streams, self.is_over, self.goaway, self.pongs = {}, False, None, 0
        window = struct.pack(">HI", 4, WINDOW)
        self.send(PREFACE + frame(SETTINGS, 0, 0, window) + frame(WINDOW_UPDATE, 0, 0, struct.pack(">I", WINDOW)))

    def send(self, data):
        self.socket.sendall(data)

    def ask(self, path):
        """Begins a request; its stream."""
        stream, self.next = self.next, self.next + 2
        self.streams[stream] = {"status": None, "body": b"", "has_ended": False, "reset": None}
        self.send(frame(HEADERS, 5, stream, request(path, self.scheme)))
        return stream

    def read(self):
        """Takes what comes; False: the connection is over."""
        data = self.socket.recv(65536)
        if not data:
            self.is_over = True
            return False
        self.bytes += data
        while len(self.bytes) >= 9:
            length = int.from_bytes(self.bytes[:3], "big")
            if len(self.bytes) < 9 + length:
                break
            kind, flags, stream = self.bytes[3], self.bytes[4], int.from_bytes(self.bytes[5:9], "big")
            payload, self.bytes = self.bytes[9 : 9 + length], self.bytes[9 + length :]
            self.take(kind, flags, stream, payload)
        return True

    def take(self, kind, flags, stream, payload):
        if kind == SETTINGS and not flags & 1:
            self.send(frame(SETTINGS, 1, 0))
        elif kind == PING and flags & 1:
            self.pongs += 1
        elif kind == GOAWAY:
            self.goaway = struct.unpack(">II", payload[:8])
        elif stream in self.streams:
            known = self.streams[stream]
            if kind == HEADERS:
                # The gateway sends a status by its place in the static table, or as three digits.
                places = {0x88: 200, 0x89: 204, 0x8C: 400, 0x8D: 404, 0x8E: 500}
                first = payload[0]
                known["status"] = places.get(first) or int(payload[2:5] if first == 8 else 0)
            elif kind == DATA:
                known["body"] += payload
            elif kind == RST_STREAM:
                known["reset"] = int.from_bytes(payload, "big")
            known["has_ended"] |= kind in (HEADERS, DATA) and bool(flags & 1)

    def until(self, holds):
        """Reads until this holds; False: the connection ended before."""
        while not holds():
            if not self.read():
                return holds()
        return True

    def get(self, path):
        """Asks, and waits for the end: the status and the body."""
        stream = self.ask(path)
        known = self.streams[stream]
        self.until(lambda: known["has_ended"] or known["reset"] is not None)
        del self.streams[stream]
        return known["status"] if known["has_ended"] else None, known["body"]

    def ping(self):
        """Waits for the answer to a PING."""
        seen = self.pongs
        self.send(frame(PING, 0, 0, b"are here"))
        self.until(lambda: self.pongs > seen)

    def close(self):
        self.socket.close()

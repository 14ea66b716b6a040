"""Clients: so many requests a second, whatever becomes of them, over connections that are kept."""

import asyncio
import contextlib
import dataclasses
import itertools
import time

# Who waits for longer has gone away.
PATIENCE_SECONDS = 8
BODY = b"b" * 200
# Of twenty requests: three that may not be repeated, three with a body that may be, one large answer.
KINDS = ["GET"] * 12 + ["POST", "PUT"] * 3 + ["GET", "LARGE"]


@dataclasses.dataclass
class Asked:
    """A request, and what became of it."""

    id: str
    method: str
    at: float
    took: float = 0.0
    # An answer's status; 0: there was none, or it was not whole.
    status: int = 0
    what: str = ""
    origin: str = ""

    @property
    def is_well(self):
        return self.status == 200


class Load:
    def __init__(self, port, per_second, spell):
        self.port, self.per_second, self.spell = port, per_second, spell
        self.asked, self.idle, self.running = [], [], set()
        self.late = 0.0
        self.is_over = False

    async def run(self):
        began = time.monotonic()
        for number in itertools.count():
            due = began + number / self.per_second
            if self.is_over:
                break
            now = time.monotonic()
            if due > now:
                await asyncio.sleep(due - now)
            else:
                self.late = max(self.late, now - due)
            task = asyncio.create_task(self.ask(number))
            self.running.add(task)
            task.add_done_callback(self.running.discard)
        while self.running:
            await asyncio.wait(self.running)
        for _, writer in self.idle:
            writer.close()

    async def ask(self, number):
        kind = KINDS[number % len(KINDS)]
        method, path = ("GET", "/large") if kind == "LARGE" else (kind, "/")
        one = Asked(f"{self.spell}-{number}", method, time.time())
        self.asked.append(one)
        began = time.monotonic()
        try:
            async with asyncio.timeout(PATIENCE_SECONDS):
                await self.exchange(one, path)
        except TimeoutError:
            one.what = "no answer"
        except (OSError, asyncio.IncompleteReadError, ValueError) as error:
            one.what = f"{type(error).__name__}: {error}"
        one.took = time.monotonic() - began

    async def exchange(self, one, path):
        body = BODY if one.method in ("POST", "PUT") else b""
        length = f"Content-Length: {len(body)}\r\n" if body else ""
        head = f"{one.method} {path} HTTP/1.1\r\nHost: app.test\r\nX-Id: {one.id}\r\n{length}\r\n"
        while True:
            connection = self.open_idle()
            is_new = connection is None
            reader, writer = connection or await asyncio.open_connection("127.0.0.1", self.port)
            is_kept = False
            try:
                writer.write(head.encode() + body)
                start = await reader.readuntil(b"\r\n\r\n")
                is_kept = await self.read(one, start, reader, path)
                return
            except (asyncio.IncompleteReadError, ConnectionError) as error:
                # The gateway has closed an idle connection, as it may: a client asks anew.
                nothing = not getattr(error, "partial", b"")
                if is_new or not nothing or one.status or one.what or one.method == "POST":
                    raise
            finally:
                if is_kept:
                    self.idle.append((reader, writer))
                else:
                    with contextlib.suppress(OSError):
                        writer.close()

    def open_idle(self):
        while self.idle:
            reader, writer = self.idle.pop()
            if not reader.at_eof() and not writer.is_closing():
                return reader, writer
            writer.close()
        return None

    async def read(self, one, start, reader, path):
        first, *lines = start[:-4].decode("latin-1").split("\r\n")
        fields = {name.lower(): value for name, _, value in (line.partition(": ") for line in lines)}
        status = int(first.split(" ")[1])
        one.origin = fields.get("x-origin", "")
        body, is_framed = b"", True
        one.what = "cut"
        if "content-length" in fields:
            body = await reader.readexactly(int(fields["content-length"]))
        elif fields.get("transfer-encoding") == "chunked":
            while size := int(await reader.readuntil(b"\r\n"), 16):
                body += await reader.readexactly(size)
                await reader.readexactly(2)
            await reader.readexactly(2)
        else:
            body, is_framed = await reader.read(), False
        one.what, one.status = "", status
        if status == 200 and len(body) != (20_000 if path == "/large" else 100):
            # It looks whole and is not.
            one.status, one.what = 0, "short"
        elif status != 200:
            one.what = f"status {status}"
        return is_framed and fields.get("connection", "").lower() != "close"

#!/usr/bin/env python3
"""A scripted origin: one process, one port, one kind of failure at a time.

Usage: origin.py ADDRESS PORT JOURNAL [MODE]

Each line on standard input is a new mode; the mode holds for requests and connections from then on.
Each request that arrives whole is a line of JOURNAL, written at once, so that nothing is forgotten by
one that is killed: seconds since the epoch, method, the client's X-Id, whether it was a check.

  ok            answers after 5 ms
  hang          takes requests and never answers
  reset         resets the connection where an answer was due
  refuse        takes no connections: its socket is closed
  swallow       does not answer a SYN: a listening socket whose queue is full
  close         closes connections as soon as they are made
  503           answers with 503; so do 500 and 404 with theirs
  third         answers every third request with 503
  slow          answers after 400 ms
  half          sends half of an answer with a Content-Length, and ends the connection
  cut           sends a chunked answer without its end, and ends the connection
  stall         sends half of an answer, and nothing more
  garbage       answers with bytes that are not HTTP
  drip          sends its head a byte at a time, each 100 ms
  unkept        answers well, says nothing of closing and closes the connection
  sick          answers checks with 503 and requests well
"""

import asyncio
import contextlib
import os
import socket
import struct
import sys
import time

CHECK = b"/healthz"
WORK_SECONDS = 0.005
SLOW_SECONDS = 0.4


class Origin:
    def __init__(self, address, port, journal, mode):
        self.address, self.port, self.mode = address, port, mode
        self.journal = os.open(journal, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
        self.server, self.silent, self.fillers = None, None, []
        self.count = 0
        self.writers = set()

    async def run(self):
        await self.turn_to(self.mode)
        print("ready", flush=True)
        reader = asyncio.StreamReader()
        loop = asyncio.get_running_loop()
        await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), sys.stdin)
        while line := await reader.readline():
            await self.turn_to(line.decode().strip())
            print("done", flush=True)

    async def turn_to(self, mode):
        self.mode = mode
        self.speak()
        if mode in ("refuse", "swallow"):
            await self.stop_listening()
            if mode == "swallow":
                await self.swallow()
            return
        if mode == "close":
            for writer in list(self.writers):
                writer.close()
        if not self.server:
            self.server = await asyncio.start_server(
                self.serve, self.address, self.port, backlog=1024, reuse_address=True
            )

    async def stop_listening(self):
        if self.server:
            self.server.close()
            self.server = None
        for writer in list(self.writers):
            writer.transport.abort()

    async def swallow(self):
        """A queue of one that nobody takes from: what else comes gets no answer."""
        self.silent = socket.socket()
        self.silent.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        self.silent.bind((self.address, self.port))
        self.silent.listen(0)
        for _ in range(4):
            filler = socket.socket()
            filler.setblocking(False)
            filler.connect_ex((self.address, self.port))
            self.fillers.append(filler)
        await asyncio.sleep(0.05)

    def speak(self):
        """Ends the silence, if there is one."""
        for held in [self.silent, *self.fillers]:
            if held:
                held.close()
        self.silent, self.fillers = None, []

    async def serve(self, reader, writer):
        self.writers.add(writer)
        with contextlib.suppress(OSError, asyncio.IncompleteReadError, asyncio.LimitOverrunError):
            if self.mode == "close":
                return writer.close()
            writer.get_extra_info("socket").setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            while await self.one(reader, writer):
                pass
        self.writers.discard(writer)
        with contextlib.suppress(OSError):
            writer.close()

    async def one(self, reader, writer):
        """One request; whether another may follow."""
        head = await reader.readuntil(b"\r\n\r\n")
        first, *lines = head[:-4].split(b"\r\n")
        method, path, _ = first.split(b" ", 2)
        fields = dict(line.lower().split(b": ", 1) for line in lines if b": " in line)
        length = int(fields.get(b"content-length", 0))
        if length:
            await reader.readexactly(length)
        if fields.get(b"transfer-encoding") == b"chunked":
            await reader.readuntil(b"0\r\n\r\n")
        is_check = path.startswith(CHECK)
        line = b"%.3f %s %s %d\n" % (time.time(), method, fields.get(b"x-id", b"-"), is_check)
        os.write(self.journal, line)
        self.count += not is_check
        return await self.answer(writer, method, path, is_check)

    async def answer(self, writer, method, path, is_check):
        mode = self.mode
        if mode == "sick":
            mode = "503" if is_check else "ok"
        elif mode == "third":
            mode = "503" if self.count % 3 == 0 and not is_check else "ok"
        elif mode == "slow" and not is_check:
            await asyncio.sleep(SLOW_SECONDS)
        if mode == "hang":
            await asyncio.sleep(3600)
        if mode == "reset":
            linger = struct.pack("ii", 1, 0)
            writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
            writer.transport.abort()
            return False
        await asyncio.sleep(WORK_SECONDS)
        size = 20_000 if path.startswith(b"/large") else 100
        body = b"x" * size
        name = b"%s:%d" % (self.address.encode(), self.port)
        fields = b"Content-Type: text/plain\r\nX-Origin: " + name + b"\r\n"
        status = int(mode) if mode.isdigit() else 200
        whole = b"HTTP/1.1 %d OK\r\n%sContent-Length: %d\r\n\r\n" % (status, fields, size)
        if mode in ("half", "stall"):
            writer.write(whole + body[: size // 2])
            await writer.drain()
            await asyncio.sleep(3600 if mode == "stall" else 0)
            return False
        if mode == "cut":
            chunk = b"%x\r\n%s\r\n" % (size, body)
            writer.write(b"HTTP/1.1 200 OK\r\n" + fields + b"Transfer-Encoding: chunked\r\n\r\n" + chunk)
            await writer.drain()
            return False
        if mode == "garbage":
            writer.write(b"\x00\xff\x13\x37 this is not HTTP\r\n\r\n")
            await writer.drain()
            return False
        if mode == "drip":
            for byte in whole:
                writer.write(bytes([byte]))
                await writer.drain()
                await asyncio.sleep(0.1)
        else:
            writer.write(whole)
        writer.write(body)
        await writer.drain()
        return mode != "unkept"


if __name__ == "__main__":
    address, port, journal = sys.argv[1:4]
    asyncio.run(Origin(address, int(port), journal, (sys.argv[4:] or ["ok"])[0]).run())

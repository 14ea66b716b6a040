"""A name server on the loopback that knows one name, app.test."""

import asyncio
import socket
import struct


class Names(asyncio.DatagramProtocol):
    """Answers questions for A with `addresses`, in turn, for `ttl` seconds; all others with nothing."""

    PORT = 1

    def __init__(self, addresses, ttl=1):
        self.addresses, self.ttl, self.is_silent = addresses, ttl, False
        self.transport, self.turn = None, 0

    async def start(self):
        loop = asyncio.get_running_loop()
        self.transport, _ = await loop.create_datagram_endpoint(
            lambda: self, local_addr=("127.0.0.1", 0)
        )
        return self.transport.get_extra_info("sockname")[1]

    def connection_made(self, transport):
        pass

    def datagram_received(self, question, sender):
        if self.is_silent:
            return
        id, _, _, _, _, extra = struct.unpack("!6H", question[:12])
        end = question.index(b"\0", 12) + 5
        name, kind = question[12 : end - 4], question[end - 4 : end - 2]
        is_known = name.lower() == b"\x03app\x04test\0"
        answers = []
        if is_known and kind == b"\0\x01":
            self.turn += 1
            count = len(self.addresses)
            turned = [self.addresses[(self.turn + at) % count] for at in range(count)]
            record = b"\xc0\x0c\0\x01\0\x01" + struct.pack("!IH", self.ttl, 4)
            answers = [record + socket.inet_aton(address) for address in turned]
        flags = 0x8580 if is_known else 0x8583
        head = struct.pack("!6H", id, flags, 1, len(answers), 0, 0)
        self.transport.sendto(head + question[12:end] + b"".join(answers), sender)

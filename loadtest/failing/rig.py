"""Three origins behind one gateway under load: what scenarios act on."""

import asyncio
import contextlib
import dataclasses
import os
import pathlib
import signal
import sys
import time

from .contenders import PATH, free_port
from .load import Load

ORIGIN = pathlib.Path(__file__).with_name("origin.py")


@dataclasses.dataclass(frozen=True)
class Options:
    """What a scenario asks of a gateway's configuration."""

    # Active checks beside what requests tell.
    checks: bool = True
    # By load or latency, where it has such a way, not in turn.
    adaptive: bool = False
    # The port of a name server that knows app.test; the only target then.
    dns: int = 0


class Scripted:
    """origin.py in a process."""

    def __init__(self, folder, at, address="127.0.0.1", port=None):
        self.address, self.port = address, port or free_port(address)
        self.journal = folder / f"origin-{at}.journal"
        self.process = None

    async def start(self, mode="ok"):
        command = [sys.executable, str(ORIGIN), self.address, str(self.port), str(self.journal), mode]
        pipe = asyncio.subprocess.PIPE
        self.process = await asyncio.create_subprocess_exec(*command, stdin=pipe, stdout=pipe)
        if await self.process.stdout.readline() != b"ready\n":
            raise RuntimeError(f"the origin on {self.address}:{self.port} does not start")

    async def turn_to(self, mode):
        self.process.stdin.write(mode.encode() + b"\n")
        await self.process.stdout.readline()

    def signal(self, number):
        self.process.send_signal(number)

    async def kill(self):
        """Its port is free when this is over."""
        self.process.kill()
        await self.process.wait()

    async def end(self):
        if self.process and self.process.returncode is None:
            await self.kill()


class Real:
    """nginx as an origin."""

    def __init__(self, folder, at, address="127.0.0.1", port=None):
        self.address, self.port = address, port or free_port(address)
        self.folder = folder
        self.journal = folder / f"origin-{at}.journal"
        self.config = folder / f"origin-{at}.conf"
        name = f"{self.address}:{self.port}"
        (folder / "large.txt").write_text("x" * 20_000)
        self.config.write_text(f"""
daemon off; worker_processes 1; pid {folder}/origin-{at}.pid;
error_log {folder}/origin-{at}.log crit;
events {{ worker_connections 2048; }}
http {{
  log_format journal '$msec $request_method $http_x_id 0';
  access_log {self.journal} journal;
  keepalive_requests 1000000;
  client_body_temp_path {folder}/t1; proxy_temp_path {folder}/t2;
  fastcgi_temp_path {folder}/t3; uwsgi_temp_path {folder}/t4; scgi_temp_path {folder}/t5;
  server {{
    listen {name} backlog=1024;
    add_header X-Origin {name};
    location / {{ return 200 {"x" * 100}; }}
    location = /large {{ alias {folder}/large.txt; }}
    location /healthz {{ access_log off; return 200; }}
  }}
}}
""")
        self.process = None

    async def start(self, mode="ok"):
        command = ["nginx", "-p", str(self.folder), "-c", str(self.config)]
        environment = {**os.environ, "PATH": PATH}
        with open(self.folder / "origins.log", "a") as log:
            self.process = await asyncio.create_subprocess_exec(
                *command, env=environment, stderr=log, start_new_session=True
            )
        for _ in range(200):
            try:
                _, writer = await asyncio.open_connection(self.address, self.port)
                return writer.close()
            except OSError:
                await asyncio.sleep(0.02)
        raise RuntimeError("the nginx that is an origin does not start")

    def signal(self, number):
        self.process.send_signal(number)

    async def kill(self):
        """Its workers too: they would serve on without it."""
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.process.pid, signal.SIGKILL)
        await self.process.wait()

    async def end(self):
        if self.process:
            await self.kill()


class Rig:
    def __init__(self, kind, folder, options, rate):
        self.kind, self.folder, self.options = kind, folder, options
        self.origins = [Scripted(folder, 0), Scripted(folder, 1), Real(folder, 2)]
        self.gateway = kind(folder, free_port(), options)
        self.weights = [1, 1, 1]
        self.load = Load(self.gateway.port, rate, f"{kind.name}-{folder.name}")
        # When it began to fail, when it was well again, and when all was over.
        self.failed = self.recovered = self.ended = self.began = 0.0

    def be_named(self):
        """The origins have addresses of their own and one port: a name leads to them."""
        port = free_port("127.0.0.2")
        places = [f"127.0.0.{at + 2}" for at in range(3)]
        self.origins = [
            Scripted(self.folder, 0, places[0], port),
            Scripted(self.folder, 1, places[1], port),
            Real(self.folder, 2, places[2], port),
        ]

    async def start(self):
        await asyncio.gather(*(origin.start() for origin in self.origins))
        await self.gateway.start(self.targets())
        # The first checks have passed.
        await asyncio.sleep(1)

    def targets(self):
        pairs = zip(self.origins, self.weights)
        return [(one.address, one.port, weight) for one, weight in pairs if weight]

    async def change(self, weights=None):
        self.weights = weights or self.weights
        await self.gateway.change(self.targets())

    def fails(self):
        self.failed = time.time()

    def recovers(self):
        self.recovered = time.time()

    async def run(self, scenario):
        load = None
        try:
            await self.start()
            load = asyncio.create_task(self.load.run())
            self.began = time.time()
            await scenario(self)
        finally:
            self.ended = time.time()
            self.recovered = self.recovered or self.ended
            self.load.is_over = True
            if load:
                await load
            await self.end()

    async def end(self):
        await self.gateway.end()
        for origin in self.origins:
            if isinstance(origin, Scripted) and origin.process:
                if origin.process.returncode is None:
                    origin.signal(signal.SIGCONT)
            await origin.end()

    def received(self):
        """What reached the origins: (seconds, method, id, origin's number); no checks."""
        all = []
        for at, origin in enumerate(self.origins):
            if not origin.journal.exists():
                continue
            for line in origin.journal.read_text().splitlines():
                seconds, method, id, is_check = line.split(" ")
                if is_check == "0" and id != "-":
                    all.append((float(seconds), method, id, at))
        return all

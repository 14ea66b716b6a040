"""The load generators: each gives a run's requests, seconds, and latencies in microseconds. They
get the contender's process, the seconds, and the origin's."""

import contextlib
import dataclasses
import http.client
import json
import os
import re
import subprocess
import sys

from .fairness import CLIENT
from .places import HERE, LOAD_CORE, RUN, TOOLS, written
from .processes import Failed, Overwhelmed, Process

# What the generator of a fixed rate answers where requests wait for ever longer to be sent.
NOT_SUSTAINED = 503
TARGET = "/bytes/128?limit=10"


def run(command: list, seconds: float, environment: dict | None = None) -> str:
    """What the generator says."""
    words = ["taskset", "-c", LOAD_CORE, *map(str, command)]
    try:
        done = subprocess.run(
            words, capture_output=True, text=True, timeout=seconds + 30,
            env={**os.environ, **(environment or {})},
        )
    except subprocess.TimeoutExpired as error:
        raise Failed(f"{command[0]} did not end") from error
    if done.returncode != 0:
        raise Failed(done.stderr.strip() or f"{command[0]} ended with {done.returncode}")
    return done.stdout


@dataclasses.dataclass(frozen=True)
class Wrk:
    """As many requests as go, over `connections`, each sent when the last is answered."""

    connections: int = 64
    target: str = TARGET
    body_bytes: int = 0
    closes: bool = False
    # Seconds before what is counted.
    lead_in = 0

    def __call__(self, proxy: Process, seconds: float, _: Process) -> dict:
        environment = {"BODY_BYTES": str(self.body_bytes), "CLOSE": str(int(self.closes))}
        command = [
            "wrk", "-t1", f"-c{self.connections}", f"-d{max(1, round(seconds))}s",
            "-s", HERE / "load.lua", f"{proxy.scheme}://127.0.0.1:{proxy.port}{self.target}",
        ]
        output = run(command, seconds, environment)
        line = next((line for line in output.splitlines() if line.startswith("RESULT ")), None)
        if line is None:
            raise Failed(f"wrk said {output!r}")
        result = json.loads(line[7:])
        # With `Connection: close` wrk counts some ends as read errors; the answers were whole.
        allowed = result["requests"] // (1000 if self.closes else 100_000)
        if result["errors"] > allowed or not result["requests"]:
            raise Failed(f"{result['errors']} of {result['requests']} requests failed")
        return result


@dataclasses.dataclass(frozen=True)
class OpenLoop:
    """`rate` requests per second, each timed from when it was to start, by the origin's process
    (tools/src/bin/origin/main.rs says why)."""

    rate: int
    connections: int = 64
    lead_in = 0.5

    def __call__(self, proxy: Process, seconds: float, origin: Process) -> dict:
        asked = f"127.0.0.1:{proxy.port}/{self.rate}/{max(1, round(seconds))}/{self.connections}"
        connection = http.client.HTTPConnection("127.0.0.1", origin.port, timeout=seconds + 30)
        with real_time(origin.pid), contextlib.closing(connection):
            try:
                connection.request("GET", f"/play/{asked}{TARGET}")
                answer = connection.getresponse()
                text = answer.read().decode()
            except (OSError, http.client.HTTPException) as error:
                raise Failed(f"the generator does not answer: {error!r}") from error
        if answer.status == NOT_SUSTAINED:
            raise Overwhelmed(text)
        if answer.status != 200:
            raise Failed(f"the generator said {answer.status}: {text}")
        return json.loads(text)


@contextlib.contextmanager
def real_time(pid: int):
    """Gives the origin a real-time priority, where we may: it sleeps some of the time, and is to
    wake when it wants to, whatever else is on its core."""
    # Root may, but for some containers'. The origin may have ended meanwhile: others say so.
    with contextlib.suppress(PermissionError, ProcessLookupError):
        os.sched_setscheduler(pid, os.SCHED_RR, os.sched_param(1))
    try:
        yield
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.sched_setscheduler(pid, os.SCHED_OTHER, os.sched_param(0))


def has_real_time() -> bool:
    with real_time(0):
        return os.sched_getscheduler(0) == os.SCHED_RR


@dataclasses.dataclass(frozen=True)
class Oha:
    """oha, as a second opinion on wrk's figures."""

    connections: int = 64
    lead_in = 0

    def __call__(self, proxy: Process, seconds: float, _: Process) -> dict:
        fields = [word for name, value in CLIENT.items() for word in ("-H", f"{name}: {value}")]
        command = [
            RUN / "oha", "--no-tui", "--output-format", "json", "-c", self.connections,
            "-z", f"{seconds}s", *fields, f"http://127.0.0.1:{proxy.port}{TARGET}",
        ]
        answer = json.loads(run(command, seconds))
        codes = answer["statusCodeDistribution"]
        requests = codes.get("200", 0)
        if set(codes) - {"200"} or not requests:
            raise Failed(f"oha saw {codes}")
        at = answer["latencyPercentiles"]
        return {
            "requests": requests, "seconds": answer["summary"]["total"],
            **{
                key: round((at[name] or 0) * 1e6)
                for key, name in [("p50", "p50"), ("p90", "p90"), ("p99", "p99"), ("p999", "p99.9")]
            },
        }


@dataclasses.dataclass(frozen=True)
class H2load:
    """h2load: over HTTP/1.1 as a third opinion, over HTTP/2 as the only one that can. It gives no
    percentiles."""

    connections: int = 64
    # At once on each connection, by HTTP/2; 0: by HTTP/1.1.
    streams: int = 0
    target: str = TARGET
    # Of the request; by GET without.
    body: bytes = b""
    fields: tuple[tuple[str, str], ...] = ()
    lead_in = 0

    def __call__(self, proxy: Process, seconds: float, _: Process) -> dict:
        pairs = self.fields or [(name, value) for name, value in CLIENT.items() if name != "Host"]
        how = [f"-m{self.streams}"] if self.streams else ["--h1"]
        if self.body:
            how += ["-d", written(f"body-{len(self.body)}", self.body)]
        command = [
            "h2load", *how, "-t1", f"-c{self.connections}", f"-D{max(1, round(seconds))}",
            *(word for name, value in pairs for word in ("-H", f"{name}: {value}")),
            f"{proxy.scheme}://127.0.0.1:{proxy.port}{self.target}",
        ]
        output = run(command, seconds)
        counts = re.search(r"(\d+) succeeded, (\d+) failed, (\d+) errored", output)
        if not counts or not int(counts[1]) or int(counts[2]) + int(counts[3]):
            raise Failed(f"h2load said {output[-300:]!r}")
        return {"requests": int(counts[1]), "seconds": float(max(1, round(seconds)))}


@dataclasses.dataclass(frozen=True)
class Handshakes:
    """TLS handshakes one after the other, each on a connection that is closed then: full ones, or
    resumed by a ticket. What is counted as requests are handshakes (suite/handshakes.py)."""

    is_resumed: bool
    lead_in = 0

    def __call__(self, proxy: Process, seconds: float, _: Process) -> dict:
        how = "resumed" if self.is_resumed else "full"
        command = [sys.executable, HERE / "suite/handshakes.py", how, proxy.port, seconds]
        return json.loads(run(command, seconds))


@dataclasses.dataclass
class Idle:
    """Connections that have had a request and wait for the next: what each keeps in memory. A
    process keeps what it had at most, so only the first run of each tells."""

    connections: int
    lead_in = 0
    # What each process had before.
    before: dict[int, float] = dataclasses.field(default_factory=dict)

    def __call__(self, proxy: Process, seconds: float, _: Process) -> dict:
        is_first = proxy.pid not in self.before
        self.before.setdefault(proxy.pid, proxy.resident_mib())
        # The first one only warms up.
        count = 100 if is_first else self.connections
        command = [sys.executable, HERE / "suite/handshakes.py", "idle", proxy.port, count]
        words = ["taskset", "-c", LOAD_CORE, *map(str, command)]
        with subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as client:
            if client.stdout.readline().strip() != b"open":
                raise Failed("not all idle connections were served")
            kib = (proxy.resident_mib() - self.before[proxy.pid]) * 1024 / count
            client.stdin.close()
        return {"requests": count, "kib": kib}

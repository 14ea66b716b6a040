"""The load generators: each gives a run's requests, seconds, and latencies in microseconds. They
get the contender's port, the seconds, and the origin."""

import contextlib
import dataclasses
import http.client
import json
import os
import re
import subprocess

from .fairness import CLIENT
from .places import HERE, LOAD_CORE, RUN, TOOLS
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

    def __call__(self, port: int, seconds: float, _: Process) -> dict:
        environment = {"BODY_BYTES": str(self.body_bytes), "CLOSE": str(int(self.closes))}
        command = [
            "wrk", "-t1", f"-c{self.connections}", f"-d{max(1, round(seconds))}s",
            "-s", HERE / "load.lua", f"http://127.0.0.1:{port}{self.target}",
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

    def __call__(self, port: int, seconds: float, origin: Process) -> dict:
        asked = f"127.0.0.1:{port}/{self.rate}/{max(1, round(seconds))}/{self.connections}"
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

    def __call__(self, port: int, seconds: float, _: Process) -> dict:
        fields = [word for name, value in CLIENT.items() for word in ("-H", f"{name}: {value}")]
        command = [
            RUN / "oha", "--no-tui", "--output-format", "json", "-c", self.connections,
            "-z", f"{seconds}s", *fields, f"http://127.0.0.1:{port}{TARGET}",
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
    """h2load over HTTP/1.1, as a third opinion; it gives no percentiles."""

    connections: int = 64
    lead_in = 0

    def __call__(self, port: int, seconds: float, _: Process) -> dict:
        fields = [
            word for name, value in CLIENT.items() if name != "Host"
            for word in ("-H", f"{name}: {value}")
        ]
        command = [
            "h2load", "--h1", "-t1", f"-c{self.connections}", f"-D{max(1, round(seconds))}",
            *fields, f"http://127.0.0.1:{port}{TARGET}",
        ]
        output = run(command, seconds)
        counts = re.search(r"(\d+) succeeded, (\d+) failed, (\d+) errored", output)
        if not counts or not int(counts[1]) or int(counts[2]) + int(counts[3]):
            raise Failed(f"h2load said {output[-300:]!r}")
        return {"requests": int(counts[1]), "seconds": float(max(1, round(seconds)))}

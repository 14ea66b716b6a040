"""Whether a contender does its work, asked before it is measured: what the origin receives from it
is what the client sent and what was agreed to be added, no less and no more."""

import http.client
import ssl
import subprocess
import time

from .contenders import Contender
from .grpc import GRPC_FIELDS, GRPC_MESSAGE, GRPC_PATH
from .places import written
from .processes import Failed, Process

# As the load generators send them.
CLIENT = {
    "Host": "gateway.example",
    "User-Agent": "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 Chrome/120.0",
    "Accept": "text/html,application/xhtml+xml,application/xml;q=0.9,image/webp,*/*;q=0.8",
    "Accept-Encoding": "gzip, deflate, br",
    "Accept-Language": "en-US,en;q=0.9",
    "Cookie": "session=0123456789abcdef0123456789abcdef; theme=dark",
    "Referer": "http://example.com/some/page",
    "X-Request-Start": "t=1234567890",
}
FIXED = {"x-forwarded-for": "127.0.0.1", "x-forwarded-host": "gateway.example"}
# The hop's own affairs; checked by the connection being kept.
HOP = {"connection", "keep-alive"}
READY_SECONDS = 60


def check(name: str, contender: Contender, process: Process) -> None:
    """Raises if the contender makes something else of a request."""
    wait_for_an_answer(name, contender, process)
    if contender.is_grpc:
        return
    connection = connect(process, 10)
    problems = []
    try:
        # Twice over one connection: it must be kept.
        for _ in range(2):
            is_first = connection.sock is None
            sent, got = exchange(connection, "/echo?limit=10")
            if not is_first and connection.sock is None:
                problems.append("does not keep the client's connection")
            problems += differences(contender, process, sent, got)
        if process.is_secure:
            problems += differences(contender, process, *over_http2(process, "/echo?limit=10"))
        connection.request("GET", "/bytes/16384", headers=CLIENT)
        answer = connection.getresponse()
        if (answer.status, len(answer.read())) != (200, 16384):
            problems.append(f"16 KiB came back with {answer.status} and another length")
    except (OSError, http.client.HTTPException) as error:
        problems.append(f"answered no request: {error}")
    finally:
        connection.close()
    if problems:
        raise Failed(f"{name} does not do the same work: {'; '.join(dict.fromkeys(problems))}")


def connect(process: Process, seconds: float) -> http.client.HTTPConnection:
    if not process.is_secure:
        return http.client.HTTPConnection("127.0.0.1", process.port, timeout=seconds)
    # Its certificate signs itself.
    how = ssl._create_unverified_context()
    return http.client.HTTPSConnection("127.0.0.1", process.port, timeout=seconds, context=how)


def over_http2(process: Process, target: str) -> tuple[dict, list]:
    """What the origin gets of the same request by HTTP/2; curl fails if it is another version."""
    fields = [word for name, value in CLIENT.items() for word in ("-H", f"{name}: {value}")]
    url = f"https://127.0.0.1:{process.port}{target}"
    command = ["curl", "-sSk", "--http2", "-w", "\n%{http_version}", *fields, url]
    done = subprocess.run(command, capture_output=True, timeout=20)
    text, _, version = done.stdout.decode().rpartition("\n")
    if version != "2":
        raise http.client.HTTPException(f"by HTTP/2: {done.stderr.decode() or version}")
    return parsed(text, target)


def wait_for_an_answer(name: str, contender: Contender, process: Process) -> None:
    end = time.monotonic() + READY_SECONDS
    last = "nothing"
    while time.monotonic() < end:
        process.check_alive()
        connection = connect(process, 5)
        try:
            if contender.is_grpc:
                last = over_grpc(process)
            else:
                connection.request("GET", "/bytes/128", headers=CLIENT)
                last = str(connection.getresponse().status)
            if last == "200":
                return
        except (OSError, http.client.HTTPException) as error:
            last = str(error)
        finally:
            connection.close()
        time.sleep(0.1)
    raise Failed(f"{name} does not answer with 200 but with {last}: {process.last_lines()}")


def over_grpc(process: Process) -> str:
    """The status of a call by h2load, which says whether there was one."""
    fields = [word for name, value in GRPC_FIELDS for word in ("-H", f"{name}: {value}")]
    body = written("grpc-message", GRPC_MESSAGE)
    url = f"https://127.0.0.1:{process.port}{GRPC_PATH}"
    command = ["h2load", "-n1", "-c1", "-d", body, *fields, url]
    done = subprocess.run(command, capture_output=True, text=True, timeout=20)
    return "200" if "status codes: 1 2xx" in done.stdout else done.stdout[-200:] + done.stderr


def exchange(connection: http.client.HTTPConnection, target: str) -> tuple[dict, list]:
    connection.request("GET", target, headers=CLIENT)
    answer = connection.getresponse()
    text = answer.read().decode()
    if answer.status != 200:
        raise http.client.HTTPException(f"status {answer.status}")
    return parsed(text, target)


def parsed(text: str, target: str) -> tuple[dict, list]:
    line, *fields = text.split("\r\n")
    if line != f"GET {target} HTTP/1.1":
        raise http.client.HTTPException(f"the origin got {line!r}")
    pairs = [field.split(":", 1) for field in fields if field]
    got = [(field[0].strip().lower(), field[1].strip()) for field in pairs]
    return {key.lower(): value for key, value in CLIENT.items()}, got


def differences(contender: Contender, process: Process, sent: dict, got: list) -> list[str]:
    fixed = {**FIXED, "x-forwarded-proto": process.scheme}
    wanted = {**sent, **{name: fixed.get(name) for name in contender.adds}, **dict(contender.sets)}
    problems = []
    seen: dict[str, str] = {}
    for field, value in got:
        if field in HOP:
            if value.lower() == "close":
                problems.append("does not keep the origin's connection")
            continue
        if field in seen:
            problems.append(f"sends {field} twice")
        seen[field] = value
    for field, value in wanted.items():
        if field not in seen:
            problems.append(f"does not send {field}")
        elif field not in contender.loose and value is not None and seen[field] != value:
            problems.append(f"sends {field}: {seen[field]} instead of {value}")
    problems += [f"sends {field} besides" for field in seen if field not in wanted]
    return problems

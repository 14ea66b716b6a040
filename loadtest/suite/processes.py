"""Starting what is measured, and reading its CPU time and memory."""

import contextlib
import os
import pathlib
import signal
import socket
import subprocess
import time

from .places import PATH_MORE, RUN

START_SECONDS = 60
END_SECONDS = 10


class Failed(Exception):
    """What went wrong with one contender. The others go on."""


class Overwhelmed(Failed):
    """A contender does not keep up with the rate: a finding, if it is a peer."""


class Process:
    """A program on a core of its own, and the processes it starts."""

    def __init__(self, name: str, command: list, core: str, port: int, is_secure: bool = False):
        self.name, self.port, self.core, self.is_secure = name, port, core, is_secure
        self.log = RUN / f"{name.replace('/', '-')}.log"
        environment = {
            **os.environ,
            "PATH": os.environ["PATH"] + PATH_MORE,
            # Odin keeps compiled plugins there.
            "XDG_CACHE_HOME": str(RUN),
        }
        words = ["taskset", "-c", core, *map(str, command)]
        try:
            with open(self.log, "w") as log:
                self.process = subprocess.Popen(words, stdout=log, stderr=log, env=environment)
        except OSError as error:
            raise Failed(f"{name}: {error}") from error

    @property
    def pid(self) -> int:
        return self.process.pid

    @property
    def scheme(self) -> str:
        return "https" if self.is_secure else "http"

    def check_alive(self) -> None:
        status = self.process.poll()
        if status is not None:
            raise Failed(f"{self.name} ended with status {status}: {self.last_lines()}")

    def last_lines(self) -> str:
        lines = self.log.read_text(errors="replace").strip().splitlines()
        return " / ".join(lines[-3:]) or "it logged nothing"

    def wait_until_it_listens(self) -> None:
        end = time.monotonic() + START_SECONDS
        while time.monotonic() < end:
            self.check_alive()
            with contextlib.suppress(OSError), socket.create_connection(
                ("127.0.0.1", self.port), timeout=1
            ):
                return
            time.sleep(0.05)
        raise Failed(f"{self.name} does not listen after {START_SECONDS} s: {self.last_lines()}")

    def family(self) -> list[int]:
        found = [self.pid]
        for process in found:
            for task in pathlib.Path(f"/proc/{process}/task").glob("*/children"):
                with contextlib.suppress(OSError):
                    found.extend(int(child) for child in task.read_text().split())
        return found

    def cpu_seconds(self) -> float:
        """User and system time of all its threads, also of those that have ended, from the
        scheduler's own clock in nanoseconds (/proc/PID/stat counts ticks of 10 ms)."""
        try:
            return sum(time.clock_gettime(cpu_clock(pid)) for pid in self.family())
        except OSError as error:
            raise Failed(f"{self.name} is gone: {self.last_lines()}") from error

    def resident_mib(self) -> float:
        """Pages that its own processes share count once; those that it shares with another
        contender (the same program) count in full, so that Pss would not do."""
        private, shared = 0, [0]
        for pid in self.family():
            text = pathlib.Path(f"/proc/{pid}/smaps_rollup").read_text()
            kib = {line.split(":")[0]: int(line.split()[1]) for line in text.splitlines()[1:]}
            private += kib["Private_Clean"] + kib["Private_Dirty"]
            shared.append(kib["Shared_Clean"] + kib["Shared_Dirty"])
        return (private + max(shared)) / 1024

    def end(self) -> None:
        with contextlib.suppress(ProcessLookupError):
            self.process.send_signal(signal.SIGTERM)
        try:
            self.process.wait(END_SECONDS)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()


def cpu_clock(pid: int) -> int:
    """The id of a process's CPU clock: what clock_getcpuclockid(3) would give."""
    return (~pid << 3) | 2


def first_line(*command: str) -> str:
    environment = {**os.environ, "PATH": os.environ["PATH"] + PATH_MORE}
    try:
        done = subprocess.run(command, capture_output=True, text=True, env=environment, timeout=20)
    except (OSError, subprocess.TimeoutExpired):
        return "missing"
    lines = (line.strip() for line in (done.stdout + done.stderr).splitlines())
    return next((line for line in lines if line), "")

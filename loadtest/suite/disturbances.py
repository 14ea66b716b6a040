"""What goes on beside the load: reloads every 100 ms, a plugin that never ends."""

import contextlib
import http.client
import os
import statistics
import threading
import time

from .contenders import FORWARDED, HEADER, LOOP, Contender, odin_config, plugin
from .places import LOAD_CORE, MODULES, free_port, written
from .processes import Failed, Process

RELOAD_SECONDS = 0.1
# Wall time of one call of the plugin that never ends, after which it is ended and called anew.
LOOP_TIMEOUT = "1s"
REFUSALS = (502, 503, 504)


class Beside(threading.Thread):
    """Does `step` again and again until it is stopped, on the load's core. What a step raises ends
    it, and counts as the contender's failure."""

    def __init__(self, step):
        super().__init__(daemon=True)
        self.step, self.stopping, self.failure, self.spans = step, threading.Event(), None, []

    def run(self) -> None:
        # Of this thread alone: the proxy's core is the proxy's.
        os.sched_setaffinity(0, {int(LOAD_CORE)})
        number = 0
        while not self.stopping.is_set() and self.failure is None:
            start = time.monotonic()
            try:
                pause = self.step(number)
            except (OSError, http.client.HTTPException, Failed) as error:
                self.failure = str(error)
                return
            spent = time.monotonic() - start
            self.spans.append(spent)
            number += 1
            self.stopping.wait(max(0, pause - spent))

    @contextlib.contextmanager
    def going_on(self, what: str):
        seen: dict = {}
        self.start()
        try:
            yield seen
        finally:
            self.stopping.set()
            self.join(20)
        if self.failure:
            raise Failed(f"{what}: {self.failure}")
        if not self.spans:
            raise Failed(f"{what}: none was made")
        seen["times"] = len(self.spans)
        seen["times_ms"] = round(statistics.median(self.spans) * 1e3, 2)


def ask(port: int, method: str, target: str) -> tuple[int, str]:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=20)
    try:
        connection.request(method, target)
        answer = connection.getresponse()
        return answer.status, answer.read().decode(errors="replace")
    finally:
        connection.close()


def reloaded(is_reloaded: bool) -> Contender:
    """Odin with a header plugin, whose configuration changes every 100 ms. Or the file does so, and
    its admin API is asked how it is: what writing and asking alone cost."""
    state: dict = {}

    def text(value: str) -> str:
        return odin_config(
            state["port"], state["origin"], plugin("rust", value=value),
            admin=f"127.0.0.1:{state['admin']}",
        )

    def command(binary, port: int, origin: int) -> list:
        state.update(port=port, origin=origin, admin=free_port())
        return [binary, "--config", written(f"odin-{port}.yaml", text("Odin"))]

    def reload(value: str) -> None:
        written(f"odin-{state['port']}.yaml", text(value))
        status, answer = ask(state["admin"], "POST", "/api/config/reload")
        if status != 200:
            raise Failed(f"a reload was answered with {status}: {answer}")

    @contextlib.contextmanager
    def beside(_: Process):
        def step(number: int) -> float:
            value = f"Odin-{number % 2}"
            if is_reloaded:
                reload(value)
            else:
                written(f"odin-{state['port']}.yaml", text(value))
                ask(state["admin"], "GET", "/healthz")
            return RELOAD_SECONDS

        with Beside(step).going_on("reloads") as seen:
            yield seen
        if not is_reloaded:
            return
        reload("Odin-last")
        _, echoed = ask(state["port"], "GET", "/echo")
        if "X-Gateway: Odin-last" not in echoed:
            raise Failed("a request after a reload did not see it")

    needs = (MODULES / "header-injection-rust.wasm",)
    adds = (*FORWARDED, LOOP)
    return Contender(command, adds, sets=HEADER, needs=needs, beside=beside, is_ours=True)


def looping(is_looping: bool) -> Contender:
    """Odin with a plugin on /loop that never ends, called all the time; or never."""
    module = MODULES / "canaries/canary.wasm"

    def command(binary, port: int, origin: int) -> list:
        endless = (
            f"    - {{ name: endless, path: {module}, type: request, body: false, "
            f"services: [loop], timeout: {LOOP_TIMEOUT}, failureMode: closed, "
            "config: { mode: spin } }\n"
        )
        text = odin_config(
            port, origin, endless, services="  - { name: loop, basePath: /loop, TARGET }\n"
        )
        return [binary, "--config", written(f"odin-{port}.yaml", text)]

    @contextlib.contextmanager
    def beside(process: Process):
        def step(_: int) -> float:
            status, _ = ask(process.port, "GET", "/loop")
            if status not in REFUSALS:
                raise Failed(f"a call that never ends was answered with {status}")
            return 0

        with Beside(step).going_on("calls without an end") as seen:
            yield seen

    return Contender(
        command, (*FORWARDED, LOOP), needs=(module,), beside=beside if is_looping else None, is_ours=True
    )

#!/usr/bin/env python3
"""What a request costs through Odin and through its peers, side by side.

Each scenario starts its contenders and an origin, asks each whether it does the same work, then
takes turns: one run of load per contender and round, in an order that is drawn anew for each
round. Proxies run on core 0 with one worker each; the origin and the load generator share core 1.
The figure of record is CPU per request: user and system time of the proxy's processes, divided by
the requests. Medians over the rounds; ratios are taken within a round, then the median.

A contender that fails is reported and left out; the others go on. The status is 1 if one of them
failed, else 0, or with --strict 2 if a claim was missed. That a peer does not keep up with a rate
is no failure but a finding, and reported as one.

`make loadtest` builds everything and runs it. With the binaries there:

  loadtest/setup build && loadtest/compare.py [--scenario NAME]... [--rounds 5] [--seconds 3]
  loadtest/compare.py --quick     one round of a second, into loadtest/run/results
  loadtest/compare.py --report    the summary again, from the results that are there
"""

import argparse
import contextlib
import json
import os
import pathlib
import platform
import random
import shutil
import subprocess
import sys
import time

from suite import fairness, grpc, report, targets
from suite.loads import has_real_time
from suite.places import (
    HERE, LOAD_CORE, ORIGINS, PGO, RELEASE, ROOT, RUN, TOOLS, certificate, free_port, raise_file_limit,
)
from suite.processes import Failed, Overwhelmed, Process, first_line
from suite.scenarios import SCENARIOS, SLOW_MS, Scenario

WARM_UP_SECONDS = 1
# Digits that a figure keeps: a thousandth of it is less than its noise.
DIGITS = 5


def say(text: str) -> None:
    print(f"{time.strftime('%H:%M:%S')} {text}", file=sys.stderr, flush=True)


def rounded(value):
    if isinstance(value, float):
        return float(f"{value:.{DIGITS}g}")
    if isinstance(value, list):
        return [rounded(one) for one in value]
    return value


class Fleet:
    """The contenders of a scenario that are up, and what becomes of those that are not."""

    def __init__(self, scenario: Scenario, binary: pathlib.Path, stack: contextlib.ExitStack):
        self.scenario, self.stack = scenario, stack
        self.up: dict[str, Process] = {}
        self.seen: dict[str, dict] = {name: {"rounds": []} for name in scenario.contenders}
        port = free_port()
        addresses = [f"{address}:{port}" for address in ORIGINS]
        if scenario.is_slow:
            addresses[-1] += f"+{SLOW_MS}"
        command = [TOOLS / "origin", *addresses]
        self.origin = self.run(Process("origin", command, LOAD_CORE, port))
        if any(contender.is_secure for contender in scenario.contenders.values()):
            certificate()
        if any(contender.is_grpc for contender in scenario.contenders.values()):
            port = free_port()
            self.run(grpc.origin(port))
        for name in scenario.contenders:
            with self.failing(name):
                self.start(name, binary, port)

    def run(self, process: Process) -> Process:
        self.stack.callback(process.end)
        process.wait_until_it_listens()
        return process

    def start(self, name: str, binary: pathlib.Path, origin: int) -> None:
        contender = self.scenario.contenders[name]
        if missing := contender.missing():
            self.seen[name]["missing"] = missing
            return
        port = free_port()
        command = contender.command(binary, port, origin)
        process = Process(name, command, contender.core, port, contender.is_secure)
        self.run(process)
        fairness.check(name, contender, process)
        self.up[name] = process

    @contextlib.contextmanager
    def failing(self, name: str):
        try:
            yield
        except Overwhelmed as error:
            if self.scenario.contenders[name].is_ours:
                self.seen[name]["failed"] = str(error)
            else:
                self.seen[name]["overwhelmed"] = True
            say(f"{name}: {error}")
        except (Failed, OSError, ValueError, KeyError, subprocess.SubprocessError) as error:
            text = str(error).replace(str(ROOT), "").replace("\n", " ").replace("|", "/")
            self.seen[name]["failed"] = text[:400]
            say(f"FAILED: {text}")

    def measure(self, name: str, seconds: float) -> dict:
        """One run of load on one contender."""
        process, contender = self.up[name], self.scenario.contenders[name]
        load = self.scenario.load_of(name)
        around = contender.beside(process) if contender.beside else contextlib.nullcontext({})
        started = time.monotonic()
        before = process.cpu_seconds()
        with around as beside:
            result = load(process, seconds, self.origin)
            spent = process.cpu_seconds() - before
            lasted = time.monotonic() - started
        process.check_alive()
        result["cpu_us"] = spent / result.get("sent", result["requests"]) * 1e6
        result["busy"] = spent / lasted
        if "seconds" in result:
            result["rate"] = result["requests"] / result["seconds"]
        result["rss_mib"] = process.resident_mib()
        return {key: rounded(value) for key, value in {**result, **beside}.items()}


def run(name: str, options) -> dict:
    scenario = SCENARIOS[name]
    with contextlib.ExitStack() as stack:
        fleet = Fleet(scenario, options.binary, stack)
        for contender in list(fleet.up):
            with fleet.failing(contender):
                load = scenario.load_of(contender)
                load(fleet.up[contender], WARM_UP_SECONDS, fleet.origin)
        rounds = rounds_of(scenario, options)
        for number in range(rounds):
            names = list(scenario.contenders)
            # None has always the same one before it. The same orders in each comparison.
            random.Random(number).shuffle(names)
            for contender in names:
                measured = fleet.seen[contender]["rounds"]
                measured.append(None)
                if contender not in fleet.up:
                    continue
                fleet.origin.check_alive()
                with fleet.failing(contender):
                    measured[-1] = fleet.measure(contender, scenario.seconds(options.seconds))
                    say(f"{name} {number + 1}/{rounds} {contender}: "
                        f"{measured[-1]['cpu_us']:.1f} us")
    return {
        "title": scenario.title, "note": scenario.note, "plot": scenario.plot,
        "seconds": scenario.seconds(options.seconds), "about": options.about,
        "contenders": fleet.seen,
    }


def rounds_of(scenario: Scenario, options) -> int:
    return 1 if options.quick else options.rounds * scenario.cuts


def estimate(options) -> float:
    """Seconds, as measured: beside the load, a start takes one and a run a tenth."""
    seconds = 0.0
    for name in options.scenario or SCENARIOS:
        scenario = SCENARIOS[name]
        for contender in scenario.contenders:
            load = scenario.seconds(options.seconds) + scenario.load_of(contender).lead_in + 0.2
            seconds += 1 + WARM_UP_SECONDS + rounds_of(scenario, options) * load
    return seconds


def circumstances(options) -> dict:
    with open("/proc/cpuinfo") as lines:
        models = [line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")]
    git = ["git", "-C", str(ROOT)]
    changed = first_line(*git, "status", "--porcelain", "--", "src", "Cargo.toml", "Cargo.lock")
    return {
        "date": time.strftime("%Y-%m-%d %H:%M"),
        "cpu": f"{os.cpu_count()} x {models[0] if models else platform.machine()}",
        "kernel": platform.release(),
        "commit": first_line(*git, "rev-parse", "--short", "HEAD") + " (changed)" * bool(changed),
        "load_average_before": os.getloadavg()[0],
        "real_time": has_real_time(),
        "versions": {
            "odin": first_line(str(options.binary), "--version").removeprefix("odin ")
            + " (make pgo)" * (options.binary == PGO),
            "nginx": first_line("nginx", "-v").rpartition("nginx/")[2],
            "haproxy": first_line("haproxy", "-v").removeprefix("HAProxy version ").split(" ")[0],
            # as in "…/envoy  version: COMMIT/1.40.0/Clean/RELEASE/BoringSSL"
            "envoy": first_line(str(RUN / "envoy"), "--version").rpartition("version: ")[2]
            .partition("/")[2].partition("/")[0] or "missing",
            "wrk": first_line("wrk", "-v").removeprefix("wrk ").split(" ")[0],
            "oha": first_line(str(RUN / "oha"), "--version").removeprefix("oha "),
            "h2load": first_line("h2load", "--version").removeprefix("h2load "),
        },
    }


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=int, default=3, help="of one run of load")
    parser.add_argument("--scenario", action="append", choices=[*SCENARIOS])
    parser.add_argument(
        "--binary", type=pathlib.Path, help="default: what `make pgo` built, else the release"
    )
    parser.add_argument("--results", type=pathlib.Path, help="where they go")
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--report", action="store_true")
    parser.add_argument("--strict", action="store_true")
    options = parser.parse_args()
    if options.binary is None:
        options.binary = next((binary for binary in (PGO, RELEASE) if is_current(binary)), RELEASE)
    if options.quick:
        options.rounds, options.seconds = 1, 1
    if options.rounds < 1 or options.seconds < 1:
        parser.error("--rounds and --seconds are from 1")
    if options.results is None:
        options.results = RUN / "results" if options.quick else HERE / "results"
    return options


def is_current(binary: pathlib.Path) -> bool:
    """Whether it was built after the last change of what it is built from."""
    files = [ROOT / "Cargo.lock", *(ROOT / "src").rglob("*.rs")]
    return binary.exists() and binary.stat().st_mtime >= max(file.stat().st_mtime for file in files)


def check_machine(options) -> None:
    for binary in {options.binary, RELEASE}:
        if binary.exists() and not is_current(binary):
            say(f"{binary} is older than src/: what is measured is not what is there")
    if os.cpu_count() < 2:
        sys.exit("a comparison needs two cores: one for the proxy, one for origin and load")
    for needed in (options.binary, TOOLS / "origin"):
        if not needed.exists():
            sys.exit(f"{needed} is missing: run `make loadtest`, which builds it")
    if shutil.which("wrk") is None:
        sys.exit("wrk is missing: run loadtest/setup")
    if os.getloadavg()[0] > 0.7:
        say(f"the load average is {os.getloadavg()[0]:.1f}: others are at work here, and will show")


def main() -> int:
    options = arguments()
    RUN.mkdir(exist_ok=True)
    if not options.report:
        check_machine(options)
        raise_file_limit()
        options.about = circumstances(options)
        print(json.dumps(options.about, indent=1), flush=True)
        say(f"{estimate(options) / 60:.0f} minutes, if all goes well")
        for name in options.scenario or SCENARIOS:
            try:
                result = run(name, options)
            except Failed as error:
                # The origin: without it there is nothing to compare.
                sys.exit(str(error))
            report.save(name, result, options.results)
            print(f"\n## {result['title']}\n\n{report.table(result)}", flush=True)
    results = report.saved(options.results)
    (options.results / "README.md").write_text(report.summary(results))
    failures = report.failures(results)
    if "header-plugin" in results:
        print(f"\n## What a header plugin adds\n\n{targets.shares(results['header-plugin'])}")
    if failures:
        print("\n## Failures\n\n" + "\n".join(f"- {line}" for line in failures))
    print(f"\n## Claims\n\n{targets.table(results)}")
    if failures:
        return 1
    return 2 if options.strict and targets.has_failed(results) else 0


if __name__ == "__main__":
    sys.exit(main())

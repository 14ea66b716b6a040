#!/usr/bin/env python3
"""Origins that fail, behind nginx, HAProxy, Envoy and Odin: what becomes of requests.

In each scenario every gateway has three origins of its own (two scripted, one nginx) and as many
requests a second; all of them run at the same time, so that they meet the same machine. What each
scenario does and expects is in failing/scenarios.py, how gateways are set up in
failing/contenders.py, what origins do in failing/origin.py. Everything is on the loopback.

Usage: loadtest/failing.py [--rate 100] [--scenario NAME ...] [--only GATEWAY ...] [--write]

--write puts the table into docs/failing-origins.md. Exit status 1 if Odin fails a check, or a
scenario of it is worse than the best of the others.
"""

import argparse
import asyncio
import importlib.util
import pathlib
import platform
import shutil
import sys
import tempfile
import time

HERE = pathlib.Path(__file__).resolve().parent
# The package beside this file has its name.
spec = importlib.util.spec_from_file_location(
    "failing", HERE / "failing/__init__.py", submodule_search_locations=[str(HERE / "failing")]
)
sys.modules["failing"] = importlib.util.module_from_spec(spec)
spec.loader.exec_module(sys.modules["failing"])

from failing import contenders, dns, judge, report, rig, scenarios  # noqa: E402


# A run whose requests were sent later than this is no run; so often it is made again.
LATE_SECONDS = 0.5
ATTEMPTS = 3


async def run_one(kind, scenario, folder, rate):
    folder.mkdir(parents=True)
    one = rig.Rig(kind, folder, scenario.options, rate)
    if scenario.options.dns:
        one.be_named()
        one.names = dns.Names([origin.address for origin in one.origins])
        port = await one.names.start()
        one.gateway.options = rig.dataclasses.replace(scenario.options, dns=port)
    try:
        await one.run(scenario.run)
    except (OSError, RuntimeError) as error:
        return one, [judge.Verdict("run", judge.FAIL, f"it did not run: {error}")]
    finally:
        if scenario.options.dns:
            one.names.transport.close()
    return one, judge.judge(one, scenario.expected)


async def run_all(chosen, kinds, rate, folder):
    results = {}
    for scenario in chosen:
        began = time.monotonic()
        for attempt in range(ATTEMPTS):
            name = scenario.name.replace(" ", "-").replace(",", "")
            place = folder / f"{name}-{attempt}"
            runs = [run_one(kind, scenario, place / kind.name, rate) for kind in kinds]
            done = await asyncio.gather(*runs)
            if max(one.load.late for one, _ in done) < LATE_SECONDS:
                break
            # Whatever was measured is of the machine, which was busy with something else.
            print(f"{scenario.name}: requests were late, so it is run again", flush=True)
        results[scenario.name] = {kind.name: verdicts for kind, (_, verdicts) in zip(kinds, done)}
        late = max(one.load.late for one, _ in done)
        print(f"\n{scenario.name} ({time.monotonic() - began:.0f} s, late by {late * 1000:.0f} ms)")
        for kind, (one, verdicts) in zip(kinds, done):
            words = ", ".join(
                f"{v.name} {'' if v.verdict == judge.PASS else v.verdict + ' '}{v.words}"
                for v in verdicts
            )
            print(f"  {kind.name:8} {len(one.load.asked)}: {words}", flush=True)
    return results


def main():
    options = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    options.add_argument("--rate", type=int, default=100, help="requests a second for each gateway")
    options.add_argument("--scenario", action="append", help="one of them; all if none is named")
    options.add_argument("--only", action="append", help="one of the gateways")
    options.add_argument("--write", action="store_true", help="write docs/failing-origins.md")
    options.add_argument("--keep", action="store_true", help="keep the logs, and say where")
    given = options.parse_args()
    names = [scenario.name for scenario in scenarios.ALL]
    for name in given.scenario or []:
        if name not in names:
            options.error(f"no scenario {name!r}; there are: {', '.join(names)}")
    chosen = [one for one in scenarios.ALL if not given.scenario or one.name in given.scenario]
    kinds = [kind for kind in contenders.ALL if not given.only or kind.name in given.only]
    for kind in [kind for kind in kinds if kind.missing()]:
        print(f"left out: {kind.name} ({kind.missing()})")
        kinds.remove(kind)
    folder = pathlib.Path(tempfile.mkdtemp(prefix="odin-failing-"))
    # nginx's worker may be another user's.
    folder.chmod(0o755)
    began = time.monotonic()
    try:
        results = asyncio.run(run_all(chosen, kinds, given.rate, folder))
    finally:
        if given.keep:
            print(f"logs: {folder}")
        else:
            shutil.rmtree(folder, ignore_errors=True)
    took = time.monotonic() - began
    text, is_good = report.table(chosen, kinds, results, given.rate, took, platform.release())
    print("\n" + report.sums(kinds, results))
    if given.write:
        report.write(text)
    sys.exit(0 if is_good else 1)


if __name__ == "__main__":
    main()

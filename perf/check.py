#!/usr/bin/env python3
"""What a request and its stages cost in instructions, held against a record.

    check            count, compare with perf/baseline.json; exit code 1 if anything has grown by
                     over 3 %, with the functions that did
    accept REASON    count, make it the record, add a line to perf/history.md
    show             count and print, with the functions that cost most

perf/count.rs is what runs, under valgrind's callgrind; perf/README.md says why the counts are the
same in every run. Two counts compare only if compiler, libc and valgrind are the same: the record
names those it was made with. Where they differ, `check --base COMMIT` counts that commit here and
now instead of taking the record's word.
"""

import argparse
import collections
import datetime
import json
import os
import pathlib
import re
import shutil
import subprocess
import sys
import tempfile

ROOT = pathlib.Path(__file__).resolve().parent.parent
RECORD = ROOT / "perf/baseline.json"
HISTORY = ROOT / "perf/history.md"
TARGET = pathlib.Path(os.environ.get("CARGO_TARGET_DIR", ROOT / "target")).resolve()
GROWTH_MAX = 0.03
# One instruction of a stage that has thirty is 3 %, and says nothing.
GROWTH_MIN = 3
# A run takes 12 s on an idle machine, minutes on one where thirty others compute.
RUN_SECONDS_MAX = 900
# Functions that take a smaller share of a count are not in the record.
SHARE_MIN = 0.005
# Our own crate as in a release, but not linked as one thing with its dependencies: those are the
# ones that `make test` has built already. See README.md.
# One unit of code: how the compiler shares code out between several depends on the path of the
# sources and on whether it builds incrementally, and what is inlined depends on that.
PROFILE = {
    "opt-level": "3", "debug-assertions": "false", "overflow-checks": "false",
    "codegen-units": "1", "incremental": "false",
}

Counts = dict[str, dict[str, float]]


def output_of(*command: str) -> str:
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()


def made_with() -> dict[str, str]:
    flags = re.search(r"^flags\s*:(.*)$", pathlib.Path("/proc/cpuinfo").read_text(), re.M)
    vectors = [name for name in ("avx2", "bmi2") if flags and f" {name}" in flags[1]]
    return {
        "rustc": output_of("rustc", "--version"),
        "libc": os.confstr("CS_GNU_LIBC_VERSION"),
        "valgrind": output_of("valgrind", "--version"),
        # valgrind hides what it does not know (AVX-512); of what is left, libraries choose by these.
        "processor": " ".join(vectors) or "neither avx2 nor bmi2",
    }


def set_apart(tree: pathlib.Path) -> None:
    """Gives our crate in a copy of the sources a version of its own. Cargo goes by name and version,
    not by folder, and would take what was built from one tree for the other's."""
    own = re.compile(r'^(name = "odin"\nversion = ")([^"+]+)(")', re.M)
    for file in (tree / "Cargo.toml", tree / "Cargo.lock"):
        text = file.read_text()
        apart = own.sub(r"\1\2+copy\3", text)
        file.write_text(apart)
        if "+copy" not in apart:
            sys.exit(f"{file} does not say odin's version as expected")


def build(tree: pathlib.Path) -> str:
    """Builds perf/count.rs of a tree; its path."""
    if tree.resolve() != ROOT:
        set_apart(tree)
    settings = [f"--config=profile.dev.package.odin.{key}={value}" for key, value in PROFILE.items()]
    command = ["cargo", "build", "--locked", "--bench=count", "--message-format=json-render-diagnostics"]
    built = subprocess.run(
        [*command, *settings], cwd=tree, stdout=subprocess.PIPE, text=True,
        env={**os.environ, "CARGO_TARGET_DIR": str(TARGET)},
    )
    if built.returncode != 0:
        sys.exit("perf/count.rs does not build")
    messages = (json.loads(line) for line in built.stdout.splitlines() if line.startswith("{"))
    files = [
        message["executable"]
        for message in messages
        if message["reason"] == "compiler-artifact" and message["target"]["name"] == "count"
    ]
    return files[-1]


def count(tree: pathlib.Path) -> Counts:
    """Instructions of one request or one run of a stage: the sum, and by function."""
    program = build(tree)
    with tempfile.TemporaryDirectory() as scratch:
        command = [
            "valgrind", "--tool=callgrind", "-q", "--instr-atstart=no", "--collect-atstart=no",
            "--dump-line=no", f"--callgrind-out-file={scratch}/counts", program,
        ]
        # Nothing of the caller's environment: its size moves the stack.
        try:
            ran = subprocess.run(
                ["setarch", "-R", *command], stderr=subprocess.PIPE, text=True, cwd=tree,
                env={"PATH": os.environ["PATH"], "HOME": scratch}, timeout=RUN_SECONDS_MAX,
            )
        except subprocess.TimeoutExpired:
            sys.exit(
                f"perf/count.rs has run for {RUN_SECONDS_MAX} s: does a request wait for a timer? "
                "The clock stands while requests are counted (perf/still.rs)"
            )
        if ran.returncode != 0:
            sys.exit(f"perf/count.rs failed:\n{ran.stderr}")
        counts = {}
        for file in pathlib.Path(scratch).glob("counts.*"):
            text = file.read_text(errors="replace")
            if named := re.search(r"^desc: Trigger: Client Request: (\S+) (\d+)$", text, re.M):
                counts[named[1]] = of_one(by_function(text), int(named[2]))
        return dict(sorted(counts.items()))


def by_function(text: str) -> collections.Counter:
    """The self cost of each function, out of a file in callgrind's format."""
    names, costs = {}, collections.Counter()
    function, is_call = "", False
    for line in text.splitlines():
        if named := re.match(r"(c?)fn=\((\d+)\)(?: (.*))?$", line):
            if named[3]:
                names[named[2]] = plain(named[3])
            if not named[1]:
                function = names[named[2]]
        elif line.startswith("calls="):
            is_call = True  # the next line is what the callee and all below it cost
        elif cost := re.match(r"[\d+*-]+ (\d+)$", line):
            if not is_call:
                costs[function] += int(cost[1])
            is_call = False
    return costs


def plain(name: str) -> str:
    """A function's name without what differs from build to build."""
    if name.startswith("0x") or name == "???":
        return "(guest code)"
    name = re.sub(r"(::h[0-9a-f]{16}|'\d+)$", "", name)
    return re.sub(r"\.llvm\.\d+", "", name)


def of_one(costs: collections.Counter, times: int) -> dict[str, float]:
    whole = sum(costs.values())
    kept = {name: cost for name, cost in costs.items() if cost >= whole * SHARE_MIN}
    shares = sorted(kept.items(), key=lambda entry: -entry[1])
    return {"total": round(whole / times, 1)} | {name: round(cost / times, 1) for name, cost in shares}


def check(counts: Counts, before: Counts) -> bool:
    """Whether nothing has grown beyond what is tolerated; prints how everything stands."""
    grown = []
    print(f"{'instructions':34} {'before':>9} {'now':>9}")
    for name, now in counts.items():
        if name not in before:
            print(f"{name:34} {'-':>9} {now['total']:>9.0f}  new: not in the record")
            grown.append(name)
            continue
        was = before[name]["total"]
        growth = now["total"] / was - 1
        print(f"{name:34} {was:>9.0f} {now['total']:>9.0f}  {growth:+.2%}")
        if growth > GROWTH_MAX and now["total"] - was > GROWTH_MIN:
            grown.append(name)
    for name in before.keys() - counts.keys():
        print(f"{name:34} {before[name]['total']:>9.0f} {'-':>9}  is no longer counted")
        grown.append(name)
    for name in grown:
        explain(name, counts.get(name), before.get(name))
    print(f"\n{len(grown)} of {len(counts)} counts fail: {', '.join(grown)}" if grown
          else f"\nall {len(counts)} counts are within {GROWTH_MAX:.0%} of the record")
    return not grown


def explain(name: str, now: dict[str, float] | None, before: dict[str, float] | None) -> None:
    if not now or not before:
        return
    print(f"\n{name}: {before['total']:.0f} -> {now['total']:.0f}; what grew most:")
    differences = {
        function: now.get(function, 0) - before.get(function, 0)
        for function in now.keys() | before.keys()
        if function != "total"
    }
    for function, more in sorted(differences.items(), key=lambda entry: -entry[1])[:8]:
        if more > 0:
            is_new = "" if function in before else "  (new, inlined elsewhere before, or was too small)"
            print(f"  {more:+8.0f}  {function[:110]}{is_new}")


def show(counts: Counts) -> None:
    for name, costs in counts.items():
        print(f"{costs['total']:>9.0f}  {name}")
        for function, cost in list(costs.items())[1:11]:
            print(f"{'':11} {cost:>9.0f}  {cost / costs['total']:5.1%}  {function[:100]}")


def accept(counts: Counts, reason: str) -> None:
    RECORD.write_text(json.dumps({"made with": made_with(), "counts": counts}, indent=1) + "\n")
    requests = [name for name in counts if name.startswith("request/")]
    if not HISTORY.exists():
        sys.exit("perf/history.md is missing: restore it from git, it is not made anew")
    header = next(line for line in HISTORY.read_text().splitlines() if line.startswith("| date"))
    columns = [cell.strip() for cell in header.strip("|").split("|")][2:-1]
    totals = [f"{counts[f'request/{name}']['total']:.0f}" if f"request/{name}" in requests else "-" for name in columns]
    commit = output_of("git", "-C", str(ROOT), "rev-parse", "--short", "HEAD")
    today = datetime.date.today().isoformat()
    with HISTORY.open("a") as file:
        file.write(f"| {' | '.join([today, commit, *totals, reason.replace('|', '/')])} |\n")
    print(f"recorded {len(counts)} counts; commit perf/baseline.json and perf/history.md with the change")


def tree_of(commit: str) -> pathlib.Path:
    """The sources of another commit, with the plugins that are built here."""
    tree = TARGET / "perf/base"
    shutil.rmtree(tree, ignore_errors=True)
    tree.mkdir(parents=True)
    archive = subprocess.run(
        ["git", "-C", str(ROOT), "archive", commit], check=True, stdout=subprocess.PIPE
    ).stdout
    subprocess.run(["tar", "-x", "-C", str(tree)], input=archive, check=True)
    (tree / "plugins/dist").symlink_to(ROOT / "plugins/dist")
    return tree


def check_against(record: dict, base: str | None, tree: pathlib.Path) -> bool:
    now = made_with()
    before = record["counts"]
    differences = [f"{key}: {record['made with'][key]} then, {now[key]} now"
                   for key in now if record["made with"].get(key) != now[key]]
    if base:
        before = count(tree_of(base))
    elif differences:
        print("the record was made elsewhere (" + "; ".join(differences) + "):\n"
              "counts may differ for that alone; --base COMMIT counts a commit here instead\n")
    if check(count(tree), before):
        return True
    print("Make it cheaper, or say why it is worth it: make perf-accept REASON='…'")
    return False


def main() -> None:
    arguments = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    arguments.add_argument("command", choices=["check", "accept", "show"])
    arguments.add_argument("reason", nargs="?", help="of accept: why the record changes")
    arguments.add_argument("--base", metavar="COMMIT", help="of check: count this commit, too")
    arguments.add_argument("--tree", type=pathlib.Path, default=ROOT, help="the sources to count")
    options = arguments.parse_args()
    if options.command == "accept" and not (options.reason or "").strip():
        sys.exit("accept needs a reason: make perf-accept REASON='…'")
    if options.command == "check":
        sys.exit(0 if check_against(json.loads(RECORD.read_text()), options.base, options.tree) else 1)
    counts = count(options.tree)
    if options.command == "accept":
        accept(counts, options.reason.strip())
    else:
        show(counts)


if __name__ == "__main__":
    main()

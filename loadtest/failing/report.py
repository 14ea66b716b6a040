"""The results as a page of the documentation."""

import subprocess

from .contenders import PATH, ROOT
from .judge import FAIL, PASS, WEAK

PAGE = ROOT / "docs/failing-origins.md"
WORST = {PASS: 0, WEAK: 1, FAIL: 2}

CHECKS = {
    "run": "the scenario could be run to its end",
    "twice": "no POST reaches an origin twice",
    "short": "no client takes a part of an answer for the whole",
    "lost": "GETs and PUTs that were not answered with 200, whole",
    "posts": "the same of POSTs, from 2 s after the first failure on",
    "sick": "requests that reach the sick origin from then on, of all",
    "slow": "99 % of the requests from then on are answered within",
    "back": "when it is well again: its part of the last 2 s",
    "asked": "requests at origins for each of the clients'",
    "longest": "the longest that a request took",
}


def score(verdicts):
    """Failures first, then what is weak."""
    counts = [sum(1 for one in verdicts if one.verdict == what) for what in (FAIL, WEAK)]
    return tuple(counts)


def sums(kinds, results):
    lines = []
    for kind in kinds:
        all = [one for of in results.values() for one in of[kind.name]]
        parts = [f"{sum(1 for one in all if one.verdict == what)} {what}" for what in WORST]
        lines.append(f"{kind.name}: {', '.join(parts)}")
    return "\n".join(lines)


def worse(results):
    """Scenarios in which Odin is worse than the best of the others."""
    found = []
    for name, of in results.items():
        others = [score(verdicts) for kind, verdicts in of.items() if kind != "Odin"]
        if "Odin" in of and others and score(of["Odin"]) > min(others):
            found.append(name)
    return found


def cell(verdicts):
    bad = [one for one in verdicts if one.verdict != PASS]
    if not bad:
        return f"{len(verdicts)}"
    good = len(verdicts) - len(bad)
    words = "; ".join(f"{one.verdict} {one.name}: {one.words.split(';')[0]}" for one in bad)
    return f"{good}, {words}"


def version(kind):
    words = {"nginx": ["nginx", "-v"], "HAProxy": ["haproxy", "-v"]}.get(kind.name)
    if not words:
        return ""
    done = subprocess.run(words, capture_output=True, text=True, env={"PATH": PATH}, check=False)
    line = (done.stdout + done.stderr).splitlines()[0]
    return " " + line.replace("nginx version: nginx/", "").replace("HAProxy version ", "").split(" ")[0]


def table(chosen, kinds, results, rate, took, kernel):
    """The page, and whether Odin is as good as it should be."""
    names = [kind.name for kind in kinds]
    count = sum(len(verdicts) for of in results.values() for verdicts in of.values())
    lines = [
        "# Origins that fail",
        "",
        "<!-- written by `make failing` -->",
        "What becomes of requests when origins fail or the configuration changes, behind Odin and three",
        "others, all set up alike (`loadtest/failing/contenders.py`): half a second to connect, a second",
        "for an answer to begin, three tries of what may be repeated, two failed checks or five errors in",
        f"a row take a target out for two seconds. Each has three origins and {rate} requests a second",
        "(GET, PUT, POST, small and large answers); all ran at the same time, on one machine",
        f"(Linux {kernel}). {len(chosen)} scenarios, {count // max(len(kinds), 1)} checks for each,",
        f"{took / 60:.0f} minutes.",
        "",
        "| check | what it is about |",
        "|---|---|",
        *(f"| {name} | {what} |" for name, what in CHECKS.items()),
        "",
        "A cell has how many checks passed, and what did not. Bounds are in",
        "`loadtest/failing/scenarios.py`. Loads and figures differ a little from run to run.",
        "",
        "| scenario | what happens | " + " | ".join(f"{k.name}{version(k)}" for k in kinds) + " |",
        "|---|---|" + "---|" * len(kinds),
    ]
    for scenario in chosen:
        cells = " | ".join(cell(results[scenario.name][name]) for name in names)
        lines.append(f"| {scenario.name} | {scenario.what} | {cells} |")
    all = [sums([kind], results).split(": ", 1)[1] for kind in kinds]
    lines.append("| **sum** | | " + " | ".join(all) + " |")
    is_good = not worse(results) and not any(
        one.verdict == FAIL for of in results.values() for one in of.get("Odin", [])
    )
    if worse(results):
        print(f"worse than the best of the others: {', '.join(worse(results))}")
    return "\n".join(lines) + "\n", is_good


def write(text):
    PAGE.write_text(text)

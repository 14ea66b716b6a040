"""Tables in Markdown, and the files under results/: JSON and SVG per scenario, one summary."""

import json
import pathlib
import re

from . import plot, targets
from .figures import ratio, ratios, rounds, spread, text, values
from .scenarios import SCENARIOS

NOTES = """## What is not fair

- Odin counts and times every request (its metrics cannot be turned off) and routes by a table;
  Envoy's statistics are off, nginx and HAProxy have none of that kind. This favours the peers.
- Odin always sets five fields on a request (`X-Forwarded-For`, `-Proto`, `-Host`, `X-Request-Id`,
  `CDN-Loop`). The peers are configured to set the first four. `fewer fields` in the first table is what they cost when
  they set `X-Forwarded-For` alone (Envoy also `-Proto`, which it always sets). Envoy sets
  `x-envoy-external-address` besides, unasked.
- Odin is built with a profile of itself where its version above says so (`make pgo`; `odin, without
  PGO` is the release without), the peers are as their packages have them.
- Envoy is built for features that this does not use (filters, HTTP/2, xDS). It pays for them here.
- nginx and HAProxy are Debian's packages, older than their newest releases; Envoy is PyPI's newest.
- The proxy-wasm filter, the same file in Odin and Envoy, reads two headers and sets a constant.
  Odin's own plugins get the whole request head as JSON, parse it, and take the field from their configuration.
- Lua and njs run inside nginx, HAProxy and Envoy without a sandbox that limits memory and time per
  call; Odin's plugins and Envoy's filter are WebAssembly.
- One machine with two cores: the origin and the load generator share one, and in the cheapest cases
  they, not the proxy, set the pace (`busy`: how much of its core the proxy used). Requests per
  second then say little; CPU per request is the figure of record.
- Loopback, no network card: what the kernel does for a packet is cheaper than in production, and
  part of the receivers' share of it is done on the sender's account, for all alike.
- Percentiles are those of a round, and their median over the rounds: what happens in few rounds, a
  neighbour's burst or a stall of the proxy's own, is not in them. `over 5 ms` and `most` are
  of all requests of all rounds.
- At a fixed rate the origin and the generator are one thread, which cannot do two things at once:
  what an answer waits for it counts as latency, for all alike.
- TLS is rustls with aws-lc-rs in Odin, OpenSSL in nginx and HAProxy, BoringSSL in Envoy; all choose
  AES-256 or AES-128 as they do unasked. The client of the handshakes offers X25519 alone.
- HTTP/2 to origins is spoken where gRPC needs it; else all proxies go to the origin by HTTP/1.1.
"""


LATENCIES = {
    "p50": "p50 us", "p90": "p90", "p99": "p99", "p999": "p99.9",
    "lag_p50": "lag p50", "lag_p99": "lag p99",
}


def table(result: dict) -> str:
    base = next(iter(result["contenders"]))
    has_rate = any(values(result, name, "seconds") for name in result["contenders"])
    more = ["req/s", "busy"] if has_rate else []
    latencies = ["p50", "p90", "p99", "p999"]
    is_open = any(values(result, name, "lag_p99") for name in result["contenders"])
    if is_open:
        latencies += ["lag_p50", "lag_p99"]
    tail = ["over 5 ms", "most, ms"] if is_open else []
    has_kib = any(values(result, name, "kib") for name in result["contenders"])
    tail += ["KiB each"] if has_kib else []
    head = [
        "", "CPU us/request (min-max)", f"ratio to {base} (min-max)", *more,
        *(LATENCIES[key] for key in latencies), *tail, "RSS MiB",
    ]
    lines = ["| " + " | ".join(head) + " |", "|" + "---|" * len(head)]
    for name, contender in result["contenders"].items():
        if contender.get("missing") or not any(contender["rounds"]):
            why = contender.get("missing") or contender.get("failed")
            cells = [name, "FAILED" if contender.get("failed") else "-", why or "not sustained"]
            lines.append("| " + " | ".join(cells + [""] * (len(head) - len(cells))) + " |")
            continue
        found = ratios(result, name, base)
        within = f" ({min(found):.2f}-{max(found):.2f})" if found and name != base else ""
        marked = name + " \\*" * bool(contender.get("overwhelmed"))
        cells = [marked, span(result, name, "cpu_us"), text(ratio(result, name, base), 2) + within]
        if has_rate:
            cells += [text(spread(result, name, "rate")[0], 0), busy(result, name)]
        cells += [text(spread(result, name, key)[0], 0) for key in latencies]
        if is_open:
            cells += over_all_rounds(result, name)
        if has_kib:
            cells.append(text(spread(result, name, "kib")[0]))
        cells.append(text(spread(result, name, "rss_mib")[0], 0))
        lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines)


def is_overwhelmed(result: dict | None, name: str) -> bool:
    """Whether it did not keep up in any round."""
    contender = result["contenders"].get(name, {}) if result else {}
    return bool(contender.get("overwhelmed")) and not any(contender["rounds"])


def overwhelmed(results: dict[str, dict]) -> list[str]:
    found = []
    for scenario, result in results.items():
        for name, contender in result["contenders"].items():
            if contender.get("overwhelmed"):
                found.append(
                    f"{scenario}: {name}: the rate was not always sustained; figures are of "
                    f"{sum(map(bool, contender['rounds']))} of {len(contender['rounds'])} rounds"
                )
    return found


def span(result: dict, name: str, key: str) -> str:
    middle, least, most = spread(result, name, key)
    return f"{text(middle)} ({text(least)}-{text(most)})"


def over_all_rounds(result: dict, name: str) -> list[str]:
    """What medians of rounds leave out: the share of all requests that took over 5 ms, and the
    longest."""
    long, requests = (sum(values(result, name, key)) for key in ("long", "requests"))
    return [f"{long / requests:.3%}", text(max(values(result, name, "max")) / 1e3)]


def busy(result: dict, name: str) -> str:
    middle, _, _ = spread(result, name, "busy")
    return "-" if middle != middle else f"{middle:.0%}"


def failures(results: dict[str, dict]) -> list[str]:
    found = []
    for scenario, result in results.items():
        for name, contender in result["contenders"].items():
            if contender.get("failed"):
                found.append(f"{scenario}: {name}: {contender['failed']}")
    return found


def missing(results: dict[str, dict]) -> list[str]:
    found = {}
    for result in results.values():
        for name, contender in result["contenders"].items():
            if contender.get("missing"):
                found[f"{name}: {contender['missing']}"] = None
    return list(found)


def save(name: str, result: dict, folder: pathlib.Path) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / f"{name}.json").write_text(compact(result))
    (folder / f"{name}.svg").write_text(plot.of(result))


def compact(result: dict) -> str:
    """JSON with a line per round."""
    text = json.dumps(result, indent=1, ensure_ascii=False)
    inner = re.compile(r"\{[^{}]*\}|\[[^\[\]{}]*\]")
    joined = inner.sub(lambda found: re.sub(r"\s*\n\s*", " ", found[0]), text)
    return inner.sub(lambda found: re.sub(r"\s*\n\s*", " ", found[0]), joined) + "\n"


def saved(folder: pathlib.Path) -> dict[str, dict]:
    """All results of a folder, in the order of the scenarios."""
    files = {name: folder / f"{name}.json" for name in SCENARIOS}
    return {name: json.loads(path.read_text()) for name, path in files.items() if path.exists()}


def overview(results: dict[str, dict]) -> str:
    """The figures that most will look for, a column per proxy."""
    proxies = ["odin", "nginx", "haproxy", "envoy"]
    rows = [
        ("no plugin: CPU per request, us", "plain", proxies, ["cpu_us"], 1),
        ("no plugin: requests/s on one core", "plain", proxies, ["rate"], 0),
        (
            "with a header plugin (Rust on Wasm, njs, Lua, proxy-wasm): CPU per request, us",
            "header-plugin", ["odin, Rust", "nginx, njs", "haproxy, Lua", "envoy, proxy-wasm"],
            ["cpu_us"], 1,
        ),
        *(
            (f"{rate} requests/s: p50, p99, p99.9 in us", f"open-loop-{rate}", proxies,
             ["p50", "p99", "p999"], 0)
            for rate in ("10k", "20k")
        ),
        ("answers of 16 KiB: CPU per request, us", "answer-16k", proxies, ["cpu_us"], 1),
        ("HTTPS by HTTP/1.1: CPU per request, us", "tls", proxies, ["cpu_us"], 1),
        ("HTTPS by HTTP/2, 16 streams: CPU per request, us", "http2", proxies, ["cpu_us"], 1),
        ("gRPC, unary: CPU per call, us", "grpc", proxies, ["cpu_us"], 1),
        ("TLS handshakes, full: CPU each, us", "handshakes-full", proxies, ["cpu_us"], 0),
        ("TLS handshakes, resumed: CPU each, us", "handshakes-resumed", proxies, ["cpu_us"], 0),
        ("an idle connection of TLS, KiB", "idle-tls", proxies, ["kib"], 1),
        ("64 connections: memory, MiB", "plain", proxies, ["rss_mib"], 0),
    ]
    lines = ["| | Odin | nginx | HAProxy | Envoy |", "|---|---|---|---|---|"]
    for words, scenario, names, keys, digits in rows:
        result = results.get(scenario)
        cells = [
            "not sustained" if is_overwhelmed(result, name) else
            ", ".join(text(spread(result, name, key)[0], digits) for key in keys) for name in names
        ]
        lines.append(f"| {words} | {' | '.join(cells)} |")
    return "\n".join(lines)


def summary(results: dict[str, dict]) -> str:
    parts = [
        "# Load test: results", "",
        "Made by `make loadtest` (`loadtest/README.md` says how to read it). Medians over the "
        "rounds; ratios and differences are taken within a round, then the median. Contenders take "
        "turns, one core for the proxy, the other for origin and load.", "",
        machine(results), overview(results), "", "## Claims", "", targets.table(results), "",
        "That a plain keep-alive request allocates nothing is a test: "
        "`cargo test --test allocations`.", "",
    ]
    for title, found in [
        ("Failures", failures(results)), ("Overwhelmed", overwhelmed(results)),
        ("Left out", missing(results)),
    ]:
        if found:
            parts += [f"## {title}", "", *(f"- {line}" for line in found), ""]
    if "header-plugin" in results:
        parts += ["## What a header plugin adds", "", targets.shares(results["header-plugin"]), ""]
    parts.append(NOTES)
    for name, result in results.items():
        parts += [f"## {result['title']}", ""]
        if result["note"]:
            parts += [result["note"], ""]
        parts += [how_many(result), "", table(result), "", f"![{result['title']}]({name}.svg)", ""]
        if extra := disturbed(result):
            parts += [extra, ""]
    return "\n".join(parts)


def how_many(result: dict) -> str:
    most = max(len(one["rounds"]) for one in result["contenders"].values())
    return f"Rounds: {most} of {result['seconds']} s."


def disturbed(result: dict) -> str:
    """What went on beside the load."""
    lines = []
    for name in result["contenders"]:
        times = [one for one in rounds(result, name) if one and "times" in one]
        if times:
            count = sum(one["times"] for one in times)
            lines.append(
                f"{name}: {count} times in {len(times)} rounds, "
                f"{text(spread(result, name, 'times_ms')[0])} ms each (median)."
            )
    return "\n".join(lines)


def machine(results: dict[str, dict]) -> str:
    """The circumstances, once if they are the same for all."""
    groups: dict[str, list[str]] = {}
    for name, result in results.items():
        groups.setdefault(circumstances(result["about"]), []).append(name)
    lines = []
    for words, names in groups.items():
        which = "" if len(groups) == 1 else f" ({', '.join(names)})"
        lines += [f"- {words}{which}"]
    return "\n".join(lines) + "\n"


def circumstances(about: dict) -> str:
    versions = ", ".join(f"{name} {version}" for name, version in about["versions"].items())
    return (
        f"{about['date']}, commit {about['commit']}, {about['cpu']}, Linux {about['kernel']}, "
        f"{'with' if about['real_time'] else 'without'} a real-time priority; {versions}"
    )

"""Plots as SVG: bars of medians with a line from the least to the most, and latency curves."""

import math
from html import escape

from .figures import NONE, rounds, spread

BAR, GAP, LABEL, WIDTH = 22, 10, 190, 760
COLOURS = {"odin": "#3465a4", "nginx": "#4e9a06", "haproxy": "#c17d11", "envoy": "#a40000"}
OTHERS = "#75507b"


def of(result: dict) -> str:
    curves = {name: curve(result, name) for name in result["contenders"]}
    if result["plot"] == "latency" and any(curves.values()):
        return latencies(result["title"] + ", latency" * ("Latency" not in result["title"]), curves)
    bars_of = {name: spread(result, name, "cpu_us") for name in result["contenders"]}
    return bars(f"{result['title']}: CPU per request, µs", bars_of)


def colour(name: str) -> str:
    return COLOURS.get(name.split(",")[0], OTHERS)


def frame(height: int, title: str, inner: str) -> str:
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{WIDTH}" height="{height}" '
        f'font-family="sans-serif" font-size="13"><rect width="100%" height="100%" fill="#fff"/>'
        f'<text x="16" y="26" font-size="15">{escape(title)}</text>{inner}</svg>\n'
    )


def bars(title: str, values: dict[str, tuple[float, float, float]]) -> str:
    values = {name: value for name, value in values.items() if value != NONE}
    values = {name: value for name, value in values.items() if not math.isnan(value[0])}
    scale = (WIDTH - LABEL - 70) / max([most for _, _, most in values.values()] or [1])
    rows = []
    for index, (name, (middle, least, most)) in enumerate(values.items()):
        top = 44 + index * (BAR + GAP)
        line = top + BAR / 2
        rows.append(
            f'<text x="{LABEL - 8}" y="{line + 4}" text-anchor="end">{escape(name)}</text>'
            f'<rect x="{LABEL}" y="{top}" width="{middle * scale:.1f}" height="{BAR}" '
            f'fill="{colour(name)}"/>'
            f'<path d="M{LABEL + least * scale:.1f} {line}H{LABEL + most * scale:.1f}" '
            f'stroke="#222"/>'
            f'<text x="{LABEL + most * scale + 6:.1f}" y="{line + 4}">{middle:.1f}</text>'
        )
    return frame(54 + len(values) * (BAR + GAP), title, "".join(rows))


def curve(result: dict, name: str) -> list[tuple[float, float]]:
    """Percentile and the median over the rounds of its latency."""
    found: dict[float, list[float]] = {}
    for one in rounds(result, name):
        for percent, latency in (one or {}).get("curve", []):
            found.setdefault(percent, []).append(latency)
    return [(percent, sorted(all)[len(all) // 2]) for percent, all in sorted(found.items())]


def latencies(title: str, curves: dict[str, list[tuple[float, float]]]) -> str:
    """Percentiles by their number of nines, latency by its logarithm."""
    left, right, top, bottom = 70, WIDTH - 130, 50, 330
    curves = {name: points for name, points in curves.items() if points}
    every = [latency for points in curves.values() for _, latency in points]
    low = math.floor(math.log10(min(every)))
    high = max(low + 1, math.ceil(math.log10(max(every))))
    nines_max = 4.0

    def across(percent: float) -> float:
        nines = -math.log10(1 - percent / 100)
        return left + (right - left) * nines / nines_max

    def up(latency: float) -> float:
        return bottom - (bottom - top) * (math.log10(latency) - low) / (high - low)

    parts = []
    for power in range(low, high + 1):
        y = up(10**power)
        step, unit = divmod(power, 3)
        words = f"{10**unit} {('µs', 'ms', 's', 'ks')[step]}"
        parts.append(f'<path d="M{left} {y:.1f}H{right}" stroke="#ddd"/>')
        parts.append(f'<text x="{left - 8}" y="{y + 4:.1f}" text-anchor="end">{words}</text>')
    for percent in (50, 90, 99, 99.9, 99.99):
        x = across(percent)
        parts.append(f'<path d="M{x:.1f} {top}V{bottom}" stroke="#ddd"/>')
        parts.append(f'<text x="{x:.1f}" y="{bottom + 18}" text-anchor="middle">{percent} %</text>')
    ends: list[float] = []
    for name, points in curves.items():
        path = "L".join(f"{across(percent):.1f} {up(latency):.1f}" for percent, latency in points)
        dashes = ' stroke-dasharray="6 3"' if "," in name else ""
        parts.append(f'<path d="M{path}" fill="none" stroke="{colour(name)}" stroke-width="2"'
                     f'{dashes}/>')
        y = up(points[-1][1])
        while any(abs(y - other) < 15 for other in ends):
            y += 15
        ends.append(y)
        parts.append(
            f'<text x="{right + 8}" y="{y + 4:.1f}" fill="{colour(name)}">{escape(name)}</text>'
        )
    return frame(bottom + 34, title, "".join(parts))

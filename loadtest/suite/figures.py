"""Figures of a scenario's rounds: medians, spans, ratios within a round.

A result is {"title", "note", "plot", "seconds", "about", "contenders": {name: {"rounds": [...],
"failed": ..., "missing": ..., "overwhelmed": ...}}}; a round that failed is null, so that
rounds stay paired."""

import math
import statistics

NONE = (math.nan, math.nan, math.nan)


def rounds(result: dict | None, contender: str) -> list:
    if result is None:
        return []
    return result["contenders"].get(contender, {}).get("rounds", [])


def values(result: dict | None, contender: str, key: str) -> list[float]:
    return [one[key] for one in rounds(result, contender) if one and key in one]


def spread(result: dict | None, contender: str, key: str) -> tuple[float, float, float]:
    """Median, least, most."""
    found = values(result, contender, key)
    return (statistics.median(found), min(found), max(found)) if found else NONE


def pairs(result: dict | None, ours: str, theirs: str, key: str) -> list[tuple[float, float]]:
    """The figure of both in each round in which both have one."""
    both = zip(rounds(result, ours), rounds(result, theirs))
    return [(a[key], b[key]) for a, b in both if a and b and key in a and key in b]


def ratios(result: dict | None, ours: str, theirs: str, key: str = "cpu_us") -> list[float]:
    return [a / b for a, b in pairs(result, ours, theirs, key) if b]


def ratio(result: dict | None, ours: str, theirs: str, key: str = "cpu_us") -> float:
    return middle(ratios(result, ours, theirs, key))


def ratios_to_mean(result: dict | None, ours: str, theirs: list[str]) -> list[float]:
    """CPU per request against the mean of what others take in the same round."""
    together = zip(rounds(result, ours), *(rounds(result, name) for name in theirs))
    costs = [[one["cpu_us"] for one in ones] for ones in together if all(ones)]
    return [mine / statistics.mean(others) for mine, *others in costs]


def differences(
    result: dict | None, ours: str, theirs: str, key: str = "cpu_us"
) -> list[float]:
    return [a - b for a, b in pairs(result, ours, theirs, key)]


def difference(result: dict | None, ours: str, theirs: str, key: str = "cpu_us") -> float:
    return middle(differences(result, ours, theirs, key))


def middle(found: list[float]) -> float:
    return statistics.median(found) if found else math.nan


def text(value: float, digits: int = 1) -> str:
    return "-" if math.isnan(value) else f"{value:.{digits}f}"

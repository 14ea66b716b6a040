"""What was seen, and whether it is as it should be."""

import collections
import dataclasses
import statistics

# From the first failure on; what comes later has to be known.
FOUND_SECONDS = 2

PASS, WEAK, FAIL = "pass", "weak", "FAIL"


@dataclasses.dataclass
class Verdict:
    name: str
    verdict: str
    words: str


def judged(name, value, bounds, words):
    """Small is good, unless the second bound is below the first."""
    first, second = bounds
    sign = 1 if second >= first else -1
    verdict = PASS if sign * value <= sign * first else WEAK if sign * value <= sign * second else FAIL
    return Verdict(name, verdict, words)


def percent(part, whole):
    return 100 * part / max(whole, 1)


def judge(rig, expected):
    asked, received = rig.load.asked, rig.received()
    found = rig.failed + FOUND_SECONDS if rig.failed else rig.began
    late = [one for one in asked if found <= one.at < (rig.recovered or rig.ended)]
    verdicts = [twice(received), short(asked)]
    if expected.lost:
        # Where nothing is said to fail, from the beginning.
        lost = [one for one in asked if one.method != "POST" and not one.is_well]
        verdicts.append(judged("lost", len(lost), expected.lost, f"{len(lost)}{reasons(lost)}"))
    if expected.posts:
        posts = [one for one in late if one.method == "POST"]
        lost = [one for one in posts if not one.is_well]
        part = percent(len(lost), len(posts))
        verdicts.append(judged("posts", part, expected.posts, f"{len(lost)}{reasons(lost)}"))
    if expected.sick and rig.failed:
        there = [at for seconds, _, _, at in received
                 if at == 0 and found <= seconds < rig.recovered - 0.1]
        part = percent(len(there), len(late))
        verdicts.append(judged("sick", part, expected.sick, f"{part:.1f} %"))
    if expected.slow and late:
        times = sorted(one.took * 1000 for one in late)
        at = times[int(len(times) * 0.99)]
        verdicts.append(judged("slow", at, expected.slow, f"{at:.0f} ms"))
    if expected.back and rig.failed:
        last = [at for seconds, _, _, at in received if rig.ended - 2 <= seconds < rig.ended]
        part = percent(last.count(0), len(last))
        verdicts.append(judged("back", part, expected.back, f"{part:.0f} %"))
    if expected.asked:
        part = len(received) / max(len(asked), 1)
        verdicts.append(judged("asked", part, expected.asked, f"{part:.2f}"))
    if expected.longest:
        longest = max(one.took * 1000 for one in asked)
        verdicts.append(judged("longest", longest, expected.longest, f"{longest:.0f} ms"))
    return verdicts


def twice(received):
    """A POST that was at two origins, or at one of them twice."""
    seen = collections.Counter(id for _, method, id, _ in received if method == "POST")
    again = sum(1 for count in seen.values() if count > 1)
    return judged("twice", again, (0, 0), f"{again}")


def short(asked):
    """What looked whole to the client and was not."""
    count = sum(1 for one in asked if one.what == "short")
    return judged("short", count, (0, 0), f"{count}")


def reasons(lost):
    counts = collections.Counter(one.what for one in lost).most_common(3)
    return "".join(f"; {count} {what[:60]}" for what, count in counts)


def median_ms(rig):
    return statistics.median(one.took for one in rig.load.asked) * 1000

"""What goes wrong, and what is expected of a gateway then.

A scenario is a function of a rig: it makes an origin fail and lets time go by. Its expectations are
bounds, two for each figure: up to the first it is as it should be, up to the second it is weak."""

import asyncio
import dataclasses
import signal
from collections.abc import Callable

from .dns import Names
from .rig import Options

SICK = 0
WARM_SECONDS = 1
FAILING_SECONDS = 5
AGAIN_SECONDS = 6


@dataclasses.dataclass(frozen=True)
class Expected:
    """Bounds (as it should be, weak). None: nothing is expected."""

    # Repeatable requests (GET, PUT) that were not answered whole, with 200.
    lost: tuple | None = (0, 3)
    # The same of POSTs, from two seconds after the first failure on, in percent of them.
    posts: tuple | None = (0, 3)
    # Requests that reach the sick origin from then on, in percent of all.
    sick: tuple | None = (1, 5)
    # 99 of 100 requests from then on are answered within so many milliseconds.
    slow: tuple | None = (250, 800)
    # When it is well again, its part of the last two seconds, in percent: at least.
    back: tuple | None = (20, 5)
    # Requests at origins for each of the clients'.
    asked: tuple | None = (1.25, 1.5)
    # The longest that a request took, in milliseconds.
    longest: tuple | None = (2500, 5200)


@dataclasses.dataclass(frozen=True)
class Scenario:
    name: str
    what: str
    run: Callable
    options: Options = Options()
    expected: Expected = Expected()


def mode(mode, then="ok"):
    """The origin turns to a mode, and back."""

    async def run(rig):
        await asyncio.sleep(WARM_SECONDS)
        rig.fails()
        await rig.origins[SICK].turn_to(mode)
        await asyncio.sleep(FAILING_SECONDS)
        await rig.origins[SICK].turn_to(then)
        rig.recovers()
        await asyncio.sleep(AGAIN_SECONDS)

    return run


async def killed(rig):
    await asyncio.sleep(WARM_SECONDS)
    rig.fails()
    await rig.origins[SICK].kill()
    await asyncio.sleep(FAILING_SECONDS)
    await rig.origins[SICK].start()
    rig.recovers()
    await asyncio.sleep(AGAIN_SECONDS)


async def stopped(rig):
    await asyncio.sleep(WARM_SECONDS)
    rig.fails()
    rig.origins[SICK].signal(signal.SIGSTOP)
    await asyncio.sleep(FAILING_SECONDS)
    rig.origins[SICK].signal(signal.SIGCONT)
    rig.recovers()
    await asyncio.sleep(AGAIN_SECONDS)


async def restarted(rig):
    """All of its connections end, and it is there again at once."""
    await asyncio.sleep(WARM_SECONDS)
    for _ in range(4):
        await rig.origins[SICK].kill()
        await rig.origins[SICK].start()
        await asyncio.sleep(1)


async def rolling(rig):
    """Each in turn is away for half a second; the last one ends as nginx does."""
    await asyncio.sleep(WARM_SECONDS)
    for origin in rig.origins:
        if origin is rig.origins[2]:
            origin.signal(signal.SIGQUIT)
        else:
            await origin.kill()
        await asyncio.sleep(0.5)
        await origin.start()
        await asyncio.sleep(4)


async def graceful(rig):
    """nginx ends gracefully: it serves what it has, and closes what lies idle."""
    await asyncio.sleep(WARM_SECONDS)
    for _ in range(2):
        rig.origins[2].signal(signal.SIGQUIT)
        await asyncio.sleep(2)
        await rig.origins[2].start()
        await asyncio.sleep(3)


async def flapping(rig):
    await asyncio.sleep(WARM_SECONDS)
    rig.fails()
    for _ in range(5):
        await rig.origins[SICK].turn_to("refuse")
        await asyncio.sleep(0.8)
        await rig.origins[SICK].turn_to("ok")
        await asyncio.sleep(0.4)
    rig.recovers()
    await asyncio.sleep(AGAIN_SECONDS)


async def two_of_three(rig):
    await asyncio.sleep(WARM_SECONDS)
    rig.fails()
    for at in (SICK, 1):
        await rig.origins[at].kill()
    await asyncio.sleep(FAILING_SECONDS)
    for at in (SICK, 1):
        await rig.origins[at].start()
    rig.recovers()
    await asyncio.sleep(AGAIN_SECONDS)


async def all_dead(rig):
    """Clients are told at once, and served when one is back."""
    await asyncio.sleep(WARM_SECONDS)
    for origin in rig.origins:
        await origin.kill()
    await asyncio.sleep(3)
    for origin in rig.origins:
        await origin.start()
    await asyncio.sleep(3)
    rig.fails()
    await asyncio.sleep(2)
    rig.recovers()


async def storm(rig):
    """All answer with 503: to ask again helps nobody."""
    await asyncio.sleep(WARM_SECONDS)
    for at in (0, 1):
        await rig.origins[at].turn_to("503")
    await rig.origins[2].kill()
    await asyncio.sleep(FAILING_SECONDS)
    for at in (0, 1):
        await rig.origins[at].turn_to("ok")
    await rig.origins[2].start()
    await asyncio.sleep(4)
    rig.fails()
    await asyncio.sleep(2)
    rig.recovers()


async def weights(rig):
    """Most goes to the first, then nothing; it is what the file says within a second."""
    await asyncio.sleep(WARM_SECONDS)
    await rig.change([6, 1, 1])
    await asyncio.sleep(3)
    await rig.change([1, 6, 6])
    # What is asked of it now is more than its part.
    await asyncio.sleep(0.5)
    await rig.change([0, 1, 1])
    rig.fails()
    await asyncio.sleep(4)
    await rig.change([1, 1, 1])
    rig.recovers()
    await asyncio.sleep(3)


async def changes(rig):
    """Ten reloads a second or so, with and without a target."""
    await asyncio.sleep(WARM_SECONDS)
    for number in range(20):
        await rig.change([1, 1, number % 2])
        await asyncio.sleep(0.25)
    await rig.change([1, 1, 1])
    await asyncio.sleep(1)


async def reload_while_ejected(rig):
    """The configuration is read again every half second while a target hangs."""
    await asyncio.sleep(WARM_SECONDS)
    rig.fails()
    await rig.origins[SICK].turn_to("hang")
    for _ in range(FAILING_SECONDS * 2):
        await asyncio.sleep(0.5)
        await rig.change()
    await rig.origins[SICK].turn_to("ok")
    rig.recovers()
    await asyncio.sleep(AGAIN_SECONDS)


async def name_moves(rig):
    """The name leads to two of three addresses, then one of them is another's."""
    await asyncio.sleep(WARM_SECONDS + 1)
    rig.names.addresses = [one.address for one in rig.origins[1:]]
    rig.fails()
    await asyncio.sleep(FAILING_SECONDS)
    rig.names.addresses = [one.address for one in rig.origins]
    rig.recovers()
    await asyncio.sleep(AGAIN_SECONDS)


async def names_end(rig):
    """The name server does not answer for a while: the last addresses are as good as ever."""
    await asyncio.sleep(WARM_SECONDS + 1)
    rig.names.is_silent = True
    await asyncio.sleep(FAILING_SECONDS)
    rig.names.is_silent = False
    await asyncio.sleep(2)


PASSIVE = Options(checks=False)
ADAPTIVE = Options(adaptive=True)
NAMED = Options(dns=Names.PORT, checks=False)
# An answer that has begun cannot be asked for again; what counts is that nobody takes it for whole.
BEGUN = dataclasses.replace(Expected(), lost=(12, 40))
NOBODY = Expected(sick=None, back=None)

ALL = [
    Scenario("killed", "SIGKILL, and started again", killed),
    Scenario("killed, no checks", "the same, known by requests alone", killed, PASSIVE),
    Scenario("stopped", "SIGSTOP: connections are made, nothing is answered", stopped),
    Scenario("hangs", "takes requests and never answers, checks neither", mode("hang")),
    Scenario("hangs, no checks", "the same, known by requests alone", mode("hang"), PASSIVE),
    Scenario("swallows SYNs", "nothing answers a connect", mode("swallow"), PASSIVE),
    Scenario("resets", "resets connections in place of answers", mode("reset"), PASSIVE),
    Scenario("closes", "closes connections when they are made", mode("close"), PASSIVE),
    Scenario("503", "answers with 503", mode("503"), PASSIVE),
    Scenario("every third 503", "answers some requests well", mode("third"), PASSIVE,
             Expected(sick=None, posts=(20, 40))),
    Scenario("500", "an application's error is passed on, and not asked for again", mode("500"),
             Options(), Expected(lost=None, posts=None, sick=None, asked=(1.02, 1.1))),
    Scenario("checks fail", "answers requests well and checks with 503", mode("sick")),
    Scenario("80 times slower", "answers after 400 ms in place of 5", mode("slow"), ADAPTIVE,
             Expected(sick=(6, 20), slow=(450, 800))),
    Scenario("half an answer", "ends the connection within an answer with a length", mode("half"),
             PASSIVE, BEGUN),
    Scenario("cut chunks", "ends the connection within a chunked answer", mode("cut"), PASSIVE,
             BEGUN),
    Scenario("stalls", "stops within an answer", mode("stall"), PASSIVE,
             # A third of those of the second that passes until the first is known to stall.
             dataclasses.replace(Expected(), lost=(70, 120))),
    Scenario("garbage", "answers with what is not HTTP", mode("garbage"), PASSIVE),
    Scenario("slow head", "sends its head a byte each 100 ms", mode("drip"), PASSIVE),
    Scenario("unkept", "closes each connection behind its answer, unannounced", mode("unkept"),
             Options(), Expected(sick=None)),
    Scenario("flaps", "away for 0.8 s, there for 0.4 s, five times", flapping, PASSIVE,
             Expected(sick=(20, 40))),
    Scenario("restarted", "killed and there again at once, four times", restarted, PASSIVE, NOBODY),
    Scenario("rolling restart", "each in turn is away for half a second", rolling, Options(),
             NOBODY),
    Scenario("graceful end", "an nginx ends gracefully under load, twice", graceful, PASSIVE,
             NOBODY),
    Scenario("two of three dead", "the third has all of the load", two_of_three),
    Scenario("all dead and back", "nothing is lost from three seconds after they are back on",
             all_dead, Options(), Expected(lost=None, sick=None, back=None)),
    Scenario("storm", "all answer with 503", storm, Options(),
             Expected(lost=None, sick=None, back=None)),
    Scenario("weights change", "by reloads; the first has none at last", weights),
    Scenario("targets come and go", "20 reloads in 5 s, with and without one of them", changes,
             Options(), NOBODY),
    Scenario("reload while ejected", "a reload each half second while one hangs",
             reload_while_ejected, PASSIVE),
    Scenario("name moves", "a name server takes an address away and gives it back", name_moves,
             NAMED),
    Scenario("name server silent", "the last addresses are used", names_end, NAMED, NOBODY),
]

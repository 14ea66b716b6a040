"""What is compared. The first contender of a scenario is what the others are compared with."""

import dataclasses
from collections.abc import Callable

from . import contenders as who
from .contenders import Contender, envoy, envoy_wasm, floor, haproxy, nginx, nginx_lua, odin
from .contenders import odin_chain, odin_constant_guest, odin_filter, odin_header, without_pgo
from .disturbances import looping, reloaded
from .grpc import GRPC_FIELDS, GRPC_MESSAGE, GRPC_PATH
from .loads import H2load, Handshakes, Idle, Oha, OpenLoop, Wrk
from .places import LOAD_CORE, ORIGINS, RUN
from .processes import Process


# With a contender's port, seconds, and the origin.
Load = Callable[[int, float, Process], dict]


@dataclasses.dataclass(frozen=True)
class Scenario:
    title: str
    contenders: dict[str, Contender]
    load: Load
    note: str = ""
    # Instead of `load`, for the contenders that have one of their own.
    loads: dict[str, Load] = dataclasses.field(default_factory=dict)
    # What the plot shows: "cpu" or "latency".
    plot: str = "cpu"
    # Of --seconds, how long a run is. Where the figure is CPU per request, a clock of nanoseconds
    # has it soon; a p99.9 needs tens of thousands of requests.
    share: float = 2 / 3
    # Into how many shorter rounds each is cut. A virtual machine's neighbours come and go within
    # seconds: contenders that take turns sooner meet more of the same. Not under a second, because
    # Odin's sweeps are one a second.
    cuts: int = 1
    # Whether the last of the origin's addresses is late.
    is_slow: bool = False

    def seconds(self, whole: int) -> int:
        return max(1, round(whole * self.share / self.cuts))

    def load_of(self, contender: str) -> Load:
        return self.loads.get(contender, self.load)


FOUR = {"odin": odin(), "nginx": nginx(), "haproxy": haproxy(), "envoy": envoy()}
SECURE = {
    "odin": odin(is_secure=True), "nginx": nginx(is_secure=True),
    "haproxy": haproxy(is_secure=True), "envoy": envoy(is_secure=True),
}
GRPC = {
    "odin": odin(is_secure=True, scheme="h2", is_grpc=True),
    "nginx": nginx(is_secure=True, is_grpc=True),
    "haproxy": haproxy(is_secure=True, is_grpc=True),
    "envoy": envoy(is_secure=True, is_grpc=True),
}
# What watches over an origin: active checks, ejection, and the choice of the less loaded of two.
WATCHED = ", loadBalancing: p2c, healthCheck: { path: /bytes/2, interval: 1s }"
UNWATCHED = ", loadBalancing: round-robin, outlier: off"
FLOORS = {name: floor(way) for name, way in who.FLOOR_WAYS.items()}
OPEN_LOOP_RATES = (10_000, 20_000)
SLOW_MS = 10
WORKERS = {
    "odin, 1 worker": odin(),
    "odin, 2 workers": odin(workers=2, core="0,1"),
    "odin, 2 processes": who.as_processes(("0", "1")),
}
# A ninth or so of what one can do: the load core has a worker on it as well.
RATE_PER_WORKER = 8_000
# Beside reloads and endless loops: a fifth or so of what a worker can do.
DISTURBED_RATE = 10_000


def needing(contender: Contender, *needs) -> Contender:
    return dataclasses.replace(contender, needs=contender.needs + needs)


SCENARIOS: dict[str, Scenario] = {
    "plain": Scenario(
        "No plugin",
        {
            **FOUR,
            **FLOORS,
            "odin, epoll": odin(driver="epoll"),
            "odin, without PGO": without_pgo(odin()),
            "nginx, fewer fields": who.NGINX_FEWER,
            "haproxy, fewer fields": who.HAPROXY_FEWER,
            "envoy, fewer fields": who.ENVOY_FEWER,
        },
        Wrk(),
        "64 connections, 128 bytes of answer. `floor` hands messages on unread, in two ways. "
        "`fewer fields`: with as few fields added to the request as that proxy allows (Odin always "
        "adds five).",
        share=1,
        cuts=3,
    ),
    "header-plugin": Scenario(
        "One plugin that sets a request header",
        {
            "odin": odin(),
            "odin, constant guest": odin_constant_guest(),
            "odin, Rust": odin_header("rust"),
            "odin, Rust, without PGO": without_pgo(odin_header("rust")),
            "odin, C": odin_header("c"),
            "odin, AssemblyScript": odin_header("assemblyscript"),
            "odin, Go": odin_header("go"),
            "nginx": nginx(),
            "nginx, njs": who.nginx_njs(),
            "nginx, Lua": nginx_lua(),
            "haproxy": haproxy(),
            "haproxy, Lua": haproxy(lua=True),
            "envoy": envoy(),
            "envoy, Lua": envoy(who.ENVOY_LUA, sets=who.HEADER),
            "envoy, proxy-wasm": envoy_wasm(),
            "odin, proxy-wasm": odin_filter(),
        },
        Wrk(),
        "Odin's guests get the whole request head as JSON. `constant guest` returns its outcome "
        "without work: what it adds is the gateway's part of a call, what others add beyond it is "
        "the guest's.",
        share=1,
        cuts=3,
    ),
    "chain": Scenario(
        "A chain of Rust header plugins",
        {f"odin, {length} plugins": odin_chain(length) for length in (0, 1, 3, 10)},
        Wrk(),
    ),
    "body-4k": Scenario(
        "A plugin that reads a request body of 4 KB",
        {
            "odin": odin(),
            "odin, Rust": odin_header("rust", body=True),
            "odin, AssemblyScript": odin_header("assemblyscript", body=True),
            "odin, Go": odin_header("go", body=True),
            "nginx": nginx(),
            "nginx, Lua": nginx_lua(body=True),
            "envoy": envoy(),
            "envoy, proxy-wasm": envoy_wasm("body"),
        },
        Wrk(body_bytes=4096),
    ),
    "body-64k": Scenario(
        "A plugin that reads a request body of 64 KB",
        {
            "odin": odin(),
            "odin, Rust": odin_header("rust", body=True),
            "odin, proxy-wasm": odin_filter("body"),
            "odin, proxy-wasm, in pieces": odin_filter("pieces"),
            "nginx": nginx(),
            "nginx, Lua": nginx_lua(body=True),
            "envoy": envoy(),
            "envoy, proxy-wasm": envoy_wasm("body"),
            "envoy, proxy-wasm, in pieces": envoy_wasm("pieces"),
        },
        Wrk(body_bytes=65536),
        "The same filter in Odin and Envoy: it waits for the whole body and reads it, or reads each "
        "piece and lets it go on.",
    ),
    **{
        f"connections-{count}": Scenario(
            f"{count} connection{'s' if count > 1 else ''}", FOUR, Wrk(connections=count)
        )
        for count in (1, 2, 8, 1024)
    },
    "answer-16k": Scenario(
        "Answers of 16 KiB",
        {**FOUR, **FLOORS, "odin, epoll": odin(driver="epoll")},
        Wrk(target="/bytes/16384"),
    ),
    "answer-1m": Scenario(
        "Answers of 1 MiB",
        {**FOUR, **FLOORS, "odin, epoll": odin(driver="epoll")},
        Wrk(connections=16, target="/bytes/1048576"),
        "16 connections.",
    ),
    "new-connections": Scenario(
        "A connection for each request",
        FOUR,
        Wrk(closes=True),
        "The client says `Connection: close`; connections to the origin are kept.",
    ),
    "tls": Scenario(
        "HTTPS, HTTP/1.1",
        {**SECURE, "odin, Rust": odin_header("rust", is_secure=True)},
        Wrk(),
        "64 connections that are kept, TLS 1.3, a certificate of ECDSA (P-256).",
        cuts=2,
    ),
    "http2": Scenario(
        "HTTPS, HTTP/2 with 16 streams a connection",
        {**SECURE, "odin, Rust": odin_header("rust", is_secure=True)},
        H2load(connections=8, streams=16),
        "8 connections; to the origin by HTTP/1.1.",
        cuts=2,
    ),
    "grpc": Scenario(
        "gRPC: unary calls",
        GRPC,
        H2load(8, 16, GRPC_PATH, GRPC_MESSAGE, GRPC_FIELDS),
        "Over TLS with 16 streams on each of 8 connections, to an origin of HTTP/2 in the clear "
        "(nghttpd); 32 bytes each way, a trailer.",
        cuts=2,
    ),
    **{
        f"handshakes-{'resumed' if is_resumed else 'full'}": Scenario(
            f"TLS handshakes, {'resumed' if is_resumed else 'full'}",
            SECURE,
            Handshakes(is_resumed),
            "TLS 1.3, X25519, ECDSA (P-256), one after the other; a request of the tables stands "
            "for a handshake, its connection's begin and end included.",
        )
        for is_resumed in (False, True)
    },
    "idle-tls": Scenario(
        "10 000 idle connections of TLS",
        # HAProxy takes so many only with descriptors for twice as many at least.
        {name: contender for name, contender in SECURE.items() if name != "haproxy"},
        Idle(10_000),
        "`KiB each`: what the process has grown by for each, after one request on it.",
    ),
    "slow-origin": Scenario(
        f"One of three targets is late by {SLOW_MS} ms",
        {
            "odin, p2c": odin(addresses=ORIGINS, service=", loadBalancing: p2c"),
            "odin, least-connections": odin(
                addresses=ORIGINS, service=", loadBalancing: least-connections"
            ),
            "odin, round-robin": odin(addresses=ORIGINS),
            "nginx, least_conn": nginx(balanced="least_conn; "),
            "haproxy, leastconn": haproxy(balanced="balance leastconn"),
            "envoy, least request": envoy(balanced="lb_policy: LEAST_REQUEST"),
        },
        OpenLoop(DISTURBED_RATE),
        f"Open loop at {DISTURBED_RATE} requests/s.",
        plot="latency",
        share=5 / 3,
        cuts=5,
        is_slow=True,
    ),
    "watched": Scenario(
        "Three targets, watched",
        {
            "odin": odin(addresses=ORIGINS, service=UNWATCHED),
            "odin, watched": odin(addresses=ORIGINS, service=WATCHED),
        },
        Wrk(),
        "In turns without checks, and p2c with active checks and ejection.",
        cuts=3,
    ),
    **{
        f"open-loop-{rate // 1000}k": Scenario(
            f"Latency at {rate:,} requests/s".replace(",", " "),
            {**FOUR, **FLOORS},
            OpenLoop(rate),
            "Open loop: a request is timed from when it was to start. `lag`: by how much requests "
            "were sent later than planned, which is how late the generator was and the wait for a "
            "free connection. `over 5 ms` and `most` are of all rounds' requests.",
            plot="latency",
            share=2,
            # 20,000 requests each. If something else has a core for milliseconds, that round's
            # p99.9 is its doing; most rounds this short are free of it.
            cuts=3 * rate // 10_000,
        )
        for rate in OPEN_LOOP_RATES
    },
    "reload": Scenario(
        "A reload every 100 ms",
        {"odin": reloaded(False), "odin, reloaded": reloaded(True)},
        OpenLoop(DISTURBED_RATE),
        f"Open loop at {DISTURBED_RATE} requests/s through a Rust header plugin; the plugin's "
        "configuration is changed by each reload. The control thread shares the worker's core.",
        plot="latency",
        share=5 / 3,
        cuts=5,
    ),
    "endless-loop": Scenario(
        "A plugin that never ends, on another route of the same worker",
        {"odin": looping(False), "odin, looping": looping(True)},
        OpenLoop(DISTURBED_RATE),
        f"Open loop at {DISTURBED_RATE} requests/s; beside it one call of the endless plugin after "
        "the other, each ended after its second.",
        plot="latency",
        share=5 / 3,
        cuts=5,
    ),
    "workers": Scenario(
        "One and two workers",
        {**WORKERS, "nginx, 1 worker": nginx(), "nginx, 2 workers": nginx(workers=2, core="0,1")},
        Wrk(connections=128),
        "Two cores can't show throughput growing: the second worker shares its core with the "
        "origin and the load. They can show what would keep it from growing on more: what workers "
        "cost each other. `2 processes` are two gateways of one worker on the same cores and the "
        "same port, which can't cost each other anything in Odin; two workers of one gateway must "
        "not cost more. Two can't be held against one here: with a worker on its core, the load "
        "is too little for the other one, which sleeps between requests, and that costs (of two "
        "processes, the one beside the load took 16 us at 18,000 requests/s, the other 19 at "
        "25,000; alone, at 71,000, it took 13: two vCPUs of an AMD EPYC). The next table gives "
        "each as much to do.",
        share=5 / 3,
        cuts=5,
    ),
    "workers-at-a-rate": Scenario(
        "One and two workers with as much to do each",
        {**WORKERS, "odin, 1 worker beside the load": odin(core=LOAD_CORE)},
        OpenLoop(2 * RATE_PER_WORKER, 128),
        f"Open loop: {RATE_PER_WORKER} requests/s for each worker, over 64 connections on "
        "average. So rarely woken, a request costs far more than at full load; beside the load, "
        "which keeps the core awake, less. Hence two are held against one at each of the places.",
        loads={
            name: OpenLoop(RATE_PER_WORKER)
            for name in ("odin, 1 worker", "odin, 1 worker beside the load")
        },
        share=1,
        cuts=3,
    ),
    "generators": Scenario(
        "The same by other load generators",
        {
            f"{name}, {generator}": needing(contender, need)
            for generator, need in [("wrk", "wrk"), ("oha", RUN / "oha"), ("h2load", "h2load")]
            for name, contender in [("odin", odin()), ("nginx", nginx())]
        },
        Wrk(),
        "Whether the ratio hangs on the generator. h2load gives no percentiles.",
        loads={
            **{f"{name}, oha": Oha() for name in ("odin", "nginx")},
            **{f"{name}, h2load": H2load() for name in ("odin", "nginx")},
        },
    ),
}

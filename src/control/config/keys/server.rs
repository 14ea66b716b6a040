//! The keys of `server`.

use super::{DURATION, Keys, Kind, LISTEN, LISTENER, NETWORK, key};
use crate::limits;

/// `server`.
pub(in crate::control::config) const SERVER: Keys = Keys {
    allowed: &[
        key(
            "listen",
            Kind::Either(&[
                LISTEN,
                Kind::List(
                    &Kind::Either(&[LISTEN, Kind::Section(&LISTENER)]),
                    1,
                    limits::LISTEN_MAX,
                ),
            ]),
            "One address or a list of them: host:port, [::]:port or unix:/path. Default: \
             127.0.0.1:8080, so that nothing is open to the world by accident; 0.0.0.0:8080 \
             listens on every IPv4 address. An entry may be a map, which says more than where.",
        )
        .form(
            "address, or list of addresses and maps: `host:port` (of a name the first address), \
            `[::]:port` (IPv6 only), `unix:/path`",
        )
        .default("127.0.0.1:8080")
        .otherwise("`$ODIN_LISTEN` if that is set (the image does), else `127.0.0.1:8080`")
        .when("to serve other machines: `0.0.0.0:8080`")
        .example("0.0.0.0:8080"),
        key(
            "workers",
            Kind::Either(&[Kind::Word(&["auto"]), Kind::Integer(1, limits::WORKERS_MAX as i64)]),
            "Worker threads: auto (one for each core that the process may use, no more than its \
             cgroup's cpu.max pays for) or 1 to 1024. Default: auto. Lower it to leave \
             cores to others on the same machine.",
        )
        .form("`auto` or 1 to 1024")
        .default("auto")
        .otherwise(
            "`auto`: one for each usable core, at most the cgroup's quota (`cpu.max`) rounded \
             up",
        )
        .when("to leave cores to others")
        .example("4"),
        key(
            "pinCores",
            Kind::Boolean,
            "Whether each worker is bound to a core of its own. Default: true. Turn it off where \
             another process pins its threads to the same cores.",
        )
        .default("true")
        .when("another process pins its threads to the same cores"),
        key(
            "ioDriver",
            Kind::Word(&["auto", "io_uring", "epoll"]),
            "How workers wait for sockets: auto (io_uring, or epoll where the kernel refuses \
             it), io_uring (or no start) or epoll. Default: auto. What was chosen stands in the \
             log.",
        )
        .default("auto")
        .otherwise("`auto`: io_uring, epoll where that is refused")
        .when("to insist on one, or to compare them"),
        key(
            "nameServers",
            Kind::List(
                &Kind::Shaped(
                    r"^([0-9.]+(:[0-9]{1,5})?|[0-9A-Fa-f:.]+|\[[0-9A-Fa-f:.]+\]:[0-9]{1,5})$",
                ),
                0,
                limits::NAME_SERVERS_MAX,
            ),
            "Who is asked for the names of targets, by address, with a port unless it is 53. \
             Default: the system's resolver.",
        )
        .form("list of addresses, with or without a port, at most 8")
        .otherwise("none: the system's resolver, with `/etc/hosts` and its list of domains")
        .when(
            "targets' names are known to these alone (a service discovery). They are asked for \
             whole names; how long an answer holds is theirs to say, unless `resolve` says it",
        )
        .example("[127.0.0.1:8600]"),
        key(
            "trustedProxies",
            Kind::List(&NETWORK, 0, limits::TRUSTED_PROXIES_MAX),
            "The proxies of yours, by network or address: whom their X-Forwarded-For, Forwarded or \
             PROXY header names is the client, for logs, limits, plugins and targets. Default: \
             none.",
        )
        .form("list of networks (`10.0.0.0/8`) or addresses, at most 256")
        .otherwise("none")
        .when(
            "proxies of yours stand in front: whom they name is the client everywhere, and their \
             `X-Forwarded-Proto` is the scheme",
        )
        .example("[10.0.0.0/8]"),
        key(
            "trustForwarded",
            Kind::Boolean,
            "Whether X-Forwarded-*, Forwarded and X-Real-IP of incoming requests are believed. \
             Default: false, they are taken out, and X-Forwarded-For, -Proto and -Host are set. \
             Set true only if every client reaches Odin through a proxy of yours: \
             X-Forwarded-For is then appended to.",
        )
        .default("false")
        .otherwise(
            "`false`: `X-Forwarded-*`, `Forwarded` and `X-Real-IP` of clients are taken \
            out, and `X-Forwarded-For`, `-Proto` and `-Host` set",
        )
        .when(
            "every client comes through a proxy of yours; `X-Forwarded-For` is then appended \
            to; spellings with `_` (`X_Forwarded_For`) are taken out whatever \
            `underscoresInHeaders` says",
        ),
        key(
            "underscoresInHeaders",
            Kind::Word(&["drop", "keep"]),
            "Headers of clients whose names have a _: drop, because CGI, WSGI, PHP and Rack read \
             X_User as X-User; or keep. Default: drop.",
        )
        .default("drop")
        .otherwise(
            "`drop`: headers of clients whose names have a `_` are dropped, because CGI, \
            WSGI, PHP and Rack read `X_User` as `X-User`",
        )
        .when("clients send such names and no target reads them so"),
        key(
            "encodedSlashes",
            Kind::Word(&["reject", "keep"]),
            "A path with an encoded slash (%2F or %5C): reject = 400; keep = forwarded as it is. \
             Default: reject. Keep it where origins need it (object keys) and no plugin decides by \
             path: origins may decode what plugins saw encoded.",
        )
        .default("reject")
        .otherwise("`reject`: a path with `%2F` or `%5C` gets 400")
        .when(
            "origins need encoded slashes (object keys, project names) and no plugin decides \
            by path: an origin may decode what a plugin saw encoded",
        ),
        key(
            "pathParameters",
            Kind::Word(&["reject", "strip", "keep"]),
            "A path with parameters (/cars;color=red, or %3B), which servlet containers take off \
             before they look for what serves it: reject = 400; strip = taken off, for plugins, \
             routes and targets alike; keep = matched and forwarded as it stands, where no \
             plugin decides by path. Default: reject.",
        )
        .default("reject")
        .otherwise("`reject`: a path with `;` or `%3B` gets 400")
        .when(
            "targets use them (`/cars;color=red`, `;jsessionid=`). `strip`: they are taken \
            off, for plugins, routes and targets alike (`%3B` still gets 400). `keep`: they stay \
            and are matched as they stand, so that `/api/admin;x/users` is not under \
            `/api/admin`: only where no target takes them off and no plugin decides by path",
        ),
        key(
            "nonUtf8Paths",
            Kind::Word(&["reject", "keep"]),
            "A path with escapes that are not UTF-8 (%FF; %C0%AE, which some read as a dot): \
             reject = 400; keep = forwarded as it is. Default: reject.",
        )
        .default("reject")
        .otherwise(
            "`reject`: a path with escapes that are not UTF-8 (`%FF`, overlong ones such \
            as `%C0%AE`) gets 400",
        )
        .when("targets have names in another encoding"),
        key(
            "halfClosedClients",
            Kind::Word(&["abandon", "serve"]),
            "A client that ends its sending (FIN) while its request is served: abandon = it has \
             gone, if the response is not sent within a second; serve = it still gets its \
             response. Serve where clients end their sending after the request (nc, some \
             devices): those that close then look the same, and are missed only when the \
             response is written. Default: abandon. A reset is always noticed.",
        )
        .default("abandon")
        .otherwise(
            "`abandon`: a client that ends its sending (FIN) has gone, also if it had \
            sent a further request before",
        )
        .when(
            "clients end their sending after the request and wait (`nc`, some devices): see \
            [clients that go away](operations.md#clients-that-go-away)",
        ),
        key(
            "serverTiming",
            Kind::Boolean,
            "Whether responses tell what took how long: a Server-Timing field with each plugin, \
             the target and all of it, in milliseconds. Default: false, because it tells clients \
             what runs here.",
        )
        .default("false")
        .when(
            "to see in a browser or with curl what takes how long: \
            [metrics.md](metrics.md#server-timing). It tells clients which plugins run",
        ),
        key("limits", Kind::Section(&LIMITS), "Bounds of sizes and numbers."),
        key("http2", Kind::Section(&HTTP2), "Bounds of HTTP/2 with clients."),
        key("timeouts", Kind::Section(&TIMEOUTS), "Bounds of waiting."),
        key(
            "drainTimeout",
            Kind::Duration(0),
            "How long exchanges in flight may go on after SIGTERM or SIGINT; 0s ends them at \
             once. Default: 15s. Keep it below the time after which systemd or Kubernetes kills \
             the process.",
        )
        .default("15s")
        .when("exchanges take longer than that to end; keep it below the supervisor's kill time"),
        key(
            "upgradeTimeout",
            DURATION,
            "How long the new process of a binary upgrade (SIGUSR2, docs/upgrade.md) may take \
             until it could serve; over it, it is ended and this one goes on. Default: 60s.",
        )
        .default("60s")
        .when("a [binary upgrade](upgrade.md) compiles many large plugins"),
    ],
    later: &[("tls", "write it beside an address: listen: [{address: 0.0.0.0:8443, tls: {...}}]")],
};

/// `server.limits`.
pub(in crate::control::config) const LIMITS: Keys = Keys {
    allowed: &[
        key(
            "headBytesMax",
            Kind::Size(limits::HEAD_BYTES_FLOOR as u64, limits::HEAD_BYTES_CEILING as u64),
            "Bytes of a request or response head, 1KiB to 1MiB. Default: 32KiB. Over it: 431. So \
             many may a plugin's output add to a head.",
        )
        .form("size, 1KiB to 1MiB")
        .default("32KiB")
        .when("clients with large cookies or tokens get 431, or a plugin sets larger ones"),
        key(
            "headFieldsMax",
            Kind::Integer(1, limits::HEAD_FIELDS_CEILING as i64),
            "Fields of a head, 1 to 1000. Default: 100. Over it: 431. So many may a plugin's \
             output add.",
        )
        .form("1 to 1000, of requests (responses: 1000), and of what one plugin adds")
        .default("100")
        .when("as above, or a plugin's output adds too many"),
        key(
            "uriBytesMax",
            Kind::Size(64, limits::HEAD_BYTES_CEILING as u64 - 1),
            "Bytes of a request target, 64 to headBytesMax - 1. Default: 8KiB, or half of \
             headBytesMax if that is less. Over it: 414.",
        )
        .form("size, 64 to `headBytesMax` - 1")
        .default("8KiB")
        .otherwise("`8KiB`, at most half of `headBytesMax`")
        .when("long queries get 414"),
        key(
            "bodyBytesMax",
            Kind::Size(0, limits::BODY_BYTES_CEILING),
            "Bytes of a request body that streams through, 0 to 1TiB. Default: 1GiB. Over it: \
             413.",
        )
        .form("size, 0 to 1TiB")
        .default("1GiB")
        .when("larger uploads get 413; or to refuse large ones"),
        key(
            "bodyRateMin",
            Kind::Size(0, limits::BODY_RATE_CEILING),
            "Bytes per second that a client must send of a request body while it is waited for, \
             0 (any rate) to 1MiB. Default: 100, over timeouts.body (at least 10s). Below it: \
             408.",
        )
        .form("size per second of waiting for a request body, 0 to 1MiB")
        .default("100")
        .when(
            "slower clients are welcome (less; 0: any rate), or are not. A client has \
            `timeouts.body`, at least 10s; waiting uses that up, what it sends earns it again at \
            this rate; 408 when none is left",
        ),
        key(
            "pluginBodyBytesMax",
            Kind::Size(1, limits::PLUGIN_BODY_BYTES_CEILING as u64),
            "Bytes of a body that is collected for plugins, 1 to 256MiB. Default: 1MiB. Each \
             exchange with such a body holds it in memory, and its plugin again. Over it: \
             onBodyTooLarge of the plugin. A body that a plugin makes may be as large.",
        )
        .form("size, 1 to 256MiB")
        .default("1MiB")
        .when("plugins must see, or make, larger bodies; each takes its memory, twice"),
        key(
            "bufferedBytesMax",
            Kind::Size(1, limits::BUFFERED_BYTES_CEILING as u64),
            "Bytes of bodies that each worker holds in memory at once, for plugins and \
             aggregations, pluginBodyBytesMax to 64GiB. Default: 128MiB, at least twice \
             pluginBodyBytesMax. Over it: 503.",
        )
        .form("size, `pluginBodyBytesMax` to 64GiB, each worker")
        .default("128MiB")
        .otherwise("`128MiB`, at least twice `pluginBodyBytesMax`")
        .when(
            "memory is short (less), or many bodies are collected at once (more): over it \
            503 with `Retry-After`",
        )
        .example("256MiB"),
        key(
            "connectionsMax",
            Kind::Integer(1, limits::CONNECTIONS_CEILING as i64),
            "Downstream connections of the whole process, 1 to 1048576; each worker takes its \
             share and closes what is over it. Default: 16384 for each worker. Keep it below \
             half of `ulimit -n`.",
        )
        .form("1 to 1048576, whole process")
        .otherwise("16384 for each worker")
        .when(
            "the hard limit of open files is low (each may need two; a quarter is kept from \
            clients, and a start says what does not fit), or memory is",
        )
        .example("16384"),
        key(
            "clientConnectionsMax",
            Kind::Integer(1, limits::CONNECTIONS_CEILING as i64),
            "Connections that one client may have at once, over all workers, 1 to 1048576. A \
             client is an address, of IPv6 a network of 64 bits; trustedProxies are bounded by \
             nothing. Default: any number. What is over it is closed at once.",
        )
        .form("1 to 1048576, each client")
        .otherwise("any number")
        .when("one client must not take the connections of all")
        .example("100"),
        key(
            "clientConnectionsPerSecond",
            Kind::Integer(1, u16::MAX as i64),
            "New connections of one client in a second, over all workers, 1 to 65535. Default: any \
             number. What is over it is closed at once.",
        )
        .form("1 to 65535, each client")
        .otherwise("any number")
        .when("clients connect anew over and over, which costs handshakes")
        .example("50"),
        key(
            "upstreamConnectionsMax",
            Kind::Integer(1, limits::CONNECTIONS_CEILING as i64),
            "Requests of the whole process that are under way at targets, 1 to 1048576. Default: \
             half of the open files that it may have. Over it they wait as for a full target \
             (services[].limits).",
        )
        .form("1 to 1048576, whole process")
        .otherwise("half of the open files that it may have")
        .when(
            "requests under way at targets, whoever asks (clients, aggregations, plugins); \
            over it they wait as for a full target",
        )
        .example("32768"),
        key(
            "upstreamIdleMax",
            Kind::Integer(0, limits::UPSTREAM_IDLE_CEILING as i64),
            "Idle connections that a worker keeps for one target, 0 to 16384. Default: 128.",
        )
        .form("0 to 16384, per worker and target")
        .default("128")
        .when(
            "targets are short of connections (less), or are connected to anew too often \
            (more)",
        ),
    ],
    later: &[],
};

/// `server.http2`.
pub(in crate::control::config) const HTTP2: Keys = Keys {
    allowed: &[
        key(
            "streamsMax",
            Kind::Integer(1, limits::STREAMS_CEILING as i64),
            "Requests that a client may have under way at once over one connection, 1 to 10000. \
             Default: 128. Those over it are refused so that they can be tried again.",
        )
        .form("1 to 10000, each connection")
        .default("128")
        .when(
            "few clients ask for much at once over one connection, as proxies and clients of \
            gRPC do (more); or memory is short (less). nginx's `http2_max_concurrent_streams`",
        ),
        key(
            "requestsMax",
            Kind::Integer(1, limits::CONNECTION_REQUESTS_MAX as i64),
            "Requests of one connection in all, 1 to 1000000; then it is told to end, and the \
             client connects anew. Default: 1000000.",
        )
        .form("1 to 1000000, each connection")
        .default("1000000")
        .when(
            "connections shall move among gateways or workers (less). nginx's \
            `keepalive_requests`",
        ),
        key(
            "streamWindowBytes",
            Kind::Size(limits::STREAM_WINDOW_BYTES as u64, limits::STREAM_WINDOW_CEILING as u64),
            "Bytes of a request's body that may come before they are used, 65535 to 16MiB, once \
             it is used as it comes; it begins with 65535. Default: 512KiB.",
        )
        .form("size, 65535 to 16MiB")
        .default("512KiB")
        .when("uploads over long ways are slow: as much as the link takes in a round trip"),
        key(
            "connectionWindowBytes",
            Kind::Size(
                limits::STREAM_WINDOW_BYTES as u64,
                limits::CONNECTION_WINDOW_CEILING as u64,
            ),
            "The same of all bodies of a connection together, 65535 to 256MiB. Default: 1MiB. \
             What comes is held within limits.bufferedBytesMax.",
        )
        .form("size, 65535 to 256MiB")
        .default("1MiB")
        .when("many uploads share one connection"),
    ],
    later: &[],
};

/// `server.timeouts`.
pub(in crate::control::config) const TIMEOUTS: Keys = Keys {
    allowed: &[
        key(
            "tlsHandshake",
            DURATION,
            "For a TLS handshake, and for a PROXY header before it. Default: 10s.",
        )
        .form("duration, of the whole handshake, and of a PROXY header before it")
        .default("10s")
        .when("links are very slow"),
        key(
            "head",
            DURATION,
            "For a request head to arrive whole, from its first byte. Default: 10s. Over it: 408.",
        )
        .form("duration, whole request head")
        .default("10s")
        .when("slow clients get 408"),
        key(
            "idle",
            DURATION,
            "For the next request on a kept-alive connection to begin. Default: 75s.",
        )
        .form("duration, until the next request")
        .default("75s")
        .when("less to save connections; more for chatty clients"),
        key(
            "body",
            DURATION,
            "Between two reads or writes of a body that make progress, while that side is waited \
             for. Default: 60s.",
        )
        .form("duration, between two steps of progress of a body, while that side is waited for")
        .default("60s")
        .when("peers pause for longer"),
        key("connect", DURATION, "For a connection to a target. Default: 2s. Over it: 504.")
            .default("2s")
            .when("targets are far away"),
        key(
            "firstByte",
            DURATION,
            "From the end of the request, body included, to the first byte of the response. \
             Default: 30s. Over it: 504.",
        )
        .form("duration, request sent whole to response begun")
        .default("30s")
        .when("targets work for longer before they answer"),
        key(
            "upstreamIdle",
            DURATION,
            "How long an idle connection to a target is kept. Default: 55s. Keep it below the \
             targets' own keep-alive time, so that Odin is the first to close.",
        )
        .default("55s")
        .when("targets close idle connections earlier: stay below their time"),
        key(
            "tunnel",
            DURATION,
            "For a WebSocket, or what else services[].upgrades names, through which nothing passes \
             either way. Default: 1h.",
        )
        .form("duration, of silence of both sides of a WebSocket")
        .default("1h")
        .when("less to save connections; more where peers send no pings"),
    ],
    later: &[],
};

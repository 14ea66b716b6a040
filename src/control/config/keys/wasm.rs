//! The keys of `wasm` and of a plugin.

use super::{DURATION, Keys, Kind, key};
use crate::limits;

const PAGES: Kind = Kind::Integer(1, limits::PLUGIN_MEMORY_PAGES_CEILING as i64);
const INSTANCES: Kind = Kind::Integer(1, limits::PLUGIN_INSTANCES_PROCESS_MAX as i64);

/// `wasm`.
pub(in crate::control::config) const WASM: Keys = Keys {
    allowed: &[
        key("enabled", Kind::Boolean, "Whether plugins run at all. Default: true.")
            .default("true")
            .when("to run without any plugin"),
        key(
            "pluginDir",
            Kind::Path,
            "Where relative plugin paths start; itself relative to the working directory of the \
             process. Default: /etc/odin/plugins.",
        )
        .default("/etc/odin/plugins")
        .when("plugins are elsewhere")
        .example("plugins/dist"),
        key(
            "maxMemoryPages",
            PAGES,
            "Memory of one plugin instance in pages of 64 KiB, 1 to 65536. Default: 100 (6.25 \
             MiB). Raise it when the log says \"failed to allocate memory\".",
        )
        .form("pages of 64 KiB, 1 to 65536")
        .default("100")
        .otherwise("`100` (6.25 MiB)")
        .when("the log says `failed to allocate memory`"),
        key(
            "maxInstances",
            INSTANCES,
            "Instances of each plugin over all workers, 1 to 4096. Default: 10. Raise it for \
             plugins that wait (http_call).",
        )
        .form(
            "1 to 4096, per plugin: each worker gets `maxInstances / workers` of them, \
            rounded down, at least one",
        )
        .default("10")
        .when("plugins wait for others (`http_call`)"),
        key(
            "cacheEnabled",
            Kind::Boolean,
            "Whether compiled plugins are kept on disk, so that the next start is fast. Default: \
             true.",
        )
        .default("true")
        .when("the file system is read-only"),
        key(
            "cacheDir",
            Kind::Path,
            "Where they are kept. Default: a folder of the user that runs Odin. Only that user \
             may be able to write there: the files are machine code.",
        )
        .otherwise("a folder of the user that runs it")
        .when("that user has no folder; only the user may write to it")
        .example("/var/cache/odin"),
        key(
            "timeout",
            DURATION,
            "Wall time of one call for plugins that set none. Default: 5s. A call that takes \
             longer is ended.",
        )
        .form("duration, wall time of one call")
        .default("5s")
        .when("plugins are ended with `plugin execution timeout`"),
        key(
            "plugins",
            Kind::List(&Kind::Section(&PLUGIN), 0, limits::PLUGINS_MAX),
            "The plugins. Default: none.",
        )
        .form("list, at most 256")
        .otherwise("none"),
    ],
    later: &[],
};

/// `wasm.plugins[]`.
pub(in crate::control::config) const PLUGIN: Keys = Keys {
    allowed: &[
        key(
            "name",
            Kind::Name,
            "What it is called: A-Z a-z 0-9 . _ -, up to 128, unique. Required.",
        )
        .required()
        .example("header-injection"),
        key(
            "path",
            Kind::Path,
            "Its file, under pluginDir or absolute; or, with sha256, https://host/x.wasm or \
             oci://registry/repository:tag (docs/modules.md). Required.",
        )
        .form("path, absolute or under `pluginDir`; `https://` or `oci://` with `sha256`")
        .required()
        .example("header-injection.wasm"),
        key(
            "type",
            Kind::Word(&["auth", "ratelimit", "request", "response", "middleware", "aggregation"]),
            "auth, ratelimit, request, response, middleware or aggregation. Default: middleware.",
        )
        .default("middleware")
        .when("it decides the phases and what a failure does"),
        key("enabled", Kind::Boolean, "Whether it runs. Default: true.")
            .default("true")
            .when("to keep an entry without running it"),
        key(
            "priority",
            Kind::Integer(i32::MIN as i64, i32::MAX as i64),
            "Lower runs first, equal ones in the order of the file. Default: 100.",
        )
        .form("whole number of 32 bits")
        .default("100")
        .when("lower runs first; equal ones in the order of the file"),
        key("timeout", DURATION, "Wall time of one call. Default: wasm.timeout.")
            .form("duration, wall time of one call")
            .otherwise("`wasm.timeout`")
            .when("a plugin on a hot path should have a short one")
            .example("1s"),
        key(
            "allowedUrls",
            Kind::List(&Kind::Text, 0, limits::PLUGIN_LIST_MAX),
            "Regular expressions, one of which must match somewhere in the path (unanchored: \
             write ^ and $ where you mean them). Default: none, every path.",
        )
        .form("list of regular expressions, unanchored, over the normalised path")
        .otherwise("every path")
        .when("the plugin is for some paths only")
        .example("[^/api/.*]"),
        key(
            "services",
            Kind::List(&Kind::Name, 0, limits::PLUGIN_LIST_MAX),
            "Names of services. Default: none, every service.",
        )
        .form("list of names of services")
        .otherwise("every service")
        .when("the plugin is for some services only")
        .example("[users-service]"),
        key(
            "config",
            Kind::Either(&[Kind::Anything, Kind::Text]),
            "What the plugin is handed, as JSON; any keys. Default: {}. A value with a variable \
             in it is a string; !!int ${N} makes it a number. A foreign filter (docs/\
             foreign-plugins.md) may have a text, which it is handed as it is.",
        )
        .form("map of anything; a text for a foreign filter")
        .default("{}")
        .when("handed to the plugin as JSON, a text as it is")
        .example("{addHeaders: {X-Gateway: Odin}}"),
        key(
            "failureMode",
            Kind::Word(&["open", "closed"]),
            "What becomes of a request when the plugin fails: open (it goes on without the \
             plugin) or closed (502 or 503). Default: closed for auth, ratelimit, aggregation \
             and foreign filters, else open.",
        )
        .form("`open` (the exchange goes on), `closed` (502 or 503)")
        .otherwise("`closed` for auth, ratelimit, aggregation and foreign filters, else `open`")
        .when("a request must not pass without the plugin")
        .example("closed"),
        key(
            "body",
            Kind::Either(&[Kind::Boolean, Kind::Word(&["whole", "stream", "events"])]),
            "How it is given bodies. false: not at all, they stream past it, the cheapest \
             setting for plugins that only look at headers. whole (or true): in memory, up to \
             server.limits.pluginBodyBytesMax. stream: piece by piece, as they come, and what it \
             passes is sent on before the next piece is read. events: as stream, and of a \
             text/event-stream one event at a time. Default: false for auth and ratelimit, \
             stream for foreign filters, else whole.",
        )
        .form("`false`, `whole` (or `true`), `stream`, `events` ([below](#bodies-in-pieces))")
        .otherwise("`false` for auth and ratelimit, `stream` for foreign filters, else `whole`")
        .when("`false` for plugins that look at heads only; `stream` for long or live bodies")
        .example("stream"),
        key(
            "onBodyTooLarge",
            Kind::Word(&["reject", "pass"]),
            "What becomes of a body over server.limits.pluginBodyBytesMax: reject (413, or 502 \
             for a response) or pass (the plugin doesn't see it). Default: reject.",
        )
        .form("`reject` (413, response 502), `pass` (the plugin doesn't see it)")
        .default("reject")
        .when("large bodies may pass unseen"),
        key(
            "encoding",
            Kind::Word(&["decode", "identity", "raw"]),
            "What becomes of the content coding (gzip, br, zstd, deflate) of a body that it is \
             given. decode: it is given plain bytes, and these go on; a coding that is not known \
             is refused (415, or 502 for a response). identity: whatever is coded is refused. \
             raw: it is given the coded bytes. Of several plugins that read a body the strictest \
             holds. Default: decode.",
        )
        .form("`decode`, `identity`, `raw` ([below](#content-codings))")
        .default("decode")
        .when("what it makes of gzip and the like"),
        key(
            "isolation",
            Kind::Word(&["shared", "request"]),
            "shared (instances are reused) or request (a fresh instance for each, slower, \
             nothing is left behind from one to the next). Default: shared.",
        )
        .default("shared")
        .when("nothing may be left from one request to the next"),
        key(
            "instances",
            INSTANCES,
            "Instances that each worker makes before the plugin serves, 1 to maxInstances. \
             Default: 2, or fewer where maxInstances allows no more.",
        )
        .form("1 to `maxInstances`, per worker, cut to the worker's share of `maxInstances`")
        .otherwise("`2`")
        .when("bursts should find instances ready")
        .example("3"),
        key("maxInstances", INSTANCES, "As wasm.maxInstances, for this plugin. Default: that.")
            .form("1 to 4096, shared out as above")
            .otherwise("`wasm.maxInstances`")
            .when("this plugin waits for others")
            .example("20"),
        key("maxMemoryPages", PAGES, "As wasm.maxMemoryPages, for this plugin. Default: that.")
            .form("pages of 64 KiB, 1 to 65536")
            .otherwise("`wasm.maxMemoryPages`")
            .when("this plugin needs more (Go: 256 for a small one)")
            .example("256"),
        key(
            "sha256",
            Kind::Shaped("^[0-9A-Fa-f]{64}$"),
            "The SHA-256 that its module must have (sha256sum header-injection-rust.wasm). \
             Required for one on another machine. Default: any.",
        )
        .form("64 hexadecimal digits")
        .otherwise("any file; one on another machine needs it")
        .when("only this very file may run")
        .example("'0000000000000000000000000000000000000000000000000000000000000000'"),
        key(
            "nonUtf8",
            Kind::Word(&["reject", "hide", "pass"]),
            "What becomes of values of header fields that are not UTF-8. reject: such a request \
             gets 400, a response 502. hide: the plugin is not told of them. pass: it is given \
             them. Default: reject for Envoy filters (the SDKs of some languages cannot bear \
             them), else pass.",
        )
        .form("`reject` (400, response 502), `hide` (it is not told of them), `pass`")
        .otherwise("`reject` for Envoy filters, else `pass`")
        .when("values of fields that are not UTF-8 may come")
        .example("reject"),
        key(
            "tick",
            DURATION,
            "Time between two calls of the plugin's on_tick, which a plugin of the JSON ABI must \
             export for it. A filter of Envoy sets its period by itself. Default: none.",
        )
        .form("duration, time between two calls of `on_tick`")
        .otherwise("no ticks")
        .when("the plugin does something by itself, such as renewing what it has fetched")
        .example("30s"),
        key(
            "tickOn",
            Kind::Word(&["each", "one"]),
            "Who ticks: each instance of each worker (what every one of them keeps), or one in \
             the process (what is to be done once). Envoy filters too. Default: each.",
        )
        .form("`each` instance of each worker, or `one` in the process")
        .default("each")
        .when("a tick does what must be done once"),
        key(
            "rootId",
            Kind::Text,
            "Which root of its module an Envoy filter is (Envoy's root_id). Default: none.",
        )
        .otherwise("none")
        .when("an Envoy filter's module has several roots")
        .example("main"),
        key(
            "vmId",
            Kind::Text,
            "With whom an Envoy filter shares data and queues (Envoy's vm_id). Default: with all \
             that name none.",
        )
        .otherwise("none")
        .when("with whom an Envoy filter shares data and queues")
        .example("shared"),
        key(
            "vmConfig",
            Kind::Either(&[Kind::Anything, Kind::Text]),
            "What an Envoy filter's start reads (Envoy's vm_config.configuration): a text, or a \
             map as JSON. Default: nothing.",
        )
        .form("text, or map as JSON")
        .otherwise("nothing")
        .when("what an Envoy filter's start reads")
        .example("verbose"),
    ],
    later: &[],
};

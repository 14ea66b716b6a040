//! Decodes `server`, `admin` and `logging`.

use std::net::IpAddr;
use std::time::Duration;

use ipnet::IpNet;

use super::decode::{
    Item, Section, boolean, duration, duration_from, integer, list, path, size, string, word,
};
use super::errors::Errors;
use super::tree::{Node, Value};
use super::{
    AccessLog, Admin, Format, Http2, IoDriver, Level, Limits, Listen, Logging, Secret, Server,
    Timeouts, Workers, keys, listen,
};
use crate::limits;
use crate::route::path::{Parameters, Rules};
use crate::trace::access_log::Field;

/// A name server: an address, and its port unless that is 53.
fn name_server(item: &Item<'_>, errors: &mut Errors) -> Option<std::net::SocketAddr> {
    const PORT: u16 = 53;
    let text = string(item, errors)?;
    let at = text.parse().or_else(|_| text.parse().map(|ip| std::net::SocketAddr::new(ip, PORT)));
    match at {
        Ok(at) if at.port() > 0 => Some(at),
        _ => {
            item.expected(
                errors,
                "the address of a name server, such as 10.0.0.2 or 127.0.0.1:8600",
            );
            None
        }
    }
}

/// `server`; `default` holds where it says nothing.
pub(super) fn server(item: &Item<'_>, default: Server, errors: &mut Errors) -> Option<Server> {
    let map = Section::open(item, &keys::SERVER, errors)?;
    let io_drivers =
        [("auto", IoDriver::Auto), ("io_uring", IoDriver::IoUring), ("epoll", IoDriver::Epoll)];
    Some(Server {
        listen: map.read("listen", errors, listen::listeners).unwrap_or(default.listen),
        workers: map.read("workers", errors, workers).unwrap_or(default.workers),
        pin_cores: map.read("pinCores", errors, boolean).unwrap_or(default.pin_cores),
        io_driver: map
            .read("ioDriver", errors, |item, errors| word(item, &io_drivers, errors))
            .unwrap_or(default.io_driver),
        name_servers: map
            .read("nameServers", errors, |item, errors| {
                list(item, limits::NAME_SERVERS_MAX, errors, name_server)
            })
            .unwrap_or(default.name_servers),
        trusted_proxies: map
            .read("trustedProxies", errors, trusted_proxies)
            .unwrap_or(default.trusted_proxies),
        trust_forwarded: map
            .read("trustForwarded", errors, boolean)
            .unwrap_or(default.trust_forwarded),
        keeps_underscores: map
            .read("underscoresInHeaders", errors, |item, errors| {
                word(item, &[("drop", false), ("keep", true)], errors)
            })
            .unwrap_or(default.keeps_underscores),
        paths: paths(&map, errors),
        keeps_half_closed: map
            .read("halfClosedClients", errors, |item, errors| {
                word(item, &[("abandon", false), ("serve", true)], errors)
            })
            .unwrap_or(default.keeps_half_closed),
        server_timing: map.read("serverTiming", errors, boolean).unwrap_or(default.server_timing),
        limits: map.read("limits", errors, server_limits).unwrap_or(default.limits),
        http2: map.read("http2", errors, http2).unwrap_or(default.http2),
        timeouts: map.read("timeouts", errors, timeouts).unwrap_or(default.timeouts),
        drain_timeout: map
            .read("drainTimeout", errors, |item, errors| {
                duration_from(item, Duration::ZERO, errors)
            })
            .unwrap_or(default.drain_timeout),
        upgrade_timeout: map
            .read("upgradeTimeout", errors, duration)
            .unwrap_or(default.upgrade_timeout),
    })
}

fn trusted_proxies(item: &Item<'_>, errors: &mut Errors) -> Option<Vec<IpNet>> {
    list(item, limits::TRUSTED_PROXIES_MAX, errors, |item, errors| {
        let text = string(item, errors)?;
        let network = text.parse().ok().or_else(|| text.parse::<IpAddr>().ok().map(IpNet::from));
        if network.is_none() {
            item.expected(errors, "a network such as 10.0.0.0/8, or an address");
        }
        network.map(|network: IpNet| network.trunc())
    })
}

fn is_empty_list(node: &Node) -> bool {
    matches!(&node.value, Value::List(items) if items.is_empty())
}

fn workers(item: &Item<'_>, errors: &mut Errors) -> Option<Workers> {
    let max = limits::WORKERS_MAX;
    match &item.node.value {
        Value::Scalar(scalar) if scalar.text == "auto" => Some(Workers::Auto),
        Value::Scalar(scalar) if !scalar.text.starts_with(|c: char| c.is_ascii_digit()) => {
            item.expected(errors, &format!("auto or a whole number from 1 to {max}"));
            None
        }
        _ => integer(item, 1..=max, errors).map(Workers::Count),
    }
}

fn server_limits(item: &Item<'_>, errors: &mut Errors) -> Option<Limits> {
    let map = Section::open(item, &keys::LIMITS, errors)?;
    let default = Limits::default();
    let bytes = |key: &str, min: usize, max: usize, default: usize, errors: &mut Errors| {
        let read =
            map.read(key, errors, |item, errors| size(item, min as u64..=max as u64, errors));
        // Lossless: the bound that it passed is a usize.
        read.map_or(default, |bytes| bytes as usize)
    };
    let (floor, ceiling) = (limits::HEAD_BYTES_FLOOR, limits::HEAD_BYTES_CEILING);
    let head_bytes_max = bytes("headBytesMax", floor, ceiling, default.head_bytes_max, errors);
    // A small head alone is a whole statement: the default target shrinks with it.
    let uri_default = default.uri_bytes_max.min(head_bytes_max / 2);
    let uri_bytes_max = bytes("uriBytesMax", 64, head_bytes_max - 1, uri_default, errors);
    let plugin_body_bytes_max = bytes(
        "pluginBodyBytesMax",
        1,
        limits::PLUGIN_BODY_BYTES_CEILING,
        default.plugin_body_bytes_max,
        errors,
    );
    // One body must fit, and by default two: the request's and the response's.
    let floor = plugin_body_bytes_max;
    let buffered_default = default.buffered_bytes_max.max(2 * floor);
    let ceiling = limits::BUFFERED_BYTES_CEILING;
    let buffered_bytes_max = bytes("bufferedBytesMax", floor, ceiling, buffered_default, errors);
    let number = |key: &str, min: usize, max: usize, errors: &mut Errors| {
        map.read(key, errors, |item, errors| integer(item, min..=max, errors))
    };
    Some(Limits {
        head_bytes_max,
        uri_bytes_max,
        plugin_body_bytes_max,
        buffered_bytes_max,
        head_fields_max: number("headFieldsMax", 1, limits::HEAD_FIELDS_CEILING, errors)
            .unwrap_or(default.head_fields_max),
        connections_max: number("connectionsMax", 1, limits::CONNECTIONS_CEILING, errors),
        client_connections_max: number(
            "clientConnectionsMax",
            1,
            limits::CONNECTIONS_CEILING,
            errors,
        )
        .and_then(|number| u32::try_from(number).ok()),
        client_connections_per_second: number(
            "clientConnectionsPerSecond",
            1,
            usize::from(u16::MAX),
            errors,
        )
        .and_then(|number| u16::try_from(number).ok()),
        upstream_connections_max: number(
            "upstreamConnectionsMax",
            1,
            limits::CONNECTIONS_CEILING,
            errors,
        ),
        upstream_idle_max: number("upstreamIdleMax", 0, limits::UPSTREAM_IDLE_CEILING, errors)
            .unwrap_or(default.upstream_idle_max),
        body_bytes_max: map
            .read("bodyBytesMax", errors, |item, errors| {
                size(item, 0..=limits::BODY_BYTES_CEILING, errors)
            })
            .unwrap_or(default.body_bytes_max),
        body_rate_min: map
            .read("bodyRateMin", errors, |item, errors| {
                size(item, 0..=limits::BODY_RATE_CEILING, errors)
            })
            .unwrap_or(default.body_rate_min),
    })
}

fn http2(item: &Item<'_>, errors: &mut Errors) -> Option<Http2> {
    let map = Section::open(item, &keys::HTTP2, errors)?;
    let default = Http2::default();
    let number = |key: &str, max: usize, default: u32, errors: &mut Errors| {
        let read = map.read(key, errors, |item, errors| integer(item, 1..=max, errors));
        read.and_then(|number| u32::try_from(number).ok()).unwrap_or(default)
    };
    let bytes = |key: &str, max: u32, default: u32, errors: &mut Errors| {
        let range = u64::from(limits::STREAM_WINDOW_BYTES)..=u64::from(max);
        let read = map.read(key, errors, |item, errors| size(item, range, errors));
        read.and_then(|bytes| u32::try_from(bytes).ok()).unwrap_or(default)
    };
    let requests = limits::CONNECTION_REQUESTS_MAX;
    Some(Http2 {
        streams_max: number("streamsMax", limits::STREAMS_CEILING, default.streams_max, errors),
        requests_max: number("requestsMax", requests as usize, default.requests_max, errors),
        stream_window_bytes: bytes(
            "streamWindowBytes",
            limits::STREAM_WINDOW_CEILING,
            default.stream_window_bytes,
            errors,
        ),
        connection_window_bytes: bytes(
            "connectionWindowBytes",
            limits::CONNECTION_WINDOW_CEILING,
            default.connection_window_bytes,
            errors,
        ),
    })
}

/// What a path may have in it, by three keys.
fn paths(map: &Section<'_>, errors: &mut Errors) -> Rules {
    let kept = [("reject", false), ("keep", true)];
    let parameters =
        [("reject", Parameters::Reject), ("strip", Parameters::Strip), ("keep", Parameters::Keep)];
    let mut is_kept = |key: &str| {
        map.read(key, errors, |item, errors| word(item, &kept, errors)).unwrap_or(false)
    };
    Rules {
        keeps_slashes: is_kept("encodedSlashes"),
        keeps_non_utf8: is_kept("nonUtf8Paths"),
        parameters: map
            .read("pathParameters", errors, |item, errors| word(item, &parameters, errors))
            .unwrap_or_default(),
    }
}

fn timeouts(item: &Item<'_>, errors: &mut Errors) -> Option<Timeouts> {
    let map = Section::open(item, &keys::TIMEOUTS, errors)?;
    let default = Timeouts::default();
    let mut read =
        |key: &str, default: Duration| map.read(key, errors, duration).unwrap_or(default);
    Some(Timeouts {
        tls_handshake: read("tlsHandshake", default.tls_handshake),
        head: read("head", default.head),
        idle: read("idle", default.idle),
        body: read("body", default.body),
        connect: read("connect", default.connect),
        first_byte: read("firstByte", default.first_byte),
        upstream_idle: read("upstreamIdle", default.upstream_idle),
        tunnel: read("tunnel", default.tunnel),
    })
}

/// `admin`.
pub(super) fn admin(item: &Item<'_>, errors: &mut Errors) -> Option<Admin> {
    let map = Section::open(item, &keys::ADMIN, errors)?;
    let token = map.read("token", errors, token);
    // A token with an error of its own is not missing too.
    let is_open = match map.get("token") {
        Some(_) => matches!(token, Some(None)),
        None => true,
    };
    let listen = map.read("listen", errors, |item, errors| {
        if matches!(&item.node.value, Value::Scalar(scalar) if scalar.text == "off") {
            return Some(None);
        }
        let (address, tls) = listen::admin(item, errors)?;
        if matches!(address, Listen::Unix(_)) {
            item.expected(errors, "host:port such as 127.0.0.1:8081; it has no unix socket");
            return None;
        }
        if is_open && !address.is_local() {
            item.refuse(
                errors,
                format!(
                    "{address} can be reached from other machines, and there is no admin.token; \
                     set one, or listen on 127.0.0.1"
                ),
            );
        }
        Some(Some((address, tls)))
    });
    let default = Admin::default();
    let (listen, tls) = match listen {
        Some(Some((address, tls))) => (Some(address), tls),
        Some(None) => (None, None),
        None => (default.listen, None),
    };
    Some(Admin { listen, tls, token: token.flatten() })
}

/// A token; `Some(None)` for an empty one, which a variable that may be unset gives. No error
/// shows what was got.
fn token(item: &Item<'_>, errors: &mut Errors) -> Option<Option<Secret>> {
    match &item.node.value {
        Value::Scalar(scalar) if scalar.text.is_empty() && !item.node.is_null() => Some(None),
        Value::Scalar(scalar) if scalar.text.bytes().all(|byte| byte.is_ascii_graphic()) => {
            string(item, errors).map(|text| Some(Secret::new(text)))
        }
        Value::Scalar(_) => {
            item.refuse(errors, "expected printable ASCII without spaces: it travels in a header");
            None
        }
        _ => {
            item.expected(errors, "a text");
            None
        }
    }
}

/// `logging`.
pub(super) fn logging(item: &Item<'_>, errors: &mut Errors) -> Option<Logging> {
    let map = Section::open(item, &keys::LOGGING, errors)?;
    let default = Logging::default();
    let levels = [
        ("off", Level::Off),
        ("error", Level::Error),
        ("warn", Level::Warn),
        ("info", Level::Info),
        ("debug", Level::Debug),
        ("trace", Level::Trace),
    ];
    let formats = [("text", Format::Text), ("json", Format::Json)];
    Some(Logging {
        level: map
            .read("level", errors, |item, errors| word(item, &levels, errors))
            .unwrap_or(default.level),
        format: map
            .read("format", errors, |item, errors| word(item, &formats, errors))
            .unwrap_or(default.format),
        access_log: map.read("accessLog", errors, access_log).unwrap_or(default.access_log),
        access_log_fields: map
            .filled("accessLogFields")
            .and_then(|item| access_log_fields(&item, errors))
            .unwrap_or(default.access_log_fields),
    })
}

fn access_log_fields(item: &Item<'_>, errors: &mut Errors) -> Option<Vec<Field>> {
    let max = Field::ALL.len();
    let fields = list(item, max, errors, |item, errors| word(item, &Field::ALL, errors))?;
    if is_empty_list(item.node) {
        item.expected(errors, "at least one field such as path");
    }
    Some(fields)
}

fn access_log(item: &Item<'_>, errors: &mut Errors) -> Option<AccessLog> {
    let text = path(item, errors)?;
    match text.to_str() {
        Some("off") => Some(AccessLog::Off),
        Some("stdout") => Some(AccessLog::Stdout),
        // A slip such as `stdot` must not make a file.
        Some(name) if !name.contains('/') => {
            item.expected(errors, "off, stdout or a path with a \"/\" in it such as ./access.log");
            None
        }
        _ => Some(AccessLog::File(text)),
    }
}

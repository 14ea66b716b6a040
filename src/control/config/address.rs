//! Addresses as users write them: `host:port`, `[::1]:port`, `unix:/path`, `http://host:port`.
//!
//! Nothing is resolved here: that takes a name server and is done when a snapshot is compiled.

use std::net::{IpAddr, Ipv6Addr};
use std::path::PathBuf;

use super::{Listen, Over, TargetKind};

/// Longest path of a unix socket: `sun_path` holds 108 bytes with the NUL.
const UNIX_PATH_BYTES_MAX: usize = 107;

/// In quotes what YAML would take for a list.
const LISTEN_FORM: &str = "an address such as 127.0.0.1:8080, \"[::]:8080\" or unix:/run/odin.sock";
const TARGET_FORM: &str = "a target such as http://127.0.0.1:9001, https://api.example.com, \
     h2://127.0.0.1:50051, http://srv:_http._tcp.example.com, http://unix:/run/app.sock or \
     builtin:echo";

/// Reads an address to listen on.
///
/// # Errors
/// What an address looks like.
pub(super) fn listen(text: &str) -> Result<Listen, String> {
    if let Some(path) = text.strip_prefix("unix:") {
        return unix_path(path).map(Listen::Unix);
    }
    let port = text.strip_prefix("*:").or_else(|| text.strip_prefix(':'));
    if let Some(port) = port.filter(|port| parse_port(port).is_ok()) {
        return Err(format!(
            "{LISTEN_FORM}; write 0.0.0.0:{port} for every IPv4 address, \"[::]:{port}\" for \
             every IPv6 one"
        ));
    }
    let (host, port) = host_and_port(text).map_err(|why| format!("{LISTEN_FORM}; {why}"))?;
    match port {
        Some(port) => Ok(Listen::Tcp { host, port }),
        None => Err(format!("{LISTEN_FORM}; the port is missing")),
    }
}

/// Reads a target's URL.
///
/// # Errors
/// What a target looks like.
pub(super) fn target(text: &str) -> Result<TargetKind, String> {
    if let Some(name) = text.strip_prefix("builtin:") {
        return match name {
            "echo" => Ok(TargetKind::Echo),
            _ => Err(format!("{TARGET_FORM}; the only builtin is echo")),
        };
    }
    let (is_secure, rest) = match (text.strip_prefix("http://"), text.strip_prefix("https://")) {
        (Some(rest), _) => (false, rest),
        (None, Some(rest)) => (true, rest),
        (None, None) if text.starts_with("h2://") => return http2_target(text),
        (None, None) => return Err(format!("{TARGET_FORM}; write the \"http://\" too")),
    };
    if let Some(path) = rest.strip_prefix("unix:").filter(|_| !is_secure) {
        return unix_path(path).map(TargetKind::Unix);
    }
    if let Some(name) = rest.strip_prefix("srv:") {
        let over = if is_secure { Over::Https } else { Over::Http };
        return srv_target(name, over);
    }
    let (authority, path) = match rest.find(['/', '?', '#']) {
        Some(at) => rest.split_at(at),
        None => (rest, ""),
    };
    if !matches!(path, "" | "/") {
        return Err(format!(
            "{TARGET_FORM}; a target has no path: requests keep theirs, without basePath if \
             stripBasePath is true"
        ));
    }
    if authority.contains('@') {
        return Err(format!("{TARGET_FORM}; a target has no user and password, use headers"));
    }
    let (host, port) = host_and_port(authority).map_err(|why| format!("{TARGET_FORM}; {why}"))?;
    match port {
        Some(0) => Err(format!("{TARGET_FORM}; nothing can be reached on port 0")),
        _ if is_secure => Ok(TargetKind::Https { host, port: port.unwrap_or(443) }),
        _ => Ok(TargetKind::Http { host, port: port.unwrap_or(80) }),
    }
}

/// A target that is spoken to by HTTP/2: its form is that of one of HTTP/1.
fn http2_target(text: &str) -> Result<TargetKind, String> {
    match target(&text.replacen("h2://", "http://", 1))? {
        TargetKind::Http { host, port } => Ok(TargetKind::Http2 { host, port }),
        TargetKind::Srv { name, .. } => Ok(TargetKind::Srv { name, over: Over::Http2 }),
        _ => Err(format!("{TARGET_FORM}; HTTP/2 is not spoken over a unix socket")),
    }
}

/// A name with SRV records (RFC 2782): their targets are the targets.
fn srv_target(name: &str, over: Over) -> Result<TargetKind, String> {
    let name = name.strip_suffix('/').unwrap_or(name);
    let refused = |why: &str| format!("{TARGET_FORM}; {why}");
    if name.contains(':') {
        return Err(refused("SRV records say the port"));
    }
    check_host(name).map_err(|why| refused(&why))?;
    if name.parse::<IpAddr>().is_ok() {
        return Err(refused("an address has no SRV records"));
    }
    Ok(TargetKind::Srv { name: name.to_owned(), over })
}

fn unix_path(path: &str) -> Result<PathBuf, String> {
    if path.is_empty() || path.contains('\0') || path.len() > UNIX_PATH_BYTES_MAX {
        return Err(format!(
            "the path of a unix socket after \"unix:\", 1 to {UNIX_PATH_BYTES_MAX} bytes"
        ));
    }
    Ok(PathBuf::from(path))
}

/// Splits `host`, `host:port`, `[v6]` or `[v6]:port`.
pub(super) fn host_and_port(text: &str) -> Result<(String, Option<u16>), String> {
    if let Some(rest) = text.strip_prefix('[') {
        let (host, rest) = rest.split_once(']').ok_or("\"[\" is never closed")?;
        if host.parse::<Ipv6Addr>().is_err() {
            return Err(format!("{host:?} is not an IPv6 address"));
        }
        let port = match rest.strip_prefix(':') {
            Some(port) => Some(parse_port(port)?),
            None if rest.is_empty() => None,
            None => return Err(format!("{rest:?} stands where \":port\" should")),
        };
        return Ok((host.to_owned(), port));
    }
    if text.parse::<Ipv6Addr>().is_ok() || text.matches(':').count() > 1 {
        return Err("an IPv6 address stands in brackets".to_owned());
    }
    let (host, port) = match text.split_once(':') {
        Some((host, port)) => (host, Some(parse_port(port)?)),
        None => (text, None),
    };
    check_host(host)?;
    Ok((host.to_owned(), port))
}

fn parse_port(text: &str) -> Result<u16, String> {
    let is_number = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    let port = is_number.then(|| text.parse().ok()).flatten();
    port.ok_or_else(|| format!("port {text:?} is not a number from 0 to 65535"))
}

/// A host name (RFC 1123, and the `_` that container networks use) or an IPv4 address.
fn check_host(host: &str) -> Result<(), String> {
    let is_label = |label: &str| {
        (1..=63).contains(&label.len())
            && !label.starts_with('-')
            && !label.ends_with('-')
            && label.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_".contains(&byte))
    };
    let name = host.strip_suffix('.').unwrap_or(host);
    let is_name = name.len() <= 253 && name.split('.').all(is_label);
    let last_label = name.rsplit('.').next().unwrap_or_default();
    let looks_like_ip = last_label.bytes().all(|byte| byte.is_ascii_digit());
    if !is_name || (looks_like_ip && host.parse::<IpAddr>().is_err()) {
        return Err(format!("{host:?} is neither a host name nor an IP address"));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn listen_addresses_print_as_they_are_written() {
        for text in [
            "127.0.0.1:8080",
            "0.0.0.0:0",
            "[::]:8080",
            "[::1]:65535",
            "localhost:80",
            "unix:/run/odin.sock",
            "unix:odin.sock",
        ] {
            assert_eq!(listen(text).unwrap().to_string(), text);
        }
    }

    #[test]
    fn bad_listen_addresses_say_what_to_write() {
        let long = format!("unix:/{}", "x".repeat(107));
        for (text, want) in [
            ("127.0.0.1", "the port is missing"),
            ("8080", "neither a host name nor an IP address"),
            (":8080", "write 0.0.0.0:8080 for every IPv4 address"),
            ("*:8080", "write 0.0.0.0:8080"),
            ("::1:8080", "stands in brackets"),
            ("[::1:8080", "never closed"),
            ("[::1]8080", "should"),
            ("[127.0.0.1]:1", "not an IPv6 address"),
            ("host:65536", "not a number from 0 to 65535"),
            ("host:+80", "not a number"),
            ("host:", "not a number"),
            ("256.0.0.1:80", "neither"),
            ("a b:80", "neither"),
            ("-a:80", "neither"),
            ("unix:", "path of a unix socket"),
            (&long, "107 bytes"),
        ] {
            let error = listen(text).unwrap_err();
            assert!(error.contains(want), "{text}: {error}");
        }
    }

    #[test]
    fn local_addresses_are_known() {
        for (text, want) in [
            ("127.0.0.1:1", true),
            ("127.8.0.1:1", true),
            ("[::1]:1", true),
            ("localhost:1", true),
            ("unix:/a", true),
            ("0.0.0.0:1", false),
            ("[::]:1", false),
            ("10.0.0.1:1", false),
            ("localhost.example:1", false),
        ] {
            assert_eq!(listen(text).unwrap().is_local(), want, "{text}");
        }
    }

    #[test]
    fn targets_are_hosts_sockets_or_the_echo() {
        let http = |host: &str, port| {
            let host = host.to_owned();
            TargetKind::Http { host, port }
        };
        let https = |host: &str, port| {
            let host = host.to_owned();
            TargetKind::Https { host, port }
        };
        for (text, want) in [
            ("http://127.0.0.1:9001", http("127.0.0.1", 9001)),
            ("http://users.internal/", http("users.internal", 80)),
            ("http://user_service:8080", http("user_service", 8080)),
            ("http://[::1]:9001", http("::1", 9001)),
            ("https://a", https("a", 443)),
            ("h2://a:50051", TargetKind::Http2 { host: "a".into(), port: 50051 }),
            ("https://[::1]:8443/", https("::1", 8443)),
            ("http://unix:/run/a.sock", TargetKind::Unix("/run/a.sock".into())),
            ("builtin:echo", TargetKind::Echo),
        ] {
            assert_eq!(target(text).unwrap(), want, "{text}");
        }
        for (text, want) in [
            ("https://unix:/run/a.sock", "a target has no path"),
            ("h2://unix:/run/a.sock", "not spoken over a unix socket"),
            ("ftp://a", "write the \"http://\" too"),
            ("127.0.0.1:9001", "write the \"http://\" too"),
            ("http://a/base", "a target has no path"),
            ("http://a?x", "a target has no path"),
            ("http://u:p@a", "no user and password"),
            ("http://", "neither"),
            ("http://a:0", "port 0"),
            ("builtin:teapot", "the only builtin is echo"),
            ("http://a\r\nX:1", "neither"),
            ("", "http://"),
        ] {
            let error = target(text).unwrap_err();
            assert!(error.contains(want), "{text:?}: {error}");
        }
    }
}

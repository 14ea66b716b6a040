//! URLs as plugins and their configurations write them: read strictly, so that what is compared
//! with the allowed hosts is what is connected to.

pub use crate::http::connection::Scheme;
use crate::limits;

/// A URL in its parts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Url<'t> {
    /// Its scheme.
    pub scheme: Scheme,
    /// The host in lower case, an IPv6 address without its brackets.
    pub host: String,
    /// The port, if one is named.
    pub port: Option<u16>,
    /// The path, at least `/`.
    pub path: &'t str,
    /// The query with its `?`, or nothing.
    pub query: &'t str,
}

impl<'t> Url<'t> {
    /// Reads an absolute `http` or `https` URL. No user information (it would go into logs), no
    /// byte that is not printable ASCII; a fragment is dropped, as by every client.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn parse(text: &'t str) -> Result<Self, String> {
        if text.len() > limits::URI_BYTES_MAX {
            let (got, most) = (text.len(), limits::URI_BYTES_MAX);
            return Err(format!("url is {got} bytes, limit is {most}"));
        }
        let (scheme, rest) = scheme(text).ok_or_else(|| {
            format!("url {text:?} is neither http:// nor https://, with a host behind it")
        })?;
        let end = rest.find(['/', '?', '#']).unwrap_or(rest.len());
        let (authority, target) = rest.split_at(end);
        let target = target.split('#').next().unwrap_or_default();
        if !target.bytes().all(|byte| byte.is_ascii_graphic()) {
            return Err(format!(
                "url {text:?} holds a space or a byte that is not printable ASCII; \
                 percent-encode it"
            ));
        }
        let (host, port) = authority_of(authority).map_err(|why| format!("url {text:?} {why}"))?;
        let (path, query) = target.split_at(target.find('?').unwrap_or(target.len()));
        Ok(Self { scheme, host, port, path: if path.is_empty() { "/" } else { path }, query })
    }
}

fn scheme(text: &str) -> Option<(Scheme, &str)> {
    [Scheme::Http, Scheme::Https].into_iter().find_map(|scheme| {
        let name = scheme.as_str();
        let (have, rest) = text.split_at_checked(name.len())?;
        let rest = rest.strip_prefix("://")?;
        have.eq_ignore_ascii_case(name).then_some((scheme, rest))
    })
}

/// Splits `host`, `host:port`, `[v6]` or `[v6]:port`.
pub(crate) fn authority_of(authority: &str) -> Result<(String, Option<u16>), &'static str> {
    if authority.contains('@') {
        return Err("holds a user or password; put them into a header");
    }
    let (host, rest) = match authority.strip_prefix('[') {
        Some(inner) => {
            let (host, rest) = inner.split_once(']').ok_or("holds a \"[\" without \"]\"")?;
            let address: std::net::Ipv6Addr =
                host.parse().map_err(|_| "holds brackets around what is not an IPv6 address")?;
            (address.to_string(), rest)
        }
        None => {
            let end = authority.find(':').unwrap_or(authority.len());
            let (host, rest) = authority.split_at(end);
            let allowed =
                |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_');
            if host.is_empty() || !host.bytes().all(allowed) {
                return Err("names no host");
            }
            (host.to_ascii_lowercase(), rest)
        }
    };
    let port = match rest.strip_prefix(':') {
        None if rest.is_empty() => None,
        Some("") => None,
        Some(digits) if digits.bytes().all(|byte| byte.is_ascii_digit()) => {
            let port = digits.parse().ok().filter(|&port: &u16| port > 0);
            Some(port.ok_or("names a port outside 1 to 65535")?)
        }
        _ => return Err("holds something behind its host that is not a port"),
    };
    Ok((host, port))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn urls_come_apart_and_odd_ones_are_refused() {
        let url = Url::parse("https://Id.Test:8443/a%20b?c=d#e").unwrap();
        assert_eq!((url.scheme, url.port), (Scheme::Https, Some(8443)));
        assert_eq!((url.host.as_str(), url.path, url.query), ("id.test", "/a%20b", "?c=d"));
        let url = Url::parse("http://[0:0::1]?q").unwrap();
        assert_eq!((url.host.as_str(), url.path, url.query), ("::1", "/", "?q"));
        for bad in [
            "",
            "users-service/a",
            "//users-service/a",
            "ftp://a.test/",
            "http:/a.test",
            "http://",
            "http:///a",
            "http://user@a.test/",
            "http://id.test@evil.test/",
            "http://a.test:x/",
            "http://a.test:0/",
            "http://a.test:65536/",
            "http://a.test:80:80/",
            "http://[::1/",
            "http://[::1]x/",
            "http://[1.2.3.4]/",
            "http://a test/",
            "http://a.test/ b",
            "http://a.test/\r\nX: y",
            "http://a\\b/",
            "http://a.test\\@b/",
            "http://\u{fc}.test/",
            "http://a.test/\u{fc}",
            "http://%61.test/",
        ] {
            assert!(Url::parse(bad).is_err(), "{bad:?}");
        }
    }
}

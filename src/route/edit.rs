//! What a service changes of requests and responses by its configuration alone: header fields, the
//! path, or where the client is to go instead.

use std::borrow::Cow;

use regex::Regex;

use super::table::strip;
use crate::http::message::{Fields, RequestHead};
use crate::limits::REWRITTEN_PATH_BYTES_MAX;

/// Operations on header fields, in this order.
#[derive(Debug, Clone, Default)]
pub struct FieldEdit {
    /// Names that are taken out.
    pub remove: Vec<String>,
    /// What stands in the place of the fields of its names.
    pub set: Fields,
    /// What stands beside them.
    pub add: Fields,
}

impl FieldEdit {
    /// Makes the changes.
    pub fn apply(&self, fields: &mut Fields) {
        self.remove.iter().for_each(|name| fields.remove(name.as_bytes()));
        fields.set_all(&self.set);
        self.add.iter().for_each(|(name, value)| fields.push(name, value));
    }
}

/// `redirect`: where the client is to go instead.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Redirect {
    /// `http` or `https`; `None`: as the client came.
    pub scheme: Option<&'static str>,
    /// The host, with its port if it has one; `None`: the one that was asked.
    pub host: Option<String>,
    /// The path, which takes the place of the whole; `None`: the one that was asked for.
    pub path: Option<String>,
    /// 301, 302, 303, 307 or 308.
    pub status: u16,
}

impl Redirect {
    /// The `Location` for a request that came by this scheme; its query is kept.
    pub fn location(&self, scheme: &str, request: &RequestHead) -> String {
        let path = self.path.as_deref().unwrap_or(&request.path);
        let target = format!("{path}{}", request.query);
        let asked = request.authority.as_str();
        if self.scheme.is_none() && self.host.is_none() || asked.is_empty() && self.host.is_none() {
            // "//host" at its beginning would be one.
            return format!("/{}", target.trim_start_matches('/'));
        }
        let host = match (&self.host, self.scheme) {
            (Some(host), _) => host.as_str(),
            // The port of the other scheme is not the one that was asked.
            (None, Some(other)) if other != scheme => without_port(asked),
            (None, _) => asked,
        };
        format!("{}://{host}{target}", self.scheme.unwrap_or(scheme))
    }
}

fn without_port(authority: &str) -> &str {
    match authority.rsplit_once(':') {
        Some((host, port)) if port.bytes().all(|byte| byte.is_ascii_digit()) => host,
        _ => authority,
    }
}

/// `rewrite`: the path that the target gets.
#[derive(Debug, Clone)]
pub enum Rewrite {
    /// This in the place of the base path; without `/` at its end, unless it is `/`.
    Prefix(String),
    /// What the expression finds is replaced, where it finds something; `$1` is its first group.
    Pattern(Regex, String),
}

impl Rewrite {
    /// The path of a request to a service with this base path.
    pub fn path<'p>(&self, base_path: &str, path: &'p str) -> Cow<'p, str> {
        let rewritten = match self {
            Self::Prefix(prefix) => {
                if !super::table::is_under(path, base_path) {
                    return Cow::Borrowed(path);
                }
                let rest = if base_path == "/" { path } else { strip(path, base_path) };
                match (prefix.as_str(), rest) {
                    ("/", rest) => return Cow::Borrowed(rest),
                    (prefix, "/") if !path.ends_with('/') || base_path == "/" => prefix.to_owned(),
                    (prefix, rest) => format!("{prefix}{rest}"),
                }
            }
            Self::Pattern(pattern, to) => match pattern.replace(path, to.as_str()) {
                Cow::Borrowed(_) => return Cow::Borrowed(path),
                Cow::Owned(rewritten) => rewritten,
            },
        };
        // Nothing else is a path; what is too long would not fit into a head.
        if rewritten.starts_with('/') && rewritten.len() <= REWRITTEN_PATH_BYTES_MAX {
            Cow::Owned(rewritten)
        } else {
            Cow::Borrowed(path)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_prefix_takes_the_place_of_the_base_path() {
        let to = |prefix: &str| Rewrite::Prefix(prefix.to_owned());
        for (base, prefix, path, rewritten) in [
            ("/api", "/v2", "/api", "/v2"),
            ("/api", "/v2", "/api/", "/v2/"),
            ("/api", "/v2", "/api/users/7", "/v2/users/7"),
            ("/api", "/", "/api/users", "/users"),
            ("/api", "/", "/api", "/"),
            ("/", "/v2", "/users", "/v2/users"),
            ("/", "/v2", "/", "/v2"),
            ("/api", "/v2", "/apis", "/apis"),
        ] {
            assert_eq!(to(prefix).path(base, path), rewritten, "{base} {prefix} {path}");
        }
    }

    #[test]
    fn an_expression_replaces_what_it_finds_and_leaves_a_path() {
        let rewrite =
            |pattern: &str, to: &str| Rewrite::Pattern(Regex::new(pattern).unwrap(), to.to_owned());
        let user = rewrite("^/users/([0-9]+)/(.*)$", "/$2/of/$1");
        assert_eq!(user.path("/", "/users/7/orders"), "/orders/of/7");
        assert_eq!(user.path("/", "/else"), "/else");
        assert_eq!(rewrite("^/", "").path("/", "/x"), "/x", "that is no path");
        let long = rewrite("x", &"y".repeat(REWRITTEN_PATH_BYTES_MAX));
        assert_eq!(long.path("/", "/x"), "/x");
    }

    #[test]
    fn a_redirect_says_what_the_client_is_to_ask_for() {
        let request = RequestHead {
            authority: "a.example:8080".to_owned(),
            path: "//x".to_owned(),
            query: "?q=1".to_owned(),
            ..RequestHead::default()
        };
        let none = Redirect { scheme: None, host: None, path: None, status: 302 };
        let to = |redirect: Redirect| redirect.location("http", &request);
        assert_eq!(to(none.clone()), "/x?q=1", "never another host");
        let https = Redirect { scheme: Some("https"), ..none.clone() };
        assert_eq!(to(https), "https://a.example//x?q=1");
        let host = Redirect { host: Some("b.example:1".to_owned()), ..none.clone() };
        assert_eq!(to(host), "http://b.example:1//x?q=1");
        let path = Redirect { path: Some("/new".to_owned()), ..none };
        assert_eq!(to(path), "/new?q=1");
    }

    #[test]
    fn fields_are_removed_set_and_added() {
        let fields = |list: &[(&str, &str)]| {
            let mut fields = Fields::new();
            list.iter().for_each(|(name, value)| fields.push(name.as_bytes(), value.as_bytes()));
            fields
        };
        let edit = FieldEdit {
            remove: vec!["x-gone".to_owned()],
            set: fields(&[("X-One", "new")]),
            add: fields(&[("X-More", "2")]),
        };
        let mut all = fields(&[("X-Gone", "1"), ("x-one", "old"), ("X-More", "1")]);
        edit.apply(&mut all);
        let more: Vec<_> = all.get_all("x-more").collect();
        assert_eq!((all.get("x-one"), all.contains("x-gone")), (Some(&b"new"[..]), false));
        assert_eq!(more, [b"1", b"2"]);
    }
}

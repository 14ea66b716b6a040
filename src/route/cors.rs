//! Which pages of other origins a browser lets read a service's responses (the Fetch standard,
//! section 3.2). Preflights are answered here; what an origin server says of it itself is replaced.

use regex::bytes::Regex;

use crate::http::compression::vary;
use crate::http::message::{Fields, LocalResponse, Method, RequestHead, is_token};
use crate::limits::{CORS_ASKED_BYTES_MAX, ORIGIN_BYTES_MAX};

const ALLOW_ORIGIN: &[u8] = b"Access-Control-Allow-Origin";
const ANY: &str = "*";

/// `services[].cors`. Immutable.
#[derive(Debug, Clone)]
pub struct Cors {
    /// Whose pages.
    pub origins: Vec<Origin>,
    /// What they may send, as a preflight is told.
    pub methods: Names,
    /// Which header fields they may set, beside those that every page may.
    pub headers: Names,
    /// Which header fields of responses they may read, beside those that every page may.
    pub expose: Names,
    /// Whether they may send cookies, and read what comes back.
    pub credentials: bool,
    /// How long a browser may keep a preflight's answer, in seconds.
    pub max_age: Option<u64>,
}

/// One of `origins`.
#[derive(Debug, Clone)]
pub enum Origin {
    /// Every page, without cookies.
    Any,
    /// This one; `null` among them.
    Is(String),
    /// All hosts below one: what stands before the host (`https://`), and from its dot on
    /// (`.example.com:8443`).
    Below(String, String),
    /// Those that an expression fits whole.
    Fits(Regex),
}

/// A list of names as a field's value has it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Names {
    /// `*`.
    Any,
    /// These, separated by commas; may be empty.
    These(String),
}

impl Origin {
    fn is(&self, origin: &[u8]) -> bool {
        match self {
            Self::Any => true,
            Self::Is(one) => one.as_bytes() == origin,
            Self::Below(scheme, rest) => {
                let host = origin.strip_prefix(scheme.as_bytes());
                let host = host.and_then(|host| host.strip_suffix(rest.as_bytes()));
                let is_host = |byte: &u8| byte.is_ascii_alphanumeric() || b".-_".contains(byte);
                host.is_some_and(|host| !host.is_empty() && host.iter().all(is_host))
            }
            Self::Fits(pattern) => origin != b"null" && pattern.is_match(origin),
        }
    }
}

/// Whether a request asks, for a browser, what a page may send.
pub fn is_preflight(request: &RequestHead) -> bool {
    request.method == Method::Options
        && request.fields.contains("origin")
        && request.fields.contains("access-control-request-method")
}

/// The method that a preflight asks for.
pub fn asked_method(request: &RequestHead) -> Option<Method> {
    request.fields.get("access-control-request-method").and_then(Method::from_bytes)
}

impl Cors {
    /// Whether every response is the same, whoever asks.
    fn is_public(&self) -> bool {
        !self.credentials && self.origins.iter().any(|one| matches!(one, Origin::Any))
    }

    /// The `Origin` of a request, if it may read what is answered.
    fn allowed<'r>(&self, request: &'r Fields) -> Option<&'r [u8]> {
        let mut origins = request.get_all("origin");
        let origin = origins.next().filter(|origin| origin.len() <= ORIGIN_BYTES_MAX)?;
        let is_one = origins.next().is_none();
        (is_one && self.origins.iter().any(|one| one.is(origin))).then_some(origin)
    }

    /// What the response to a request with these fields says to its browser: see [`replace`].
    pub fn answer(&self, request: &Fields, answer: &mut Fields) {
        answer.clear();
        if self.is_public() {
            answer.push(ALLOW_ORIGIN, ANY.as_bytes());
        } else {
            answer.push(b"Vary", b"Origin");
            let Some(origin) = self.allowed(request) else {
                return;
            };
            answer.push(ALLOW_ORIGIN, origin);
            if self.credentials {
                answer.push(b"Access-Control-Allow-Credentials", b"true");
            }
        }
        match &self.expose {
            Names::Any => answer.push(b"Access-Control-Expose-Headers", ANY.as_bytes()),
            Names::These(names) if names.is_empty() => {}
            Names::These(names) => {
                answer.push(b"Access-Control-Expose-Headers", names.as_bytes());
            }
        }
    }

    /// The answer to a preflight, beside what [`Self::answer`] says.
    pub fn preflight(&self, request: &Fields) -> LocalResponse {
        let mut local = LocalResponse { status: 204, ..LocalResponse::default() };
        let fields = &mut local.fields;
        fields.push(b"Vary", b"Access-Control-Request-Method, Access-Control-Request-Headers");
        if !self.is_public() && self.allowed(request).is_none() {
            return local;
        }
        let asked = |name: &str| request.get(name).unwrap_or_default().to_vec();
        let listed = [
            (&self.methods, "Access-Control-Allow-Methods", "access-control-request-method"),
            (&self.headers, "Access-Control-Allow-Headers", "access-control-request-headers"),
        ];
        for (names, name, request_name) in listed {
            let value = match names {
                // With cookies a browser takes a `*` for a name.
                Names::Any if self.credentials => listed_tokens(&asked(request_name)),
                Names::Any => ANY.as_bytes().to_vec(),
                Names::These(names) => names.clone().into_bytes(),
            };
            if !value.is_empty() {
                fields.push(name.as_bytes(), &value);
            }
        }
        // `Authorization` is not in a `*`.
        if self.headers == Names::Any && !self.credentials {
            let wanted = asked("access-control-request-headers");
            let mut wanted = wanted.split(|&byte| byte == b',').map(<[u8]>::trim_ascii);
            if wanted.any(|name| name.eq_ignore_ascii_case(b"authorization")) {
                fields.set(b"Access-Control-Allow-Headers", b"*, Authorization");
            }
        }
        if let Some(seconds) = self.max_age {
            fields.push(b"Access-Control-Max-Age", seconds.to_string().as_bytes());
        }
        local
    }
}

/// What of a list of names is one, and not too long.
fn listed_tokens(list: &[u8]) -> Vec<u8> {
    let names = list.split(|&byte| byte == b',').map(<[u8]>::trim_ascii);
    let names: Vec<&[u8]> = names.filter(|name| is_token(name)).collect();
    if list.len() > CORS_ASKED_BYTES_MAX { Vec::new() } else { names.join(&b", "[..]) }
}

/// Puts what [`Cors::answer`] has said in the place of what an origin server or a plugin says of
/// it.
pub fn replace(answer: &Fields, response: &mut Fields) {
    let is_cors = |name: &[u8]| {
        name.get(..15).is_some_and(|start| start.eq_ignore_ascii_case(b"access-control-"))
    };
    if response.any_name([b'a', b'a'], is_cors) {
        response.retain(|name, _| !is_cors(name));
    }
    add(answer, response);
}

/// Adds it to a response that is the gateway's own.
pub fn add(answer: &Fields, response: &mut Fields) {
    for (name, value) in answer.iter() {
        if name == b"Vary" { vary(response, value) } else { response.push(name, value) }
    }
}

#[cfg(test)]
mod tests;

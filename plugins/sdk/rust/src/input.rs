//! What a call brings: where the exchange stands ([`Context`]), and the request, the response or
//! the answers of an aggregation.
//!
//! Everything borrows from the gateway's JSON, and is looked for when a plugin asks for it: most
//! plugins ask for one or two things.

use std::borrow::Cow;
use std::cell::OnceCell;

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use serde::de::DeserializeOwned;

use crate::scan::{Entries, Raw};
use crate::stream::Body;
use crate::{Error, Outcome, Plugin};

/// The whole input of a call.
///
/// The gateway writes `config`, `context` and `input` in this order, and a plugin may need no more of
/// the latter two than the phase: they are not even walked over before they are asked for.
/// Any other order is read too.
pub(crate) struct Envelope<'a> {
    context: Raw<'a>,
    input: Place<'a>,
    pub(crate) config: Raw<'a>,
}

/// Where a message stands.
#[derive(Clone, Copy)]
enum Place<'a> {
    /// Here.
    At(Raw<'a>),
    /// Under the key `input`, behind what these entries are about to take.
    Behind(Entries<'a>),
}

impl<'a> Place<'a> {
    fn raw(self) -> Raw<'a> {
        match self {
            Self::At(raw) => raw,
            Self::Behind(mut entries) => {
                entries.value();
                let found = entries.find(|(name, _)| *name == b"input");
                found.map_or(Raw(b""), |(_, value)| value)
            }
        }
    }
}

impl<'a> Envelope<'a> {
    pub(crate) fn read(text: &'a [u8]) -> Result<Self, Error> {
        let (mut context, mut input, mut config) = (Raw(b""), Raw(b""), None);
        let mut entries = Raw(text.trim_ascii_start()).entries();
        while let Some(name) = entries.key() {
            if let (b"context", Some(config)) = (name, config) {
                let (context, input) = (entries.rest(), Place::Behind(entries));
                return Ok(Self { context, input, config });
            }
            let Some(value) = entries.value() else {
                break;
            };
            match name {
                b"context" => context = value,
                b"input" => input = value,
                b"config" => config = Some(value),
                _ => {}
            }
        }
        match context.is_object() && input.is_object() {
            true => {
                Ok(Self { context, input: Place::At(input), config: config.unwrap_or(Raw(b"{}")) })
            }
            false => Err(Error::new("the input has no context and input objects")),
        }
    }

    /// Whether it is about a response.
    pub(crate) fn is_response(&self) -> bool {
        self.context.get("phase").0 == b"\"response\""
    }

    /// The state of the body of the message that this input is about.
    pub(crate) fn open<B: Body>(self, plugin: &mut B::Plugin) -> Result<Option<B>, Error> {
        let is_response = self.is_response();
        let context = Context::new(self.context);
        let message = Message::new(self.input);
        match is_response {
            true => B::of_response(plugin, &context, &Response::from(message)),
            false => B::of_request(plugin, &context, &Request { message }),
        }
    }

    /// Calls the method of the plugin that this input is for.
    pub(crate) fn dispatch<P: Plugin>(self, plugin: &mut P) -> Result<Outcome, Error> {
        let context = Context::new(self.context);
        let message = Message::new(self.input);
        match context.raw.get("phase").0 {
            b"\"response\"" => plugin.on_response(&context, &Response::from(message)),
            b"\"aggregation\"" => {
                let answers = message.parts().responses.items();
                let answers: Vec<Answer> =
                    answers.map(|raw| Answer { message: Message::new(Place::At(raw)) }).collect();
                plugin.on_answers(&context, &Request { message }, &answers)
            }
            _ => plugin.on_request(&context, &Request { message }),
        }
    }
}

/// Where the exchange stands.
pub struct Context<'a> {
    raw: Raw<'a>,
    parts: OnceCell<ContextParts<'a>>,
}

/// The context's texts, decoded.
#[derive(Default)]
struct ContextParts<'a> {
    request_id: Cow<'a, str>,
    service_id: Cow<'a, str>,
    route_path: Cow<'a, str>,
    timestamp: Cow<'a, str>,
    phase: Cow<'a, str>,
    plugin: Cow<'a, str>,
    client_ip: Cow<'a, str>,
    metadata: Raw<'a>,
}

impl<'a> Context<'a> {
    const fn new(raw: Raw<'a>) -> Self {
        Self { raw, parts: OnceCell::new() }
    }

    fn parts(&self) -> &ContextParts<'a> {
        self.parts.get_or_init(|| {
            let mut parts = ContextParts::default();
            for (name, value) in self.raw.entries() {
                match name {
                    b"requestId" => parts.request_id = value.text(),
                    b"serviceId" => parts.service_id = value.text(),
                    b"routePath" => parts.route_path = value.text(),
                    b"timestamp" => parts.timestamp = value.text(),
                    b"phase" => parts.phase = value.text(),
                    b"plugin" => parts.plugin = value.text(),
                    b"clientIp" => parts.client_ip = value.text(),
                    b"metadata" => parts.metadata = value,
                    _ => {}
                }
            }
            parts
        })
    }

    /// The exchange's identifier, the same in the gateway's log and in `X-Request-Id`.
    pub fn request_id(&self) -> &str {
        &self.parts().request_id
    }

    /// The name of the service that the request was routed to.
    pub fn service_id(&self) -> &str {
        &self.parts().service_id
    }

    /// That service's `basePath`.
    pub fn route_path(&self) -> &str {
        &self.parts().route_path
    }

    /// When the exchange began, RFC 3339 in UTC.
    pub fn timestamp(&self) -> &str {
        &self.parts().timestamp
    }

    /// `request`, `response` or `aggregation`.
    pub fn phase(&self) -> &str {
        &self.parts().phase
    }

    /// The name under which this plugin is configured.
    pub fn plugin(&self) -> &str {
        &self.parts().plugin
    }

    /// The address of the client, without a port.
    pub fn client_ip(&self) -> &str {
        &self.parts().client_ip
    }

    /// What an earlier plugin of this exchange (or this one, in the request phase) left under `key`
    /// with [`Outcome::set_metadata`]; `None` if nothing, or nothing of this type.
    pub fn metadata<T: DeserializeOwned>(&self, key: &str) -> Option<T> {
        let mut entries = self.parts().metadata.entries();
        let (_, value) = entries.find(|(name, _)| decoded(name) == key)?;
        value.parse().ok()
    }
}

/// The JSON object that stands for a request or a response.
struct Message<'a> {
    place: Place<'a>,
    parts: OnceCell<Parts<'a>>,
}

/// A message taken apart. What is not a text for everybody is kept as it is.
#[derive(Default)]
struct Parts<'a> {
    method: Cow<'a, str>,
    url: Cow<'a, str>,
    path: Cow<'a, str>,
    headers: Headers<'a>,
    query: LazyFields<'a>,
    body: Raw<'a>,
    is_base64: bool,
    status: u16,
    request: Raw<'a>,
    responses: Raw<'a>,
    name: Cow<'a, str>,
    service: Cow<'a, str>,
}

impl<'a> Message<'a> {
    const fn new(place: Place<'a>) -> Self {
        Self { place, parts: OnceCell::new() }
    }

    fn parts(&self) -> &Parts<'a> {
        self.parts.get_or_init(|| {
            let mut parts = Parts::default();
            for (name, value) in self.place.raw().entries() {
                match name {
                    b"method" => parts.method = value.text(),
                    b"url" => parts.url = value.text(),
                    b"path" => parts.path = value.text(),
                    b"headers" => parts.headers = Headers(LazyFields::new(value)),
                    b"query" => parts.query = LazyFields::new(value),
                    b"body" => parts.body = value,
                    b"bodyEncoding" => parts.is_base64 = value.0 == b"\"base64\"",
                    b"statusCode" => parts.status = value.parse().unwrap_or_default(),
                    b"request" => parts.request = value,
                    b"responses" => parts.responses = value,
                    b"name" => parts.name = value.text(),
                    b"service" => parts.service = value.text(),
                    _ => {}
                }
            }
            parts
        })
    }

    fn body(&self) -> Result<Cow<'a, [u8]>, Error> {
        let text = self.body_text()?;
        if self.parts().is_base64 {
            let bytes = BASE64_STANDARD.decode(text.as_bytes());
            return bytes
                .map(Cow::Owned)
                .map_err(|cause| Error::new(format!("the body is not base64: {cause}")));
        }
        Ok(match text {
            Cow::Borrowed(text) => Cow::Borrowed(text.as_bytes()),
            Cow::Owned(text) => Cow::Owned(text.into_bytes()),
        })
    }

    fn body_text(&self) -> Result<Cow<'a, str>, Error> {
        match self.parts().body {
            raw if raw.is_null() => Ok(Cow::Borrowed("")),
            raw if raw.0.first() == Some(&b'"') => Ok(raw.text()),
            _ => Err(Error::new("the body is not a string")),
        }
    }

    fn body_str(&self) -> Result<Cow<'a, str>, Error> {
        match self.parts().is_base64 {
            true => Err(Error::new("the body is not UTF-8")),
            false => self.body_text(),
        }
    }

    fn body_json<T: DeserializeOwned>(&self) -> Result<T, Error> {
        Ok(serde_json::from_str(&self.body_str()?)?)
    }
}

/// The request as the client sent it and earlier plugins changed it.
pub struct Request<'a> {
    message: Message<'a>,
}

impl<'a> Request<'a> {
    /// The method, as in `GET`.
    pub fn method(&self) -> &str {
        &self.message.parts().method
    }

    /// The whole URL, with scheme, host, normalised path and query.
    pub fn url(&self) -> &str {
        &self.message.parts().url
    }

    /// The normalised path, without the query.
    pub fn path(&self) -> &str {
        match &*self.message.parts().path {
            "" => path_of(self.url()),
            path => path,
        }
    }

    /// The headers.
    pub fn headers(&self) -> &Headers<'a> {
        &self.message.parts().headers
    }

    /// The first value of a header; its name in any case.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.message.parts().headers.get(name)
    }

    /// The first value of a query parameter, decoded.
    pub fn query(&self, name: &str) -> Option<&str> {
        let (_, values) = self.message.parts().query.get().iter().find(|(key, _)| key == name)?;
        values.first()
    }

    /// The body's bytes; empty if there is none or this type of plugin is not given it.
    ///
    /// # Errors
    /// A `body` that is no string, or no base64 where it says so.
    pub fn body(&self) -> Result<Cow<'a, [u8]>, Error> {
        self.message.body()
    }

    /// The body as text.
    ///
    /// # Errors
    /// A body that is not UTF-8.
    pub fn body_str(&self) -> Result<Cow<'a, str>, Error> {
        self.message.body_str()
    }

    /// The body read as JSON.
    ///
    /// # Errors
    /// A body that is not JSON, or JSON of another shape than `T`.
    pub fn body_json<T: DeserializeOwned>(&self) -> Result<T, Error> {
        self.message.body_json()
    }
}

/// The path of a URL, for inputs that do not name it. A scheme is what stands before the first `/`,
/// `?` or `#`: a `://` behind that is the client's, and must not move where the path begins.
pub(crate) fn path_of(url: &str) -> &str {
    let end = |text: &str| text.find(['/', '?', '#']).unwrap_or(text.len());
    let (scheme, rest) = url.split_at(end(url));
    let path = match rest.strip_prefix("//") {
        Some(rest) if scheme.len() > 1 && scheme.ends_with(':') => &rest[end(rest)..],
        _ => url,
    };
    &path[..path.find(['?', '#']).unwrap_or(path.len())]
}

/// The response as the service sent it and earlier plugins changed it, with the request's head.
pub struct Response<'a> {
    message: Message<'a>,
    request: OnceCell<Request<'a>>,
}

impl<'a> From<Message<'a>> for Response<'a> {
    fn from(message: Message<'a>) -> Self {
        Self { message, request: OnceCell::new() }
    }
}

impl<'a> Response<'a> {
    /// The status, as in 200.
    pub fn status(&self) -> u16 {
        self.message.parts().status
    }

    /// The headers.
    pub fn headers(&self) -> &Headers<'a> {
        &self.message.parts().headers
    }

    /// The first value of a header; its name in any case.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.message.parts().headers.get(name)
    }

    /// The request that this answers: its head, without a body.
    pub fn request(&self) -> &Request<'a> {
        self.request.get_or_init(|| {
            let place = match self.message.parts().request {
                raw if raw.is_object() => Place::At(raw),
                // Its method and URL stand beside the response's own parts as well.
                _ => self.message.place,
            };
            Request { message: Message::new(place) }
        })
    }

    /// The body's bytes; see [`Request::body`].
    ///
    /// # Errors
    /// As [`Request::body`].
    pub fn body(&self) -> Result<Cow<'a, [u8]>, Error> {
        self.message.body()
    }

    /// The body as text.
    ///
    /// # Errors
    /// A body that is not UTF-8.
    pub fn body_str(&self) -> Result<Cow<'a, str>, Error> {
        self.message.body_str()
    }

    /// The body read as JSON.
    ///
    /// # Errors
    /// A body that is not JSON, or JSON of another shape than `T`.
    pub fn body_json<T: DeserializeOwned>(&self) -> Result<T, Error> {
        self.message.body_json()
    }
}

/// One service's answer to a call of an aggregation.
pub struct Answer<'a> {
    message: Message<'a>,
}

impl<'a> Answer<'a> {
    /// The name of the call in `aggregation.calls`.
    pub fn name(&self) -> &str {
        &self.message.parts().name
    }

    /// The service that was asked.
    pub fn service(&self) -> &str {
        &self.message.parts().service
    }

    /// Its status; 0 if it could not be reached.
    pub fn status(&self) -> u16 {
        self.message.parts().status
    }

    /// Its headers.
    pub fn headers(&self) -> &Headers<'a> {
        &self.message.parts().headers
    }

    /// The body's bytes; see [`Request::body`].
    ///
    /// # Errors
    /// As [`Request::body`].
    pub fn body(&self) -> Result<Cow<'a, [u8]>, Error> {
        self.message.body()
    }

    /// The body read as JSON.
    ///
    /// # Errors
    /// A body that is not JSON, or JSON of another shape than `T`.
    pub fn body_json<T: DeserializeOwned>(&self) -> Result<T, Error> {
        self.message.body_json()
    }
}

/// Headers: each name with all its values, names as the sender spelled them.
#[derive(Default)]
pub struct Headers<'a>(LazyFields<'a>);

impl Headers<'_> {
    /// The first value of a header; its name in any case.
    pub fn get(&self, name: &str) -> Option<&str> {
        let mut named = self.0.get().iter().filter(|(key, _)| key.eq_ignore_ascii_case(name));
        named.find_map(|(_, values)| values.first())
    }

    /// All values of a header, in their order; its name in any case.
    pub fn get_all<'n>(&'n self, name: &'n str) -> impl Iterator<Item = &'n str> {
        let fields = self.0.get().iter();
        fields.filter(move |(key, _)| key.eq_ignore_ascii_case(name)).flat_map(|(_, v)| v.iter())
    }

    /// Every name and value.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &str)> {
        let fields = self.0.get().iter();
        fields.flat_map(|(name, values)| values.iter().map(move |value| (&**name, value)))
    }
}

/// `{name: [values]}`, taken apart when first looked at.
#[derive(Default)]
struct LazyFields<'a> {
    raw: Raw<'a>,
    fields: OnceCell<Vec<(Cow<'a, str>, Values<'a>)>>,
}

impl<'a> LazyFields<'a> {
    const fn new(raw: Raw<'a>) -> Self {
        Self { raw, fields: OnceCell::new() }
    }

    fn get(&self) -> &[(Cow<'a, str>, Values<'a>)] {
        self.fields.get_or_init(|| {
            let mut fields = Vec::with_capacity(16);
            for (name, values) in self.raw.entries() {
                fields.push((decoded(name), Values::read(values)));
            }
            fields
        })
    }
}

/// The text of a key that stands between quotes.
fn decoded(name: &[u8]) -> Cow<'_, str> {
    if name.contains(&b'\\') {
        let quoted = [b"\"", name, b"\""].concat();
        return Cow::Owned(Raw(&quoted).text().into_owned());
    }
    String::from_utf8_lossy(name)
}

/// The values of one header. One is the rule, and costs no allocation.
enum Values<'a> {
    One(Cow<'a, str>),
    Several(Vec<Cow<'a, str>>),
}

impl<'a> Values<'a> {
    fn read(raw: Raw<'a>) -> Self {
        let mut items = raw.items();
        match (items.next(), items.next()) {
            (Some(one), None) => Self::One(one.text()),
            (first, second) => {
                let all = first.into_iter().chain(second).chain(items);
                Self::Several(all.map(Raw::text).collect())
            }
        }
    }

    fn iter(&self) -> impl Iterator<Item = &str> {
        let values = match self {
            Self::One(value) => std::slice::from_ref(value),
            Self::Several(values) => values,
        };
        values.iter().map(|value| &**value)
    }

    fn first(&self) -> Option<&str> {
        self.iter().next()
    }
}

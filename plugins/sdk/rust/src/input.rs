//! What a call brings: where the exchange stands ([`Context`]), and the request, the response or
//! the answers of an aggregation.
//!
//! Everything borrows from the gateway's JSON. Headers, query, metadata and bodies are kept as the
//! text that came and read when a plugin asks for them, because most plugins ask for one or two.

use std::borrow::Cow;
use std::cell::OnceCell;
use std::fmt;

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use serde::de::{DeserializeOwned, MapAccess, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer};
use serde_json::value::RawValue;

use crate::{Error, Outcome, Plugin};

/// The whole input of a call.
#[derive(Deserialize)]
pub(crate) struct Envelope<'a> {
    #[serde(borrow)]
    context: Context<'a>,
    #[serde(borrow)]
    input: Message<'a>,
    #[serde(borrow, default)]
    pub(crate) config: Option<&'a RawValue>,
}

impl Envelope<'_> {
    /// Calls the method of the plugin that this input is for.
    pub(crate) fn dispatch<P: Plugin>(self, plugin: &mut P) -> Result<Outcome, Error> {
        let Self { context, mut input, .. } = self;
        if let Some(answers) = input.responses.take() {
            let request = Request { message: input.request_or_self() };
            let answers: Vec<Answer> = answers.into_iter().map(Answer::from).collect();
            plugin.on_answers(&context, &request, &answers)
        } else if context.phase() == "response" {
            plugin.on_response(&context, &Response::from(input))
        } else {
            plugin.on_request(&context, &Request { message: input })
        }
    }
}

/// Where the exchange stands.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Context<'a> {
    #[serde(borrow)]
    request_id: Cow<'a, str>,
    #[serde(borrow)]
    service_id: Cow<'a, str>,
    #[serde(borrow)]
    route_path: Cow<'a, str>,
    #[serde(borrow)]
    timestamp: Cow<'a, str>,
    #[serde(borrow)]
    phase: Cow<'a, str>,
    #[serde(borrow)]
    plugin: Cow<'a, str>,
    #[serde(borrow)]
    client_ip: Cow<'a, str>,
    #[serde(borrow)]
    metadata: Option<&'a RawValue>,
}

impl Default for Context<'_> {
    fn default() -> Self {
        let empty = Cow::Borrowed("");
        Self {
            request_id: empty.clone(),
            service_id: empty.clone(),
            route_path: empty.clone(),
            timestamp: empty.clone(),
            phase: empty.clone(),
            plugin: empty.clone(),
            client_ip: empty,
            metadata: None,
        }
    }
}

impl Context<'_> {
    /// The exchange's identifier, the same in the gateway's log and in `X-Request-Id`.
    pub fn request_id(&self) -> &str {
        &self.request_id
    }

    /// The name of the service that the request was routed to.
    pub fn service_id(&self) -> &str {
        &self.service_id
    }

    /// That service's `basePath`.
    pub fn route_path(&self) -> &str {
        &self.route_path
    }

    /// When the exchange began, RFC 3339 in UTC.
    pub fn timestamp(&self) -> &str {
        &self.timestamp
    }

    /// `request` or `response`.
    pub fn phase(&self) -> &str {
        &self.phase
    }

    /// The name under which this plugin is configured.
    pub fn plugin(&self) -> &str {
        &self.plugin
    }

    /// The address of the client, without a port.
    pub fn client_ip(&self) -> &str {
        &self.client_ip
    }

    /// What an earlier plugin of this exchange (or this one, in the request phase) left under `key`
    /// with [`Outcome::set_metadata`]; `None` if nothing, or nothing of this type.
    pub fn metadata<T: DeserializeOwned>(&self, key: &str) -> Option<T> {
        let entries: Fields<&RawValue> = serde_json::from_str(self.metadata?.get()).ok()?;
        let (_, value) = entries.0.into_iter().find(|(name, _)| name.0 == key)?;
        serde_json::from_str(value.get()).ok()
    }
}

/// The JSON object that stands for a request or a response.
#[derive(Deserialize, Default)]
#[serde(rename_all = "camelCase", default)]
struct Message<'a> {
    #[serde(borrow)]
    method: Text<'a>,
    #[serde(borrow)]
    url: Text<'a>,
    #[serde(borrow)]
    headers: Headers<'a>,
    #[serde(borrow)]
    query: Query<'a>,
    #[serde(borrow)]
    body: Option<&'a RawValue>,
    #[serde(borrow)]
    body_encoding: Text<'a>,
    status_code: u16,
    #[serde(borrow)]
    request: Option<Box<Message<'a>>>,
    #[serde(borrow)]
    responses: Option<Vec<Message<'a>>>,
    #[serde(borrow)]
    name: Text<'a>,
    #[serde(borrow)]
    service: Text<'a>,
}

impl<'a> Message<'a> {
    /// The request that this message is about: itself in the request phase, else the one that came
    /// with it.
    fn request_or_self(self) -> Self {
        match self.request {
            Some(request) => *request,
            None => self,
        }
    }

    fn body(&self) -> Result<Cow<'a, [u8]>, Error> {
        let text = self.body_text()?;
        if self.body_encoding.0 != "base64" {
            return Ok(match text {
                Cow::Borrowed(text) => Cow::Borrowed(text.as_bytes()),
                Cow::Owned(text) => Cow::Owned(text.into_bytes()),
            });
        }
        let bytes = BASE64_STANDARD.decode(text.as_bytes());
        bytes.map(Cow::Owned).map_err(|cause| Error::new(format!("body is not base64: {cause}")))
    }

    fn body_text(&self) -> Result<Cow<'a, str>, Error> {
        match self.body {
            Some(raw) if raw.get() != "null" => {
                let text: Text<'a> = serde_json::from_str(raw.get())?;
                Ok(text.0)
            }
            _ => Ok(Cow::Borrowed("")),
        }
    }

    fn body_str(&self) -> Result<Cow<'a, str>, Error> {
        if self.body_encoding.0 == "base64" {
            return Err(Error::new("body is not UTF-8"));
        }
        self.body_text()
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
        &self.message.method.0
    }

    /// The whole URL, with scheme, host, normalised path and query.
    pub fn url(&self) -> &str {
        &self.message.url.0
    }

    /// The path of [`Request::url`], without the query.
    pub fn path(&self) -> &str {
        let url = self.url();
        let after_scheme = url.find("://").map_or(0, |at| at + 3);
        let path_from = url[after_scheme..].find('/').map_or(url.len(), |at| after_scheme + at);
        let path = &url[path_from..];
        &path[..path.find(['?', '#']).unwrap_or(path.len())]
    }

    /// The headers.
    pub fn headers(&self) -> &Headers<'a> {
        &self.message.headers
    }

    /// The first value of a header; its name in any case.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.message.headers.get(name)
    }

    /// The first value of a query parameter, decoded.
    pub fn query(&self, name: &str) -> Option<&str> {
        let (_, values) = self.message.query.0.get().iter().find(|(key, _)| key.0 == name)?;
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

/// The response as the service sent it and earlier plugins changed it, with the request's head.
pub struct Response<'a> {
    message: Message<'a>,
    request: Request<'a>,
}

impl<'a> From<Message<'a>> for Response<'a> {
    fn from(mut message: Message<'a>) -> Self {
        let mut head = message.request.take().map_or_else(Message::default, |request| *request);
        // The gateway names the request's method and URL in both places; take either.
        if head.method.0.is_empty() {
            std::mem::swap(&mut head.method, &mut message.method);
        }
        if head.url.0.is_empty() {
            std::mem::swap(&mut head.url, &mut message.url);
        }
        Self { message, request: Request { message: head } }
    }
}

impl<'a> Response<'a> {
    /// The status, as in 200.
    pub fn status(&self) -> u16 {
        self.message.status_code
    }

    /// The headers.
    pub fn headers(&self) -> &Headers<'a> {
        &self.message.headers
    }

    /// The first value of a header; its name in any case.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.message.headers.get(name)
    }

    /// The request that this answers: its head, without a body.
    pub fn request(&self) -> &Request<'a> {
        &self.request
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

impl<'a> From<Message<'a>> for Answer<'a> {
    fn from(message: Message<'a>) -> Self {
        Self { message }
    }
}

impl<'a> Answer<'a> {
    /// The name of the call in `aggregation.calls`.
    pub fn name(&self) -> &str {
        &self.message.name.0
    }

    /// The service that was asked.
    pub fn service(&self) -> &str {
        &self.message.service.0
    }

    /// Its status; 0 if it could not be reached.
    pub fn status(&self) -> u16 {
        self.message.status_code
    }

    /// Its headers.
    pub fn headers(&self) -> &Headers<'a> {
        &self.message.headers
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

impl<'a> Headers<'a> {
    /// The first value of a header; its name in any case.
    pub fn get(&self, name: &str) -> Option<&str> {
        let fields = self.0.get().iter();
        let mut named = fields.filter(|(key, _)| key.0.eq_ignore_ascii_case(name));
        named.find_map(|(_, values)| values.first())
    }

    /// All values of a header, in their order; its name in any case.
    pub fn get_all<'n>(&'n self, name: &'n str) -> impl Iterator<Item = &'n str> {
        let fields = self.0.get().iter();
        fields.filter(move |(key, _)| key.0.eq_ignore_ascii_case(name)).flat_map(|(_, v)| v.iter())
    }

    /// Every name and value.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &str)> {
        let fields = self.0.get().iter();
        fields.flat_map(|(name, values)| values.iter().map(move |value| (&*name.0, value)))
    }
}

impl<'de: 'a, 'a> Deserialize<'de> for Headers<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        LazyFields::deserialize(deserializer).map(Self)
    }
}

/// The query's parameters, the same shape as headers.
#[derive(Default)]
struct Query<'a>(LazyFields<'a>);

impl<'de: 'a, 'a> Deserialize<'de> for Query<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        LazyFields::deserialize(deserializer).map(Self)
    }
}

/// `{name: [values]}`, parsed when first looked at.
#[derive(Default)]
struct LazyFields<'a> {
    raw: Option<&'a RawValue>,
    parsed: OnceCell<Vec<(Text<'a>, Values<'a>)>>,
}

impl<'a> LazyFields<'a> {
    /// The entries. What is not of the documented shape reads as none: the gateway wrote it.
    fn get(&self) -> &[(Text<'a>, Values<'a>)] {
        self.parsed.get_or_init(|| {
            let fields = self.raw.and_then(|raw| serde_json::from_str(raw.get()).ok());
            fields.map_or_else(Vec::new, |Fields(fields)| fields)
        })
    }
}

impl<'de: 'a, 'a> Deserialize<'de> for LazyFields<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let raw = Option::<&'de RawValue>::deserialize(deserializer)?;
        Ok(Self { raw, parsed: OnceCell::new() })
    }
}

/// A string that borrows from the input unless it has escapes. (serde's own `Cow` never borrows
/// inside a collection.)
#[derive(Default)]
struct Text<'a>(Cow<'a, str>);

impl<'de: 'a, 'a> Deserialize<'de> for Text<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct TextVisitor;

        impl<'de> Visitor<'de> for TextVisitor {
            type Value = Text<'de>;

            fn expecting(&self, f: &mut fmt::Formatter) -> fmt::Result {
                f.write_str("a string")
            }

            fn visit_borrowed_str<E>(self, text: &'de str) -> Result<Self::Value, E> {
                Ok(Text(Cow::Borrowed(text)))
            }

            fn visit_str<E>(self, text: &str) -> Result<Self::Value, E> {
                Ok(Text(Cow::Owned(text.to_owned())))
            }
        }

        deserializer.deserialize_str(TextVisitor)
    }
}

/// The values of one header. One is the rule, and costs no allocation.
enum Values<'a> {
    One(Text<'a>),
    Several(Vec<Text<'a>>),
}

impl Values<'_> {
    fn iter(&self) -> impl Iterator<Item = &str> {
        let values = match self {
            Self::One(value) => std::slice::from_ref(value),
            Self::Several(values) => values,
        };
        values.iter().map(|value| &*value.0)
    }

    fn first(&self) -> Option<&str> {
        self.iter().next()
    }
}

impl<'de: 'a, 'a> Deserialize<'de> for Values<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct ValuesVisitor;

        impl<'de> Visitor<'de> for ValuesVisitor {
            type Value = Values<'de>;

            fn expecting(&self, f: &mut fmt::Formatter) -> fmt::Result {
                f.write_str("an array of strings")
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Self::Value, A::Error> {
                let Some(first) = seq.next_element()? else {
                    return Ok(Values::Several(Vec::new()));
                };
                let Some(second) = seq.next_element()? else {
                    return Ok(Values::One(first));
                };
                let mut values = vec![first, second];
                while let Some(value) = seq.next_element()? {
                    values.push(value);
                }
                Ok(Values::Several(values))
            }
        }

        deserializer.deserialize_seq(ValuesVisitor)
    }
}

/// An object as the list of its entries: shorter to build than a map, and as quick to search at the
/// sizes that occur.
struct Fields<'a, V>(Vec<(Text<'a>, V)>);

impl<'de: 'a, 'a, V: Deserialize<'de>> Deserialize<'de> for Fields<'a, V> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct FieldsVisitor<V>(std::marker::PhantomData<V>);

        impl<'de, V: Deserialize<'de>> Visitor<'de> for FieldsVisitor<V> {
            type Value = Fields<'de, V>;

            fn expecting(&self, f: &mut fmt::Formatter) -> fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
                let mut fields = Vec::with_capacity(16);
                while let Some(entry) = map.next_entry()? {
                    fields.push(entry);
                }
                Ok(Fields(fields))
            }
        }

        deserializer.deserialize_map(FieldsVisitor(std::marker::PhantomData))
    }
}

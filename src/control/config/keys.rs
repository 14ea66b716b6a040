//! All keys that a configuration may have: what each takes, its default, what is said of it.
//!
//! This table is the one place where a key is described. The decoder knows no other keys
//! (`decode::Section`); the JSON Schema (`schema`) and the tables of `docs/configuration.md` are
//! written from it by `make keys`, and the tests hold the decoder's bounds and defaults, the view
//! and `config/odin.yaml` against it.

mod aggregation;
mod clients;
mod fleet;
mod kv;
mod listen;
mod modules;
mod operation;
mod origins;
mod routes;
mod server;
mod service;
mod wasm;

pub(super) use aggregation::{AGGREGATION, CALL, DEPENDENCY, PARAMETER, RESULT};
pub(super) use clients::{COMPRESSION, CORS, CORS_ORIGIN};
pub(super) use fleet::{ETCD, ETCD_TLS, FLEET};
pub(super) use kv::{KV, MEMORY, REDIS};
pub(super) use listen::{ADMIN_LISTENER, CERTIFICATE, CLIENT_AUTH, LISTENER, LISTENER_TLS};
pub(super) use modules::{MODULE_LOGIN, MODULES};
pub(super) use operation::{ADMIN, LOGGING, OTLP, TRACING};
pub(super) use origins::{HASH, HEALTH_CHECK, OUTLIER, RETRY, SERVICE_TLS};
pub(super) use routes::{HEADER_EDIT, MATCH, MATCH_TEST, MIRROR, REDIRECT, REWRITE, SPLIT, STICKY};
pub(super) use server::{HTTP2, LIMITS, SERVER, TIMEOUTS};
pub(super) use service::{SERVICE, SERVICE_LIMITS, SERVICE_TIMEOUTS, TARGET};
pub(super) use wasm::{PLUGIN, WASM};

use crate::limits;

/// The keys of one section.
#[derive(Debug)]
pub(super) struct Keys {
    /// What it may hold, in the order of the documentation.
    pub(super) allowed: &'static [Key],
    /// Keys of the format that this version can't do, with what to do instead.
    pub(super) later: &'static [(&'static str, &'static str)],
}

impl Keys {
    /// The key of this name.
    pub(super) fn find(&self, name: &str) -> Option<&'static Key> {
        self.allowed.iter().find(|key| key.name == name)
    }

    /// The names of all keys, in order.
    pub(super) fn names(&self) -> impl Iterator<Item = &'static str> + use<> {
        self.allowed.iter().map(|key| key.name)
    }

    /// The names as errors list them.
    pub(super) fn listed(&self) -> String {
        self.names().collect::<Vec<_>>().join(", ")
    }
}

/// One key.
#[derive(Debug)]
pub(super) struct Key {
    pub(super) name: &'static str,
    /// What it takes.
    pub(super) kind: Kind,
    /// What it is for, in plain text: an editor shows it, and so does `config/odin.yaml`.
    pub(super) about: &'static str,
    /// Whether its section must have it.
    pub(super) required: Required,
    /// The default as YAML, where it is one value.
    pub(super) default: Option<&'static str>,
    /// A value that is not the default, as YAML, where the kind does not give one.
    pub(super) example: Option<&'static str>,
    /// What the page says it takes, where the kind does not say enough.
    pub(super) form: Option<&'static str>,
    /// What the page says of the default, where one value does not say enough.
    pub(super) otherwise: Option<&'static str>,
    /// When to change it, for the page.
    pub(super) when: &'static str,
}

/// Whether a section must have a key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Required {
    Never,
    Always,
    /// Unless it has one of these others.
    Unless(&'static [&'static str]),
}

/// A key that takes `kind`; `about` in plain text, its default at the end: "Default: 5s."
pub(super) const fn key(name: &'static str, kind: Kind, about: &'static str) -> Key {
    Key {
        name,
        kind,
        about,
        required: Required::Never,
        default: None,
        example: None,
        form: None,
        otherwise: None,
        when: "",
    }
}

impl Key {
    /// Its section must have it.
    pub(super) const fn required(self) -> Self {
        Self { required: Required::Always, ..self }
    }

    /// Its section must have it or one of `others`.
    pub(super) const fn required_unless(self, others: &'static [&'static str]) -> Self {
        Self { required: Required::Unless(others), ..self }
    }

    /// What holds without it, as YAML.
    pub(super) const fn default(self, default: &'static str) -> Self {
        Self { default: Some(default), ..self }
    }

    /// A value that may stand there and is not the default, as YAML.
    pub(super) const fn example(self, example: &'static str) -> Self {
        Self { example: Some(example), ..self }
    }

    /// What it takes, in Markdown, where the kind does not say enough.
    pub(super) const fn form(self, form: &'static str) -> Self {
        Self { form: Some(form), ..self }
    }

    /// What holds without it, in Markdown, where one value does not say enough.
    pub(super) const fn otherwise(self, otherwise: &'static str) -> Self {
        Self { otherwise: Some(otherwise), ..self }
    }

    /// When to change it, in Markdown.
    pub(super) const fn when(self, when: &'static str) -> Self {
        Self { when, ..self }
    }
}

/// What a key takes. Bounds are those of the decoder, both ends included.
#[derive(Debug)]
pub(super) enum Kind {
    /// `true` or `false`.
    Boolean,
    /// A whole number.
    Integer(i64, i64),
    /// A number.
    Number(f64, f64),
    /// A part, `0%` to `100%`.
    Part,
    /// A number of bytes, with a unit or without.
    Size(u64, u64),
    /// A time with units, of at least so many milliseconds.
    Duration(u64),
    /// Any text that is not empty.
    Text,
    /// A text that this regular expression (of JSON Schema's dialect) matches.
    Shaped(&'static str),
    /// What plugins and services are called.
    Name,
    /// A file or folder.
    Path,
    /// One of these words.
    Word(&'static [&'static str]),
    /// A field of the access log.
    Field,
    /// A list of at least and at most so many.
    List(&'static Kind, usize, usize),
    /// At most so many names of header fields, with their values.
    Headers(usize),
    /// A map of anything.
    Anything,
    /// A map of these keys.
    Section(&'static Keys),
    /// What one of these takes.
    Either(&'static [Kind]),
}

/// A time that is more than nothing.
const DURATION: Kind = Kind::Duration(1);
/// An address to listen on.
const LISTEN: Kind =
    Kind::Shaped(r"^(unix:.{1,107}|(\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9._-]+):[0-9]{1,5})$");
/// An address to listen on that is no unix socket.
const TCP_LISTEN: Kind = Kind::Shaped(r"^(\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9._-]+):[0-9]{1,5}$");
/// Addresses that belong together, or one.
const NETWORK: Kind = Kind::Either(&[
    Kind::Shaped(r"^[0-9.]+(/([0-9]|[12][0-9]|3[0-2]))?$"),
    Kind::Shaped(r"^[0-9A-Fa-f.]*:[0-9A-Fa-f:.]*(/([1-9]?[0-9]|1[01][0-9]|12[0-8]))?$"),
]);
/// Where requests go.
const TARGET_URL: Kind =
    Kind::Shaped(r"^(builtin:echo|http://unix:.{1,107}|(https?|h2)://[^/?#@\s]+/?)$");
/// The name of a header field.
const TOKEN: Kind = Kind::Shaped(r"^[!#$%&'*+.^_`|~0-9A-Za-z-]+$");

/// The file itself.
pub(super) const ROOT: Keys = Keys {
    allowed: &[
        key("server", Kind::Section(&SERVER), "Listeners, workers, limits and time-outs."),
        key("admin", Kind::Section(&ADMIN), "The admin API."),
        key("logging", Kind::Section(&LOGGING), "The process's log and the access log."),
        key(
            "tracing",
            Kind::Section(&TRACING),
            "Which requests are traced, and where that is told.",
        ),
        key("kv", Kind::Section(&KV), "Where the plugins' shared state is."),
        key(
            "modules",
            Kind::Section(&MODULES),
            "How plugin modules are fetched from other machines.",
        ),
        key("wasm", Kind::Section(&WASM), "Plugins, and what they may use."),
        key(
            "services",
            Kind::List(&Kind::Section(&SERVICE), 0, limits::SERVICES_MAX),
            "What is served, and by whom.",
        )
        .form("list, at most 16384")
        .otherwise("none: every request gets 404"),
        key(
            "fleet",
            Kind::Section(&FLEET),
            "The fleet that this gateway is of: tracing, kv, wasm and services come from there.",
        ),
    ],
    later: &[],
};

impl Key {
    /// What it takes, in Markdown.
    pub(super) fn takes(&self) -> String {
        self.form.map_or_else(|| self.kind.describe(), str::to_owned)
    }

    /// What holds without it, in Markdown; empty for a section.
    pub(super) fn without(&self) -> String {
        match (self.otherwise, self.default) {
            (Some(text), _) => text.to_owned(),
            (None, Some(default)) => format!("`{default}`"),
            (None, None) if self.required == Required::Always => "required".to_owned(),
            (None, None) => String::new(),
        }
    }
}

impl Kind {
    /// What a key of this kind takes, in Markdown.
    fn describe(&self) -> String {
        match self {
            Self::Boolean => "boolean".to_owned(),
            Self::Integer(min, max) => format!("{min} to {max}"),
            Self::Number(min, max) => format!("{min} to {max}"),
            Self::Part => "part, `0%` to `100%`".to_owned(),
            Self::Size(min, max) => format!("size, {} to {}", show_size(*min), show_size(*max)),
            Self::Duration(0) => "duration from 0s".to_owned(),
            Self::Duration(_) => "duration".to_owned(),
            Self::Text | Self::Shaped(_) => "text".to_owned(),
            Self::Name => "name".to_owned(),
            Self::Path => "path".to_owned(),
            Self::Field => "name of a field".to_owned(),
            Self::Word(words) => {
                words.iter().map(|word| format!("`{word}`")).collect::<Vec<_>>().join(", ")
            }
            Self::List(_, 0, max) => format!("list, at most {max}"),
            Self::List(_, min, max) => format!("list, {min} to {max}"),
            Self::Headers(max) => format!("map of name to value, at most {max}"),
            Self::Anything => "map of anything".to_owned(),
            Self::Section(_) => "map".to_owned(),
            Self::Either(kinds) => {
                kinds.iter().map(Self::describe).collect::<Vec<_>>().join(" or ")
            }
        }
    }
}

/// A number of bytes with the largest unit that has no rest.
fn show_size(bytes: u64) -> String {
    let units = [(40, "TiB"), (30, "GiB"), (20, "MiB"), (10, "KiB")];
    let fitting = units.iter().find(|(bits, _)| bytes != 0 && bytes.trailing_zeros() >= *bits);
    fitting.map_or_else(|| bytes.to_string(), |(bits, unit)| format!("{}{unit}", bytes >> bits))
}

#[cfg(test)]
pub(super) mod tests;

//! What a configuration file says of what a service does for its clients beside passing responses
//! on.

use crate::http::compression::Compression;

/// `services[].cors` and `compression`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Clients {
    /// Which pages of other origins may read its responses.
    pub cors: Option<Cors>,
    /// Which of its responses are compressed.
    pub compression: Option<Compression>,
}

/// `services[].cors`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cors {
    /// Whose pages; never empty.
    pub origins: Vec<CorsOrigin>,
    /// What they may send: `None`: anything.
    pub methods: Option<Vec<String>>,
    /// Which header fields they may set; `None`: any.
    pub headers: Option<Vec<String>>,
    /// Which header fields of responses they may read; `None`: any.
    pub expose: Option<Vec<String>>,
    /// Whether cookies are sent.
    pub credentials: bool,
    /// In whole seconds.
    pub max_age: Option<std::time::Duration>,
}

/// One of `services[].cors.origins`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum CorsOrigin {
    /// `*`.
    Any,
    /// As a browser writes it, or `null`.
    Is(String),
    /// The scheme with its `://`, and from the dot behind the `*` on.
    Below(String, String),
    /// An expression, as it is written.
    Fits(String),
}

impl CorsOrigin {
    /// The expression as it is used: it has to fit the whole of an origin.
    ///
    /// # Errors
    /// It is none, or too large.
    pub fn build(expression: &str) -> Result<regex::bytes::Regex, regex::Error> {
        // By itself first: what closes a group that it did not open is no expression.
        regex::bytes::Regex::new(expression)?;
        let whole = format!("^(?:{expression})$");
        let mut builder = regex::bytes::RegexBuilder::new(&whole);
        builder.size_limit(crate::limits::PATTERN_COMPILED_BYTES_MAX).build()
    }
}

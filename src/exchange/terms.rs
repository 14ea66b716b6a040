//! What a client has asked for of what few services do: noted when its request comes, before any
//! plugin changes that, and kept to when it is answered, whoever answers.

use crate::http::compression::Accepted;
use crate::http::connection::{Asker, Scheme};
use crate::http::message::{Fields, LocalResponse, RequestHead};
use crate::route::cors;
use crate::route::split::Sticky;
use crate::snapshot::{Extras, Service, Split};

/// See the module's text.
#[derive(Debug, Default)]
pub(super) struct Terms {
    /// What the response says to a browser; `None`: what the origin says.
    cors: Option<Fields>,
    /// What of compressed bodies it takes; `None`: none is made.
    pub(super) accepted: Option<Accepted>,
    /// A cookie that keeps it with its branch.
    cookie: Option<String>,
}

impl Terms {
    #[cold]
    pub(super) fn of(extras: &Extras, request: &RequestHead) -> Option<Box<Self>> {
        let cors = extras.cors.as_ref().map(|cors| {
            let mut answer = Fields::new();
            cors.answer(&request.fields, &mut answer);
            answer
        });
        if extras.cors.is_none() && extras.compression.is_none() {
            return None;
        }
        let compression = extras.compression.as_ref();
        let accepted = compression.map(|compression| compression.accepted(&request.fields));
        Some(Box::new(Self { cors, accepted, cookie: None }))
    }

    /// Keeps the client with the service that was chosen for it.
    pub(super) fn keep(
        &mut self,
        split: &Split,
        service: &Service,
        target: &Service,
        asker: Asker<'_>,
    ) {
        let Some(Sticky::Set(name, max_age)) = &split.plan.sticky else {
            return;
        };
        let (value, path) = (&target.name, &service.base_path);
        let age = max_age.map_or_else(String::new, |seconds| format!("; Max-Age={seconds}"));
        let secure = if asker.scheme == Scheme::Https { "; Secure" } else { "" };
        self.cookie =
            Some(format!("{name}={value}; Path={path}{age}; HttpOnly; SameSite=Lax{secure}"));
    }

    /// Adds its cookie to a response.
    pub(super) fn add_cookie(&self, response: &mut Fields) {
        if let Some(cookie) = &self.cookie {
            response.push(b"Set-Cookie", cookie.as_bytes());
        }
    }
}

/// Says to a client's browser what it may do with a response.
pub(super) fn tell(terms: Option<&Terms>, response: &mut Fields) {
    if let Some(answer) = terms.and_then(|terms| terms.cors.as_ref()) {
        cors::replace(answer, response);
    }
}

/// The answer to a preflight, where the service has rules for it.
pub(super) fn preflight(
    extras: &Extras,
    request: &RequestHead,
    terms: Option<&Terms>,
) -> Option<LocalResponse> {
    let rules = extras.cors.as_ref().filter(|_| cors::is_preflight(request))?;
    let mut local = rules.preflight(&request.fields);
    if let Some(answer) = terms.and_then(|terms| terms.cors.as_ref()) {
        cors::add(answer, &mut local.fields);
    }
    Some(local)
}

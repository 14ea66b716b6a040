//! The HTTP client that fetches modules: TLS, redirects, credentials and bounds.
//!
//! Rejected: oci-client for registries, whose answers have no bound and whose redirects may lead
//! from TLS to none. Proxies of the environment are not used: what a gateway is started with by
//! chance must not decide where its code comes from.

use std::sync::Arc;

use reqwest::header::{ACCEPT, AUTHORIZATION, CONTENT_TYPE, HeaderValue, LOCATION};
use reqwest::{Client, Method, RequestBuilder, Response, StatusCode, Url};
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use rustls::{ClientConfig, RootCertStore};

use super::logins::Logins;
use super::{Cause, Trouble};
use crate::control::config::{Modules, authority};
use crate::files;
use crate::limits::{
    MODULE_ANSWER_BYTES_MAX, MODULE_CONNECT_TIMEOUT, MODULE_FILE_BYTES_MAX, MODULE_REDIRECTS_MAX,
    MODULE_SILENCE_MAX,
};

/// A client for one round of fetches: what it needs of files it has read.
#[derive(Debug)]
pub(super) struct Web {
    client: Client,
    pub(super) modules: Modules,
    pub(super) logins: Logins,
}

impl Web {
    /// Reads certificates and logins. Blocks.
    pub(super) fn new(modules: Modules) -> Result<Self, Trouble> {
        let logins = Logins::read(&modules).map_err(Trouble::store)?;
        let tls = tls(&modules).map_err(Trouble::store)?;
        let client = Client::builder()
            .tls_backend_preconfigured(tls)
            .redirect(reqwest::redirect::Policy::none())
            .no_proxy()
            .referer(false)
            .connect_timeout(MODULE_CONNECT_TIMEOUT)
            .read_timeout(MODULE_SILENCE_MAX)
            .user_agent(concat!("odin/", env!("CARGO_PKG_VERSION")))
            .build()
            .map_err(|error| Trouble::store(describe(error)))?;
        Ok(Self { client, modules, logins })
    }

    /// Asks for something; whatever the answer is, but redirects, which are followed as far as they
    /// may be. `auth` is shown to the first host alone.
    pub(super) async fn get(
        &self,
        url: &Url,
        accept: &str,
        auth: Option<&HeaderValue>,
    ) -> Result<Response, Trouble> {
        self.modules.allows(url).map_err(Trouble::answer)?;
        let mut at = url.clone();
        for _ in 0..=MODULE_REDIRECTS_MAX {
            let mut request = self.client.get(at.clone()).header(ACCEPT, accept);
            if let Some(auth) = auth.filter(|_| is_same_origin(&at, url)) {
                request = request.header(AUTHORIZATION, auth);
            }
            let response = send(request, &at).await?;
            if !response.status().is_redirection() {
                return Ok(response);
            }
            at = self.next(url, &at, &response)?;
        }
        let host = authority(url);
        Err(Trouble::answer(format!("{host} redirects more than {MODULE_REDIRECTS_MAX} times")))
    }

    /// Where a redirect leads.
    fn next(&self, first: &Url, at: &Url, response: &Response) -> Result<Url, Trouble> {
        let host = authority(at);
        let location = response.headers().get(LOCATION).and_then(|value| value.to_str().ok());
        let Some(location) = location else {
            return Err(unwanted(at, response));
        };
        let next = at
            .join(location)
            .map_err(|_| Trouble::answer(format!("{host} redirects to what is no URL")))?;
        // Nothing that came by TLS leads out of it, and nothing that came from elsewhere to what
        // listens on this machine alone.
        let is_allowed = match next.scheme() {
            "https" => true,
            "http" => {
                let is_listed = self.modules.is_plain(&authority(&next));
                first.scheme() == "http" && (is_listed || is_same_origin(first, &next))
            }
            _ => false,
        };
        if !is_allowed {
            let (scheme, to) = (next.scheme(), authority(&next));
            return Err(Trouble::answer(format!(
                "{host} redirects to {scheme}://{to}, and only https is followed"
            )));
        }
        Ok(next)
    }

    /// A request that changes something, to exactly this URL.
    pub(super) fn request(&self, method: Method, url: Url) -> Result<RequestBuilder, Trouble> {
        self.modules.allows(&url).map_err(Trouble::answer)?;
        Ok(self.client.request(method, url))
    }
}

/// Sends a request, which is to `url`.
pub(super) async fn send(request: RequestBuilder, url: &Url) -> Result<Response, Trouble> {
    request.send().await.map_err(|error| broken(error, url))
}

/// What went wrong on the way to or from a host.
pub(super) fn broken(error: reqwest::Error, url: &Url) -> Trouble {
    let host = authority(url);
    let cause = if error.is_timeout() { Cause::Timeout } else { Cause::Unreachable };
    let words = match (error.is_timeout(), error.is_connect()) {
        (true, true) => format!("no connection to {host} within {MODULE_CONNECT_TIMEOUT:?}"),
        (true, false) => format!("{host} was silent for {MODULE_SILENCE_MAX:?}"),
        (false, true) => format!("no connection to {host}: {}", describe(error)),
        (false, false) => format!("the answer of {host} broke off: {}", describe(error)),
    };
    Trouble::new(cause, words)
}

/// An error with what caused it, innermost last; without the URL, which may hold a secret.
fn describe(error: reqwest::Error) -> String {
    /// What the client's layers say of each other.
    const LAYERS: [&str; 3] = ["error sending request", "error decoding", "client error"];
    let error = error.without_url();
    let mut words = error.to_string();
    let mut cause = std::error::Error::source(&error);
    while let Some(error) = cause {
        let text = error.to_string();
        if LAYERS.iter().any(|layer| words.starts_with(layer)) {
            words = text;
        } else if !words.contains(&text) {
            words = format!("{words}: {text}");
        }
        cause = error.source();
    }
    words
}

/// An answer that is not what was asked for.
pub(super) fn unwanted(url: &Url, response: &Response) -> Trouble {
    let (host, path, status) = (authority(url), url.path(), response.status());
    let hint = match status {
        StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => {
            format!("; give who the gateway is for {host} in modules.auth")
        }
        StatusCode::NOT_FOUND => "; it is not there".to_owned(),
        _ => String::new(),
    };
    Trouble::answer(format!("{host} answers {status} for {path}{hint}"))
}

/// The rest of an answer that is no module, whole.
pub(super) async fn small(mut response: Response, url: &Url) -> Result<Vec<u8>, Trouble> {
    let mut bytes = Vec::new();
    while let Some(piece) = response.chunk().await.map_err(|error| broken(error, url))? {
        if bytes.len() + piece.len() > MODULE_ANSWER_BYTES_MAX {
            let host = authority(url);
            return Err(Trouble::answer(format!(
                "{host} answers with more than {MODULE_ANSWER_BYTES_MAX} bytes where it should \
                 have few"
            )));
        }
        bytes.extend_from_slice(&piece);
    }
    Ok(bytes)
}

/// What an answer says it is.
pub(super) fn kind(response: &Response) -> Option<String> {
    let kind = response.headers().get(CONTENT_TYPE)?.to_str().ok()?;
    Some(kind.chars().take(100).collect())
}

pub(super) fn is_same_origin(one: &Url, other: &Url) -> bool {
    one.scheme() == other.scheme() && authority(one) == authority(other)
}

fn tls(modules: &Modules) -> Result<ClientConfig, String> {
    let roots = match &modules.ca {
        None => system()?,
        Some(path) => {
            let why = |why: String| format!("modules.ca: {}: {why}", path.display());
            let pem = files::read(path, MODULE_FILE_BYTES_MAX).map_err(why)?;
            let mut roots = RootCertStore::empty();
            for certificate in CertificateDer::pem_slice_iter(&pem) {
                let certificate =
                    certificate.map_err(|error| why(format!("cannot be read as PEM: {error}")))?;
                roots.add(certificate).map_err(|error| why(error.to_string()))?;
            }
            if roots.is_empty() {
                return Err(why("has no certificate in PEM".to_owned()));
            }
            roots
        }
    };
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|error| format!("TLS cannot be set up: {error}"))?
        .with_root_certificates(roots)
        .with_no_client_auth();
    Ok(config)
}

/// Those whom the system trusts; none where it has none: then no certificate holds, and a registry
/// without TLS can be asked all the same.
fn system() -> Result<RootCertStore, String> {
    let found = rustls_native_certs::load_native_certs();
    let mut roots = RootCertStore::empty();
    roots.add_parsable_certificates(found.certs);
    Ok(roots)
}

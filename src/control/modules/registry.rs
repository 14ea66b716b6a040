//! What registries of container images are asked (OCI Distribution Specification 1.1): blobs and
//! manifests, with tokens for who asks for one.
//!
//! A module is asked for by its digest, which is a blob's name: no tag is ever looked up by a node,
//! so moving one changes nothing, and a registry cannot answer with another module.

use reqwest::header::{HeaderValue, WWW_AUTHENTICATE};
use reqwest::{Response, StatusCode, Url};
use serde::Deserialize;
use sha2::{Digest as _, Sha256};

use super::logins::{authorization, secret};
use super::web::{Web, small, unwanted};
use super::{Cause, Digest, Trouble};
use crate::control::config::{Reference, Shown, authority};
use crate::text::hex;

/// The kind of the file of signatures within a registry.
pub(super) const SIGNATURES_KIND: &str = "application/vnd.odin.module.signatures.v1";
/// The kind of a manifest.
pub(super) const MANIFEST_KIND: &str = "application/vnd.oci.image.manifest.v1+json";

/// What is asked of one repository, one after the other.
pub(super) struct Session<'a> {
    pub(super) web: &'a Web,
    reference: &'a Reference,
    /// `pull`, or `pull,push`.
    actions: &'static str,
    /// What the registry is shown, once it has asked for it.
    pub(super) auth: Option<HeaderValue>,
}

/// As far as it is of use (OCI Image Format Specification, "Image Manifest").
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Manifest {
    #[serde(default)]
    pub(super) layers: Vec<Descriptor>,
    #[serde(default)]
    pub(super) annotations: std::collections::BTreeMap<String, String>,
}

/// What a manifest says of a blob.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Descriptor {
    #[serde(default)]
    pub(super) media_type: String,
    #[serde(default)]
    pub(super) digest: String,
}

#[derive(Deserialize)]
struct Token {
    token: Option<String>,
    access_token: Option<String>,
}

impl<'a> Session<'a> {
    pub(super) fn new(web: &'a Web, reference: &'a Reference, actions: &'static str) -> Self {
        let auth = match web.logins.of(&reference.registry) {
            Some(shown @ Shown::Token(_)) => authorization(shown),
            _ => None,
        };
        Self { web, reference, actions, auth }
    }

    /// A URL of the repository.
    pub(super) fn url(&self, rest: &str) -> Result<Url, Trouble> {
        let Reference { registry, repository, .. } = self.reference;
        let scheme = if self.web.modules.is_plain(registry) { "http" } else { "https" };
        let url = Url::parse(&format!("{scheme}://{registry}/v2/{repository}/{rest}"));
        url.map_err(|error| Trouble::answer(error.to_string()))
    }

    /// The blob of a digest.
    pub(super) async fn blob(&mut self, digest: &Digest) -> Result<(Url, Response), Trouble> {
        self.get(&format!("blobs/sha256:{}", hex(digest)), "*/*").await
    }

    /// A manifest by its tag or its digest; `None`: there is none.
    pub(super) async fn manifest(&mut self, name: &str) -> Result<Option<Vec<u8>>, Trouble> {
        let (url, response) = self.get(&format!("manifests/{name}"), MANIFEST_KIND).await?;
        match response.status() {
            StatusCode::OK => small(response, &url).await.map(Some),
            StatusCode::NOT_FOUND => Ok(None),
            _ => Err(unwanted(&url, &response)),
        }
    }

    /// The file of signatures of a module, if somebody has put one there.
    pub(super) async fn signatures(&mut self, of: &Digest) -> Result<Option<Vec<u8>>, Trouble> {
        let Some(manifest) = self.manifest(&signatures_tag(of)).await? else { return Ok(None) };
        let registry = &self.reference.registry;
        let wrong = || {
            let words = format!("what {registry} has as its signatures is no manifest of them");
            Trouble::new(Cause::Signature, words)
        };
        let manifest: Manifest = serde_json::from_slice(&manifest).map_err(|_| wrong())?;
        let layer = manifest.layers.iter().find(|layer| layer.media_type == SIGNATURES_KIND);
        let digest = layer.and_then(|layer| digest_of(&layer.digest)).ok_or_else(wrong)?;
        let (url, response) = self.blob(&digest).await?;
        if response.status() != StatusCode::OK {
            return Err(unwanted(&url, &response));
        }
        let text = small(response, &url).await?;
        let got: Digest = Sha256::digest(&text).into();
        if got != digest {
            let words = format!("{} has sent another file of signatures", authority(&url));
            return Err(Trouble::new(Cause::Digest, words));
        }
        Ok(Some(text))
    }

    /// Asks, and again with what the registry wants to be shown.
    pub(super) async fn get(
        &mut self,
        rest: &str,
        accept: &str,
    ) -> Result<(Url, Response), Trouble> {
        let url = self.url(rest)?;
        let response = self.web.get(&url, accept, self.auth.as_ref()).await?;
        if response.status() != StatusCode::UNAUTHORIZED || !self.log_in(&url, &response).await? {
            return Ok((url, response));
        }
        let response = self.web.get(&url, accept, self.auth.as_ref()).await?;
        Ok((url, response))
    }

    /// Does what a refusal asks for; whether there is something new to show.
    pub(super) async fn log_in(&mut self, url: &Url, refusal: &Response) -> Result<bool, Trouble> {
        let asked = refusal.headers().get_all(WWW_AUTHENTICATE).iter();
        let asked: Vec<Challenge> =
            asked.filter_map(|value| Challenge::read(value.to_str().ok()?)).collect();
        let shown = self.web.logins.of(&self.reference.registry);
        let bearer = asked.iter().find(|asked| asked.scheme.eq_ignore_ascii_case("bearer"));
        if let Some(challenge) = bearer
            && !matches!(shown, Some(Shown::Token(_)))
        {
            self.auth = Some(self.token(url, challenge, shown).await?);
            return Ok(true);
        }
        let before = self.auth.take();
        self.auth = shown.and_then(authorization);
        Ok(self.auth.is_some() && self.auth != before)
    }

    /// Fetches a token (Docker's "Token Authentication Specification").
    async fn token(
        &self,
        url: &Url,
        challenge: &Challenge,
        shown: Option<&Shown>,
    ) -> Result<HeaderValue, Trouble> {
        let registry = authority(url);
        let why = |why: &str| Trouble::answer(format!("{registry} asks for a token, and {why}"));
        let realm = challenge.value("realm").ok_or_else(|| why("does not say where it is had"))?;
        let mut realm = Url::parse(realm).map_err(|_| why("what says where is no URL"))?;
        if url.scheme() == "https" && realm.scheme() != "https" {
            return Err(why("not by https, which would show the password to others"));
        }
        let scope = format!("repository:{}:{}", self.reference.repository, self.actions);
        {
            let mut query = realm.query_pairs_mut();
            if let Some(service) = challenge.value("service") {
                query.append_pair("service", service);
            }
            query.append_pair("scope", &scope);
        }
        let auth = shown.and_then(authorization);
        let response = self.web.get(&realm, "application/json", auth.as_ref()).await?;
        if response.status() != StatusCode::OK {
            return Err(unwanted(&realm, &response));
        }
        let answer = small(response, &realm).await?;
        // Its words would show what stands there.
        let token: Token =
            serde_json::from_slice(&answer).map_err(|_| why("what is given is none"))?;
        let token = token.token.or(token.access_token).filter(|token| !token.is_empty());
        let token = token.ok_or_else(|| why("what is given is none"))?;
        secret(&format!("Bearer {token}")).ok_or_else(|| why("what is given is none"))
    }
}

/// Under which tag the signatures of a module are found.
pub(super) fn signatures_tag(of: &Digest) -> String {
    format!("sha256-{}.sig", hex(of))
}

/// `sha256:` and 64 digits.
pub(super) fn digest_of(text: &str) -> Option<Digest> {
    let hex = text.strip_prefix("sha256:").filter(|hex| hex.len() == 64)?;
    let mut digest = [0; 32];
    for (byte, pair) in digest.iter_mut().zip(hex.as_bytes().chunks_exact(2)) {
        let nibble = |byte: u8| char::from(byte).to_digit(16);
        *byte = (nibble(pair[0])? << 4 | nibble(pair[1])?) as u8;
    }
    Some(digest)
}

/// What a server wants to be shown (RFC 9110, section 11.6.1).
#[derive(Debug)]
struct Challenge {
    scheme: String,
    values: Vec<(String, String)>,
}

impl Challenge {
    /// Reads one that has a header field of its own, as registries send them.
    fn read(text: &str) -> Option<Self> {
        let (scheme, mut rest) = text.trim().split_once(' ').unwrap_or((text.trim(), ""));
        let mut values = Vec::new();
        while let Some((name, after)) = rest.split_once('=') {
            let name = name.trim_matches([' ', ',', '\t']).to_ascii_lowercase();
            let (value, next) = match after.trim_start().strip_prefix('"') {
                Some(quoted) => quoted.split_once('"')?,
                None => after.split_once(',').unwrap_or((after, "")),
            };
            values.push((name, value.trim().to_owned()));
            rest = next;
        }
        (!scheme.is_empty()).then(|| Self { scheme: scheme.to_owned(), values })
    }

    fn value(&self, name: &str) -> Option<&str> {
        let found = self.values.iter().find(|(known, _)| known == name);
        found.map(|(_, value)| value.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn challenges_are_read_as_registries_write_them() {
        let asked = Challenge::read(
            "Bearer realm=\"https://auth.example/token\",service=\"registry, eu\",\
             scope=\"a:b:pull,push\"",
        )
        .unwrap();
        assert_eq!(asked.scheme, "Bearer");
        assert_eq!(asked.value("realm"), Some("https://auth.example/token"));
        assert_eq!(asked.value("service"), Some("registry, eu"));
        assert_eq!(asked.value("scope"), Some("a:b:pull,push"));
        let asked = Challenge::read("Basic realm=Registry , charset=UTF-8").unwrap();
        assert_eq!(
            (asked.value("realm"), asked.value("charset")),
            (Some("Registry"), Some("UTF-8"))
        );
        assert_eq!(Challenge::read("Negotiate").unwrap().values, []);
        for odd in ["", "Bearer realm=\"", "Bearer =", "Bearer ,,,=,", "=\"\"\"="] {
            // Whatever it is, it is read to its end.
            let _ = Challenge::read(odd);
        }
    }
}

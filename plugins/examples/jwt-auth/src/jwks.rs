//! A JSON Web Key Set (RFC 7517) that is fetched, and fetched again: keys are rotated.
//!
//! One instance's fetch serves all: the set is left in the shared state. A set that can't be
//! fetched again stays in use, so that an issuer's outage locks nobody out; a token of an unknown
//! key makes it be fetched at once, but not more often than [`COOLDOWN`], so that forged key ids
//! load no issuer.

use base64::Engine as _;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use odin_plugin::{Error, Period, host, http, kv};
use rsa::{BigUint, RsaPublicKey};
use serde::Deserialize;

use crate::keys::Key;

/// The least time between two fetches of one instance, in seconds.
const COOLDOWN: i64 = 10;
/// How long to wait for the issuer.
const TIMEOUT_MS: u32 = 2000;
/// More keys than any issuer has at once; each may cost a verification.
const KEYS_MAX: usize = 64;

/// A key set and when it was fetched.
pub(crate) struct Jwks {
    url: String,
    refresh: Period,
    text: String,
    keys: Vec<Key>,
    /// When a fetch was last tried, in Unix seconds.
    tried_at: Option<i64>,
}

#[derive(Deserialize)]
struct Set {
    keys: Vec<Entry>,
}

#[derive(Deserialize)]
struct Entry {
    kty: String,
    kid: Option<String>,
    #[serde(rename = "use")]
    usage: Option<String>,
    alg: Option<String>,
    crv: Option<String>,
    n: Option<String>,
    e: Option<String>,
    x: Option<String>,
    y: Option<String>,
}

impl Jwks {
    pub(crate) fn new(url: String, refresh: Period) -> Self {
        Self { url, refresh, text: String::new(), keys: Vec::new(), tried_at: None }
    }

    pub(crate) fn keys(&self) -> &[Key] {
        &self.keys
    }

    /// Fetches the set if it is due; true if its keys are others than before.
    pub(crate) fn refresh(&mut self, now: i64) -> Result<bool, Error> {
        let due =
            if self.keys.is_empty() { COOLDOWN } else { self.refresh.seconds().max(COOLDOWN) };
        if self.tried_at.is_some_and(|tried| now.saturating_sub(tried) < due) {
            return self.unless_empty(false);
        }
        // Another instance may have just fetched it. Shared state that is down is no reason to
        // fail.
        if let Ok(Some(text)) = kv::get(self.shared_key().as_bytes())
            && self.tried_at.is_none()
        {
            self.tried_at = Some(now);
            let text = String::from_utf8(text).unwrap_or_default();
            if self.adopt(text).is_ok() {
                return Ok(true);
            }
        }
        self.fetch(now)
    }

    /// Fetches the set although it is not due.
    pub(crate) fn renew(&mut self, now: i64) -> Result<bool, Error> {
        if self.tried_at.is_some_and(|tried| now.saturating_sub(tried) < COOLDOWN) {
            return Ok(false);
        }
        self.fetch(now)
    }

    fn fetch(&mut self, now: i64) -> Result<bool, Error> {
        self.tried_at = Some(now);
        match self.answer().and_then(|text| self.adopt(text)) {
            Ok(is_new) => {
                let shared_for = self.refresh.millis().max(1);
                if kv::set(self.shared_key().as_bytes(), self.text.as_bytes(), shared_for).is_err()
                {
                    host::debug("the key set can't be shared; each instance fetches its own");
                }
                Ok(is_new)
            }
            Err(error) => {
                host::warn(&format!("{}: {}", self.url, error.text()));
                self.unless_empty(false)
            }
        }
    }

    fn answer(&self) -> Result<String, Error> {
        let answer = http::get(&self.url)
            .header("Accept", "application/jwk-set+json, application/json")
            .timeout_ms(TIMEOUT_MS)
            .send()?;
        if answer.status() != 200 {
            return Err(Error::new(format!("status {}", answer.status())));
        }
        Ok(String::from_utf8(answer.body()?)?)
    }

    /// Takes a set's text as the keys; true if it is another than before.
    fn adopt(&mut self, text: String) -> Result<bool, Error> {
        if self.text == text {
            return Ok(false);
        }
        let set: Set = serde_json::from_str(&text)?;
        // Keys of other kinds are for others; one that is broken is no reason to refuse the rest.
        let keys: Vec<Key> =
            set.keys.into_iter().take(KEYS_MAX).filter_map(Entry::into_key).collect();
        if keys.is_empty() {
            return Err(Error::new("the key set has no RSA or P-256 key for signatures"));
        }
        self.keys = keys;
        self.text = text;
        Ok(true)
    }

    fn unless_empty(&self, is_new: bool) -> Result<bool, Error> {
        match self.keys.is_empty() {
            true => Err(Error::new(format!("no keys could be fetched from {}", self.url))),
            false => Ok(is_new),
        }
    }

    fn shared_key(&self) -> String {
        use sha2::{Digest, Sha256};
        let hash = Sha256::digest(&self.url);
        let hash: String = hash.iter().take(16).map(|byte| format!("{byte:02x}")).collect();
        format!("jwks:{hash}")
    }
}

impl Entry {
    fn into_key(self) -> Option<Key> {
        if self.usage.as_deref().is_some_and(|usage| usage != "sig") {
            return None;
        }
        match (&*self.kty, self.alg.as_deref()) {
            ("RSA", None | Some("RS256")) => self.into_rsa(),
            ("EC", None | Some("ES256")) if self.crv.as_deref() == Some("P-256") => self.into_ec(),
            _ => None,
        }
    }

    fn into_rsa(self) -> Option<Key> {
        let modulus = BigUint::from_bytes_be(&decode(self.n.as_deref()?)?);
        let exponent = BigUint::from_bytes_be(&decode(self.e.as_deref()?)?);
        let key = RsaPublicKey::new_with_max_size(modulus, exponent, 8192).ok()?;
        Key::from_rsa(self.kid, key).ok()
    }

    fn into_ec(self) -> Option<Key> {
        let x: [u8; 32] = decode(self.x.as_deref()?)?.try_into().ok()?;
        let y: [u8; 32] = decode(self.y.as_deref()?)?.try_into().ok()?;
        let point = p256::EncodedPoint::from_affine_coordinates(&x.into(), &y.into(), false);
        let key = p256::ecdsa::VerifyingKey::from_encoded_point(&point).ok()?;
        Some(Key::from_ec(self.kid, key))
    }
}

fn decode(text: &str) -> Option<Vec<u8>> {
    BASE64_URL_SAFE_NO_PAD.decode(text).ok()
}

//! A token's three parts (RFC 7515 section 7.1), taken apart and not yet believed.

use base64::Engine as _;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use serde::Deserialize;
use serde_json::Value;

use crate::claims::Refusal;

/// A longer token is refused unread: real ones have 1-2 KB, and headers rarely pass 16 KB anywhere.
const TOKEN_BYTES_MAX: usize = 16 * 1024;

/// A token that is well formed. Nothing in it is true before its signature is verified.
pub(crate) struct Token<'a> {
    pub(crate) header: Header,
    pub(crate) claims: Value,
    /// What was signed: the first two parts as they came.
    pub(crate) signed: &'a [u8],
    pub(crate) signature: Vec<u8>,
}

/// The JOSE header, as far as it matters.
#[derive(Debug, Deserialize)]
pub(crate) struct Header {
    pub(crate) alg: String,
    pub(crate) kid: Option<String>,
    /// Extensions that the reader must understand (RFC 7515 section 4.1.11). None is understood.
    crit: Option<Value>,
}

impl<'a> Token<'a> {
    pub(crate) fn parse(text: &'a str) -> Result<Self, Refusal> {
        if text.len() > TOKEN_BYTES_MAX {
            return Err(Refusal::Malformed);
        }
        let (signed, signature) = text.rsplit_once('.').ok_or(Refusal::Malformed)?;
        let (header, claims) = signed.split_once('.').ok_or(Refusal::Malformed)?;
        let header: Header = json(header)?;
        let claims: Value = json(claims)?;
        if !claims.is_object() || header.crit.is_some() {
            return Err(Refusal::Malformed);
        }
        Ok(Self { header, claims, signed: signed.as_bytes(), signature: decode(signature)? })
    }
}

fn json<T: serde::de::DeserializeOwned>(part: &str) -> Result<T, Refusal> {
    serde_json::from_slice(&decode(part)?).map_err(|_| Refusal::Malformed)
}

fn decode(part: &str) -> Result<Vec<u8>, Refusal> {
    BASE64_URL_SAFE_NO_PAD.decode(part).map_err(|_| Refusal::Malformed)
}

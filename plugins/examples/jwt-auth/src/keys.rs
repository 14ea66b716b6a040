//! The keys, and whether a signature holds under one of them.
//!
//! A key goes with one algorithm, which the key decides and not the token: a public key is never
//! taken for a secret, and `none` is no algorithm.

use hmac::{Hmac, Mac as _};
use odin_plugin::{Error, Period, host};
use p256::ecdsa::signature::Verifier as _;
use rsa::pkcs1::DecodeRsaPublicKey as _;
use rsa::pkcs8::DecodePublicKey as _;
use rsa::traits::PublicKeyParts as _;
use rsa::{RsaPublicKey, pkcs1v15};
use serde::Deserialize;
use sha2::Sha256;

use crate::claims::Refusal;
use crate::jwks::Jwks;
use crate::token::Token;

/// Shorter RSA keys can be broken (NIST SP 800-131A).
const RSA_BITS_MIN: usize = 2048;
/// Longer ones take longer than a request should wait.
const RSA_BITS_MAX: usize = 8192;
/// HS256 needs a key as long as its hash (RFC 7518 section 3.2).
const SECRET_BYTES_MIN: usize = 32;

/// The part of the `config` block that is about keys.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct KeysConfig {
    /// A public key: the path of a PEM file, or the PEM itself.
    public_key: Option<String>,
    /// Several of them.
    #[serde(default)]
    public_keys: Vec<String>,
    /// A secret for HS256.
    secret: Option<String>,
    /// The path of a file that has it.
    secret_file: Option<String>,
    /// Where a JSON Web Key Set is fetched.
    jwks_url: Option<String>,
    /// How long a fetched set is used before it is fetched again.
    #[serde(default = "KeysConfig::default_jwks_refresh")]
    jwks_refresh: Period,
    /// The algorithms that are accepted. Default: those of the keys.
    algorithms: Option<Vec<Algorithm>>,
}

impl KeysConfig {
    const fn default_jwks_refresh() -> Period {
        Period::from_seconds(300)
    }
}

/// What this plugin verifies.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "UPPERCASE")]
pub(crate) enum Algorithm {
    Rs256,
    Es256,
    Hs256,
}

impl Algorithm {
    fn named(name: &str) -> Option<Self> {
        match name {
            "RS256" => Some(Self::Rs256),
            "ES256" => Some(Self::Es256),
            "HS256" => Some(Self::Hs256),
            _ => None,
        }
    }
}

/// A key with what it is for.
pub(crate) struct Key {
    pub(crate) id: Option<String>,
    material: Material,
}

enum Material {
    Rsa(Box<pkcs1v15::VerifyingKey<Sha256>>),
    Ec(Box<p256::ecdsa::VerifyingKey>),
    Secret(Vec<u8>),
}

impl Key {
    /// A public key from its PEM.
    fn from_pem(pem: &str) -> Result<Self, Error> {
        let rsa = RsaPublicKey::from_public_key_pem(pem).ok();
        if let Some(key) = rsa.or_else(|| RsaPublicKey::from_pkcs1_pem(pem).ok()) {
            return Self::from_rsa(None, key);
        }
        let ec = p256::ecdsa::VerifyingKey::from_public_key_pem(pem).map_err(|_| {
            Error::new("a public key is no PEM of an RSA or P-256 key (BEGIN PUBLIC KEY)")
        })?;
        Ok(Self::from_ec(None, ec))
    }

    pub(crate) fn from_rsa(id: Option<String>, key: RsaPublicKey) -> Result<Self, Error> {
        let bits = key.size() * 8;
        if !(RSA_BITS_MIN..=RSA_BITS_MAX).contains(&bits) {
            return Err(Error::new(format!(
                "an RSA key has {bits} bits, allowed are {RSA_BITS_MIN} to {RSA_BITS_MAX}"
            )));
        }
        let key = Box::new(pkcs1v15::VerifyingKey::new(key));
        Ok(Self { id, material: Material::Rsa(key) })
    }

    pub(crate) fn from_ec(id: Option<String>, key: p256::ecdsa::VerifyingKey) -> Self {
        Self { id, material: Material::Ec(Box::new(key)) }
    }

    fn from_secret(secret: Vec<u8>) -> Result<Self, Error> {
        if secret.len() < SECRET_BYTES_MIN {
            return Err(Error::new(format!(
                "the secret has {} bytes, HS256 needs {SECRET_BYTES_MIN} or more",
                secret.len()
            )));
        }
        Ok(Self { id: None, material: Material::Secret(secret) })
    }

    fn algorithm(&self) -> Algorithm {
        match self.material {
            Material::Rsa(_) => Algorithm::Rs256,
            Material::Ec(_) => Algorithm::Es256,
            Material::Secret(_) => Algorithm::Hs256,
        }
    }

    fn holds(&self, token: &Token) -> bool {
        match &self.material {
            Material::Rsa(key) => pkcs1v15::Signature::try_from(&*token.signature)
                .is_ok_and(|signature| key.verify(token.signed, &signature).is_ok()),
            Material::Ec(key) => p256::ecdsa::Signature::from_slice(&token.signature)
                .is_ok_and(|signature| key.verify(token.signed, &signature).is_ok()),
            Material::Secret(secret) => {
                let mac = Hmac::<Sha256>::new_from_slice(secret);
                // verify_slice compares in constant time.
                mac.is_ok_and(|mac| {
                    mac.chain_update(token.signed).verify_slice(&token.signature).is_ok()
                })
            }
        }
    }
}

/// All keys that are accepted.
pub(crate) struct Keys {
    fixed: Vec<Key>,
    fetched: Option<Jwks>,
    algorithms: Option<Vec<Algorithm>>,
}

impl Keys {
    pub(crate) fn new(config: KeysConfig) -> Result<Self, Error> {
        let mut fixed = Vec::new();
        for key in config.public_key.iter().chain(&config.public_keys) {
            let pem = if key.contains("-----BEGIN") { key.clone() } else { read(key)? };
            fixed.push(Key::from_pem(&pem)?);
        }
        if let Some(secret) = config.secret {
            fixed.push(Key::from_secret(secret.into_bytes())?);
        }
        if let Some(path) = config.secret_file {
            fixed.push(Key::from_secret(read(&path)?.trim_end().to_owned().into_bytes())?);
        }
        if fixed.is_empty() && config.jwks_url.is_none() {
            return Err(Error::new(
                "there is no key; set publicKey, publicKeys, secret, secretFile or jwksUrl",
            ));
        }
        let fetched = config.jwks_url.map(|url| Jwks::new(url, config.jwks_refresh));
        Ok(Self { fixed, fetched, algorithms: config.algorithms })
    }

    /// Fetches the key set when it is due; true if the keys are others than before.
    pub(crate) fn refresh(&mut self, now: i64) -> Result<bool, Error> {
        self.fetched.as_mut().map_or(Ok(false), |jwks| jwks.refresh(now))
    }

    /// Fetches the key set when a token names a key that is not in it, which is how a rotation
    /// shows first; true if the keys are others than before.
    pub(crate) fn renew_for(&mut self, token: &Token, now: i64) -> Result<bool, Error> {
        let is_known = token
            .header
            .kid
            .as_ref()
            .is_none_or(|kid| self.all().any(|key| key.id.as_ref() == Some(kid)));
        match &mut self.fetched {
            Some(jwks) if !is_known => jwks.renew(now),
            Some(_) | None => Ok(false),
        }
    }

    /// Whether a signature holds under a key for the token's algorithm and, where both name one, of
    /// its key id.
    pub(crate) fn verify(&self, token: &Token) -> Result<(), Refusal> {
        let algorithm = Algorithm::named(&token.header.alg).ok_or(Refusal::Signature)?;
        if self.algorithms.as_ref().is_some_and(|allowed| !allowed.contains(&algorithm)) {
            return Err(Refusal::Signature);
        }
        let fits = |key: &&Key| {
            let is_named = match (&key.id, &token.header.kid) {
                (Some(key), Some(token)) => key == token,
                (None, _) | (_, None) => true,
            };
            is_named && key.algorithm() == algorithm
        };
        match self.all().filter(fits).any(|key| key.holds(token)) {
            true => Ok(()),
            false => Err(Refusal::Signature),
        }
    }

    fn all(&self) -> impl Iterator<Item = &Key> {
        self.fixed.iter().chain(self.fetched.iter().flat_map(|jwks| jwks.keys()))
    }
}

fn read(path: &str) -> Result<String, Error> {
    let bytes = host::read_file(path)?;
    String::from_utf8(bytes).map_err(|_| Error::new(format!("{path} is not text")))
}

//! Lets requests with a valid JSON Web Token pass (RFC 7519): the decision, from the header to the
//! answer. The token is taken apart in [`token`], its claims are judged in [`claims`], the keys are
//! in [`keys`] and come from a PEM, a secret, or a key set that is fetched ([`jwks`]).
//!
//! What can't be decided (no keys to be had) is an error, which closes the route: this is an auth
//! plugin.

mod claims;
mod jwks;
mod keys;
mod token;

use std::collections::{BTreeMap, HashMap};

use odin_plugin::{Context, Error, Outcome, Plugin, Request, host};
use serde::Deserialize;
use serde_json::Value;
use sha2::{Digest, Sha256};

use claims::{ClaimsConfig, Judge, Refusal};
use keys::{Keys, KeysConfig};
use token::Token;

/// How many verified tokens an instance remembers, so that a client's next request costs a hash and
/// not a signature. At 1 KB each that is 512 KB, well within an instance's memory.
const REMEMBERED_MAX: usize = 512;

/// The plugin's `config` block.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Config {
    /// The header that carries the token, after `Bearer `. Default: `Authorization`.
    #[serde(default = "Config::default_header")]
    header_name: String,
    /// The cookie that carries it, where the header is not there.
    cookie_name: Option<String>,
    /// Whether a request without any token passes, as nobody's.
    #[serde(default)]
    optional: bool,
    /// Headers for the service, by claim; a client's own of that name are removed.
    #[serde(default)]
    forward: BTreeMap<String, String>,
    /// Whether the token is kept from the service.
    #[serde(default)]
    strip_token: bool,
    /// Claims that later plugins get as metadata, beside `subject` and `tier`.
    #[serde(default)]
    metadata: Vec<String>,
    #[serde(default = "Config::default_subject")]
    subject_claim: String,
    #[serde(default = "Config::default_tier")]
    tier_claim: String,
    /// The realm of the challenge. Default: none.
    realm: Option<String>,
    #[serde(flatten)]
    claims: ClaimsConfig,
    #[serde(flatten)]
    keys: KeysConfig,
}

impl Config {
    fn default_header() -> String {
        "Authorization".to_owned()
    }

    fn default_subject() -> String {
        "sub".to_owned()
    }

    fn default_tier() -> String {
        "tier".to_owned()
    }
}

/// Under this, every auth plugin leaves whom it has let in.
const IDENTITY: &str = "odin.identity";

struct JwtAuth {
    header_name: String,
    cookie_name: Option<String>,
    optional: bool,
    forward: BTreeMap<String, String>,
    strip_token: bool,
    metadata: Vec<String>,
    subject_claim: String,
    tier_claim: String,
    realm: Option<String>,
    judge: Judge,
    keys: Keys,
    /// Claims of tokens whose signature was verified, by the token's hash: comparing tokens
    /// themselves would tell how much of a guess is right.
    remembered: HashMap<[u8; 32], Value>,
}

impl Plugin for JwtAuth {
    type Config = Config;

    fn new(config: Config) -> Result<Self, Error> {
        Ok(Self {
            header_name: config.header_name,
            cookie_name: config.cookie_name,
            optional: config.optional,
            forward: config.forward,
            strip_token: config.strip_token,
            metadata: config.metadata,
            subject_claim: config.subject_claim,
            tier_claim: config.tier_claim,
            realm: config.realm,
            judge: Judge::new(config.claims),
            keys: Keys::new(config.keys)?,
            remembered: HashMap::new(),
        })
    }

    fn on_request(&mut self, context: &Context, request: &Request) -> Result<Outcome, Error> {
        let text = match self.shown(request) {
            Shown::Token(text) => text,
            Shown::Nothing if self.optional => return Ok(self.without_forged(Outcome::next())),
            Shown::Nothing | Shown::Other => return Ok(self.challenge(None)),
            Shown::Several => return Ok(self.challenge(Some(&Refusal::Several))),
        };
        let now = host::now_seconds();
        let claims = match self.verified(&text, now)? {
            Ok(claims) => claims,
            Err(refusal) => return Ok(self.challenge(Some(&refusal))),
        };
        match self.judge.judge(&claims, now) {
            Ok(()) => Ok(self
                .admit(&claims)
                .set_metadata(IDENTITY, &identity(context.metadata(IDENTITY), &text))),
            Err(refusal) => Ok(self.challenge(Some(&refusal))),
        }
    }
}

impl JwtAuth {
    /// What the request shows. Of several, one would be judged here and another believed by the
    /// service.
    fn shown(&self, request: &Request) -> Shown {
        let mut values = request.headers().get_all(&self.header_name);
        if let Some(value) = values.next() {
            if values.next().is_some() {
                return Shown::Several;
            }
            let (scheme, token) = value.split_once(' ').unwrap_or(("", value));
            let is_plain_header = !self.header_name.eq_ignore_ascii_case("authorization");
            let is_bearer = scheme.eq_ignore_ascii_case("bearer");
            return match is_bearer || (is_plain_header && scheme.is_empty()) {
                true => Shown::Token(token.trim().to_owned()),
                false => Shown::Other,
            };
        }
        let Some(wanted) = self.cookie_name.as_deref() else {
            return Shown::Nothing;
        };
        let pairs = request.headers().get_all("cookie").flat_map(|line| line.split(';'));
        let mut tokens = pairs.filter_map(|pair| {
            let (name, value) = pair.split_once('=')?;
            (name.trim() == wanted).then(|| value.trim().to_owned())
        });
        match (tokens.next(), tokens.next()) {
            (None, _) => Shown::Nothing,
            (Some(token), None) => Shown::Token(token),
            (Some(_), Some(_)) => Shown::Several,
        }
    }

    /// The claims of a token whose signature holds.
    fn verified(&mut self, text: &str, now: i64) -> Result<Result<Value, Refusal>, Error> {
        if self.keys.refresh(now)? {
            self.remembered.clear();
        }
        let hash: [u8; 32] = Sha256::digest(text).into();
        if let Some(claims) = self.remembered.get(&hash) {
            return Ok(Ok(claims.clone()));
        }
        let token = match Token::parse(text) {
            Ok(token) => token,
            Err(refusal) => return Ok(Err(refusal)),
        };
        if self.keys.renew_for(&token, now)? {
            self.remembered.clear();
        }
        if let Err(refusal) = self.keys.verify(&token) {
            return Ok(Err(refusal));
        }
        if self.remembered.len() >= REMEMBERED_MAX {
            self.remembered.clear();
        }
        self.remembered.insert(hash, token.claims.clone());
        Ok(Ok(token.claims))
    }

    fn admit(&self, claims: &Value) -> Outcome {
        let mut outcome = Outcome::next();
        for (header, claim) in &self.forward {
            outcome = match claims::find(claims, claim).map(claims::as_text) {
                Some(text) if !is_header_value(&text) => {
                    return self.challenge(Some(&Refusal::Claim(claim.clone())));
                }
                Some(text) => outcome.set_header(header, text),
                None => outcome.remove_header(header),
            };
        }
        if self.strip_token {
            outcome = outcome.remove_header(&self.header_name);
        }
        let named = [("subject", &self.subject_claim), ("tier", &self.tier_claim)];
        let listed = self.metadata.iter().map(|claim| (claim.as_str(), claim));
        for (key, claim) in named.into_iter().chain(listed) {
            if let Some(value) = claims::find(claims, claim) {
                outcome = outcome.set_metadata(key, value);
            }
        }
        outcome
    }

    /// No client may bring the headers that say who it is.
    fn without_forged(&self, outcome: Outcome) -> Outcome {
        self.forward.keys().fold(outcome, |outcome, header| outcome.remove_header(header))
    }

    /// 401 with the challenge of RFC 6750 section 3, or 403 for a token that is sound and does not
    /// allow this. It says what is wrong as far as the client can do something about it.
    fn challenge(&self, refusal: Option<&Refusal>) -> Outcome {
        host::count("refused_total", 1);
        let mut challenge = String::from("Bearer");
        let mut comma = "";
        if let Some(realm) = &self.realm {
            challenge.push_str(&format!(" realm=\"{realm}\""));
            comma = ",";
        }
        let (status, code, text) = match refusal {
            None => (401, None, "a bearer token is required".to_owned()),
            Some(refusal) => (refusal.status(), Some(refusal.code()), refusal.to_string()),
        };
        if let Some(code) = code {
            challenge.push_str(&format!("{comma} error=\"{code}\", error_description=\"{text}\""));
        }
        let body = serde_json::json!({"error": text}).to_string();
        Outcome::respond(status)
            .set_header("WWW-Authenticate", challenge)
            .set_header("Content-Type", "application/json")
            .body(body)
    }
}

/// What a request shows of a token.
enum Shown {
    Nothing,
    Token(String),
    /// A header that holds no bearer token.
    Other,
    /// More than one.
    Several,
}

/// Who has been let in, for plugins that must tell clients apart: a hash of what every auth plugin
/// of the chain has accepted.
fn identity(earlier: Option<String>, token: &str) -> String {
    let text = format!("{}|jwt|{token}", earlier.unwrap_or_default());
    Sha256::digest(text).iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Whether a text can stand in a header as it is.
fn is_header_value(text: &str) -> bool {
    text.bytes().all(|byte| byte >= 0x20 && byte != 0x7f)
}

odin_plugin::export!(JwtAuth);

#[cfg(test)]
mod tests;

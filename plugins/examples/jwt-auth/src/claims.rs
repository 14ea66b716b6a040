//! What a verified token's claims allow (RFC 7519 section 4.1), and why one is refused.

use std::collections::BTreeMap;
use std::fmt;

use odin_plugin::Period;
use serde::Deserialize;
use serde_json::Value;

/// The part of the `config` block that is about claims.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct ClaimsConfig {
    /// Issuers of which `iss` must be one.
    #[serde(default)]
    issuer: OneOrMany,
    /// Audiences of which `aud` must name one.
    #[serde(default)]
    audience: OneOrMany,
    /// How far the clocks of issuer and gateway may differ.
    #[serde(default = "ClaimsConfig::default_leeway")]
    leeway: Period,
    /// Whether a token without `exp`, which is valid for ever, is refused.
    #[serde(default = "ClaimsConfig::default_require_expiry")]
    require_expiry: bool,
    /// The oldest that a token may be, by `iat`.
    max_age: Option<Period>,
    /// Claims and the values of which they must have one; 403 otherwise.
    #[serde(default)]
    required_claims: BTreeMap<String, OneOrMany>,
}

impl ClaimsConfig {
    const fn default_leeway() -> Period {
        Period::from_seconds(30)
    }

    const fn default_require_expiry() -> bool {
        true
    }
}

#[derive(Debug, Default, Deserialize)]
#[serde(untagged)]
enum OneOrMany {
    #[default]
    None,
    One(String),
    Many(Vec<String>),
}

impl OneOrMany {
    fn into_vec(self) -> Vec<String> {
        match self {
            Self::None => Vec::new(),
            Self::One(value) => vec![value],
            Self::Many(values) => values,
        }
    }
}

/// Why a token does not let its bearer in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Refusal {
    /// It is no token that this gateway reads.
    Malformed,
    /// The signature does not hold under any key, or the algorithm is not allowed.
    Signature,
    /// More than one token was sent.
    Several,
    /// `exp` has passed, or `iat` is too long ago.
    Expired,
    /// `nbf` has not come, or `iat` is in the future.
    NotYet,
    /// A claim that is missing or of no use.
    Claim(String),
    /// A claim that does not have a value that it must.
    Insufficient(String),
}

impl Refusal {
    /// 403 where another token of the same kind would not help, 400 where no token was judged, else
    /// 401.
    pub(crate) fn status(&self) -> u16 {
        match self {
            Self::Several => 400,
            Self::Insufficient(_) => 403,
            Self::Malformed | Self::Signature | Self::Expired | Self::NotYet | Self::Claim(_) => {
                401
            }
        }
    }

    /// The error code of RFC 6750 section 3.1.
    pub(crate) fn code(&self) -> &'static str {
        match self {
            Self::Several => "invalid_request",
            Self::Insufficient(_) => "insufficient_scope",
            Self::Malformed | Self::Signature | Self::Expired | Self::NotYet | Self::Claim(_) => {
                "invalid_token"
            }
        }
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        match self {
            Self::Malformed => f.write_str("the token is malformed"),
            Self::Several => f.write_str("more than one token was sent"),
            Self::Signature => f.write_str("the token's signature is not valid"),
            Self::Expired => f.write_str("the token has expired"),
            Self::NotYet => f.write_str("the token is not valid yet"),
            Self::Claim(name) => write!(f, "the token's claim {name} is missing or not accepted"),
            Self::Insufficient(name) => write!(f, "the token's claim {name} does not allow this"),
        }
    }
}

/// What is asked of claims.
pub(crate) struct Judge {
    issuers: Vec<String>,
    audiences: Vec<String>,
    leeway: i64,
    require_expiry: bool,
    max_age: Option<i64>,
    required: Vec<(String, Vec<String>)>,
}

impl Judge {
    pub(crate) fn new(config: ClaimsConfig) -> Self {
        let required = config.required_claims.into_iter();
        Self {
            issuers: config.issuer.into_vec(),
            audiences: config.audience.into_vec(),
            leeway: config.leeway.seconds(),
            require_expiry: config.require_expiry,
            max_age: config.max_age.map(Period::seconds),
            required: required.map(|(claim, values)| (claim, values.into_vec())).collect(),
        }
    }

    pub(crate) fn judge(&self, claims: &Value, now: i64) -> Result<(), Refusal> {
        self.judge_times(claims, now)?;
        if !self.issuers.is_empty() && !has_one_of(&claims["iss"], &self.issuers) {
            return Err(Refusal::Claim("iss".to_owned()));
        }
        if !self.audiences.is_empty() && !has_one_of(&claims["aud"], &self.audiences) {
            return Err(Refusal::Claim("aud".to_owned()));
        }
        for (claim, values) in &self.required {
            let is_met = match find(claims, claim) {
                None => false,
                Some(_) if values.is_empty() => true,
                Some(value) => has_one_of(value, values) || has_word_of(value, values),
            };
            if !is_met {
                return Err(Refusal::Insufficient(claim.clone()));
            }
        }
        Ok(())
    }

    fn judge_times(&self, claims: &Value, now: i64) -> Result<(), Refusal> {
        let time = |claim: &str| match claims.get(claim) {
            None => Ok(None),
            Some(value) => seconds(value).map(Some).ok_or_else(|| Refusal::Claim(claim.to_owned())),
        };
        match time("exp")? {
            Some(exp) if now >= exp.saturating_add(self.leeway) => return Err(Refusal::Expired),
            None if self.require_expiry => return Err(Refusal::Claim("exp".to_owned())),
            Some(_) | None => {}
        }
        if time("nbf")?.is_some_and(|nbf| now < nbf.saturating_sub(self.leeway)) {
            return Err(Refusal::NotYet);
        }
        let issued = time("iat")?;
        if issued.is_some_and(|iat| now < iat.saturating_sub(self.leeway)) {
            return Err(Refusal::NotYet);
        }
        match (self.max_age, issued) {
            (Some(_), None) => Err(Refusal::Claim("iat".to_owned())),
            (Some(max_age), Some(iat))
                if now > iat.saturating_add(max_age).saturating_add(self.leeway) =>
            {
                Err(Refusal::Expired)
            }
            _ => Ok(()),
        }
    }
}

/// A NumericDate: seconds, with a fraction or without.
fn seconds(value: &Value) -> Option<i64> {
    value.as_i64().or_else(|| {
        let number = value.as_f64().filter(|number| number.abs() < 1e15)?;
        #[expect(clippy::cast_possible_truncation, reason = "bounded just now")]
        Some(number.floor() as i64)
    })
}

/// Whether a string, or one of an array of strings, is one of these.
fn has_one_of(value: &Value, allowed: &[String]) -> bool {
    let is_allowed = |text: &str| allowed.iter().any(|one| one == text);
    match value {
        Value::String(text) => is_allowed(text),
        Value::Array(values) => values.iter().filter_map(Value::as_str).any(is_allowed),
        _ => false,
    }
}

/// Whether one of a text's words is one of these: how `scope` lists its scopes.
fn has_word_of(value: &Value, allowed: &[String]) -> bool {
    let text = value.as_str().unwrap_or_default();
    text.split(' ').any(|word| allowed.iter().any(|one| one == word))
}

/// A claim by its name, or by a path into nested claims with dots between.
pub(crate) fn find<'a>(claims: &'a Value, name: &str) -> Option<&'a Value> {
    let by_path = || name.split('.').try_fold(claims, |value, part| value.get(part));
    claims.get(name).or_else(by_path).filter(|value| !value.is_null())
}

/// A claim as a header carries it: text as it is, an array with commas, the rest as JSON.
pub(crate) fn as_text(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        Value::Array(values) => values.iter().map(as_text).collect::<Vec<_>>().join(","),
        other => other.to_string(),
    }
}

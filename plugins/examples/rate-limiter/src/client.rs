//! Who a client is, and what it may.
//!
//! A client is known by what an auth plugin before this one has said of it (metadata that no client
//! can write), else by its address. Its tier chooses its limit.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv6Addr};

use odin_plugin::{Context, Error, Request};
use serde::Deserialize;
use sha2::{Digest, Sha256};

/// Keys longer than this are hashed: the shared state bounds them, and a client chooses some.
const KEY_BYTES_MAX: usize = 128;

const ANONYMOUS: &str = "anonymous";
const AUTHENTICATED: &str = "authenticated";

/// The part of the `config` block that is about clients.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct ClientsConfig {
    /// The limit of tiers that `limits` does not name.
    limit: Option<i64>,
    /// Limits by tier.
    #[serde(default)]
    limits: BTreeMap<String, i64>,
    /// What makes a client; several are combined.
    #[serde(default)]
    key: OneOrMany,
    /// The metadata that names the client.
    #[serde(default = "ClientsConfig::default_subject")]
    subject_metadata: String,
    /// The metadata that names its tier.
    #[serde(default = "ClientsConfig::default_tier")]
    tier_metadata: String,
    /// How many bits of an IPv6 address make a client. A household or a server has 64 of its own,
    /// and could use another address for each request.
    #[serde(default = "ClientsConfig::default_ipv6_prefix")]
    ipv6_prefix: u8,
}

impl ClientsConfig {
    fn default_subject() -> String {
        "subject".to_owned()
    }

    fn default_tier() -> String {
        "tier".to_owned()
    }

    const fn default_ipv6_prefix() -> u8 {
        64
    }
}

#[derive(Debug, Default, Deserialize)]
#[serde(untagged)]
enum OneOrMany {
    #[default]
    Default,
    One(String),
    Many(Vec<String>),
}

/// One part of a client's key.
#[derive(Debug, PartialEq, Eq)]
enum Part {
    /// The subject, else the address.
    Client,
    Address,
    Service,
    Path,
    Global,
    Header(String),
    Metadata(String),
}

impl Part {
    fn parse(text: &str) -> Result<Self, Error> {
        Ok(match text.split_once(':') {
            Some(("header", name)) => Self::Header(name.to_owned()),
            Some(("metadata", name)) => Self::Metadata(name.to_owned()),
            None if text == "client" => Self::Client,
            None if text == "clientIp" => Self::Address,
            None if text == "service" => Self::Service,
            None if text == "path" => Self::Path,
            None if text == "global" => Self::Global,
            _ => {
                return Err(Error::new(format!(
                    "key \"{text}\" is unknown; known: client, clientIp, service, path, global, \
                     header:NAME, metadata:NAME"
                )));
            }
        })
    }
}

/// A client as far as this plugin cares.
pub(crate) struct Client {
    pub(crate) key: String,
    pub(crate) limit: i64,
}

/// How clients are told apart.
pub(crate) struct Clients {
    config: ClientsConfig,
    parts: Vec<Part>,
}

impl Clients {
    pub(crate) fn new(config: ClientsConfig) -> Result<Self, Error> {
        if config.limit.is_none() && !config.limits.contains_key(ANONYMOUS) {
            return Err(Error::new("there is neither limit nor limits.anonymous"));
        }
        let limits = config.limits.values().chain(&config.limit);
        if let Some(limit) = limits.copied().find(|limit| *limit < 0) {
            return Err(Error::new(format!("a limit is {limit}, must be 0 or more")));
        }
        let parts = match &config.key {
            OneOrMany::Default => vec![Part::Client],
            OneOrMany::One(part) => vec![Part::parse(part)?],
            OneOrMany::Many(parts) => {
                parts.iter().map(|part| Part::parse(part)).collect::<Result<_, _>>()?
            }
        };
        Ok(Self { config, parts })
    }

    pub(crate) fn identify(&self, context: &Context, request: &Request) -> Client {
        let subject: Option<String> = context.metadata(&self.config.subject_metadata);
        let tier: Option<String> = context.metadata(&self.config.tier_metadata);
        let (tier, limit) = self.tier(tier.as_deref(), subject.is_some());
        let mut key = tier.to_owned();
        for part in &self.parts {
            key.push('|');
            key.push_str(&self.part(part, subject.as_deref(), context, request));
        }
        if key.len() > KEY_BYTES_MAX {
            key = Sha256::digest(&key).iter().map(|byte| format!("{byte:02x}")).collect();
        }
        Client { key, limit }
    }

    /// The tier whose limit counts, and that limit.
    fn tier<'t>(&self, named: Option<&'t str>, has_subject: bool) -> (&'t str, i64) {
        let limits = &self.config.limits;
        let standing = if has_subject { AUTHENTICATED } else { ANONYMOUS };
        let known = named.into_iter().chain([standing]);
        let found = known.filter_map(|tier| Some((tier, *limits.get(tier)?))).next();
        // Where a subject's tier has no limit and there is no general one, it gets the one that
        // everybody gets (which `new` has seen to be there).
        found.unwrap_or_else(|| {
            let anonymous = || limits.get(ANONYMOUS).copied().unwrap_or_default();
            (standing, self.config.limit.unwrap_or_else(anonymous))
        })
    }

    fn part(
        &self,
        part: &Part,
        subject: Option<&str>,
        context: &Context,
        request: &Request,
    ) -> String {
        match part {
            Part::Client => match subject {
                Some(subject) => format!("sub:{subject}"),
                None => self.address(context.client_ip()),
            },
            Part::Address => self.address(context.client_ip()),
            Part::Service => context.service_id().to_owned(),
            Part::Path => request.path().to_owned(),
            Part::Global => String::new(),
            Part::Header(name) => request.header(name).unwrap_or_default().to_owned(),
            Part::Metadata(name) => context.metadata(name).unwrap_or_default(),
        }
    }

    fn address(&self, text: &str) -> String {
        let Ok(IpAddr::V6(address)) = text.parse() else {
            return text.to_owned();
        };
        if let Some(address) = address.to_ipv4_mapped() {
            return address.to_string();
        }
        let prefix = u32::from(self.config.ipv6_prefix.min(128));
        let mask = u128::MAX.checked_shl(128 - prefix).unwrap_or(0);
        Ipv6Addr::from_bits(address.to_bits() & mask).to_string()
    }
}

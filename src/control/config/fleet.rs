//! Decodes `fleet` of a node's file, and the fleet's document: the other sections, which all nodes
//! share. A node's configuration is the two of them together.

use super::decode::{Item, Section, list, name, path, string};
use super::errors::Errors;
use super::tree::{self, Unset};
use super::{
    Config, ConfigErrors, Document, Etcd, EtcdEndpoint, EtcdTls, Fleet, Place, Secret, Server,
    address, environment, keys, value,
};
use crate::limits;

/// The keys that stand in the fleet's document and in no node's file.
const SHARED: [&str; 4] = ["tracing", "kv", "wasm", "services"];
/// The keys that stand in a node's file and in no document.
const OWN: [&str; 5] = ["server", "admin", "logging", "modules", "fleet"];

/// `fleet`.
pub(super) fn fleet(item: &Item<'_>, errors: &mut Errors) -> Option<Box<Fleet>> {
    let map = Section::open(item, &keys::FLEET, errors)?;
    let node = map.read("node", errors, name);
    let cache_dir = map.read("cacheDir", errors, path);
    let why = "as in {endpoints: ['http://127.0.0.1:2379']}";
    let etcd = map.require("etcd", why, errors, etcd)?;
    Some(Box::new(Fleet { etcd, node, cache_dir }))
}

fn etcd(item: &Item<'_>, errors: &mut Errors) -> Option<Etcd> {
    let map = Section::open(item, &keys::ETCD, errors)?;
    let prefix = map.read("prefix", errors, prefix);
    let username = map.read("username", errors, string);
    let password = map.read("password", errors, string).map(Secret::new);
    if map.filled("username").is_some() != map.filled("password").is_some() {
        item.refuse(errors, "has one of username and password; give both, or take it out");
    }
    let tls = map.read("tls", errors, tls).unwrap_or_default();
    let endpoints =
        map.require("endpoints", "as in ['http://127.0.0.1:2379']", errors, |item, errors| {
            let max = limits::FLEET_ENDPOINTS_MAX;
            let endpoints = list(item, max, errors, |item, errors| {
                let text = string(item, errors)?;
                endpoint(&text).map_err(|form| item.expected(errors, &form)).ok()
            })?;
            if errors.is_empty() && endpoints.is_empty() {
                item.expected(errors, "at least one member such as http://127.0.0.1:2379");
            }
            Some(endpoints)
        })?;
    let prefix = prefix.unwrap_or_else(|| "/odin".to_owned());
    Some(Etcd { endpoints, prefix, user: username.zip(password), tls })
}

/// What the keys of a fleet begin with, as the configuration and the command line take it.
///
/// # Errors
/// What it looks like.
pub fn check_prefix(text: &str) -> Result<(), String> {
    let is_right = text.starts_with('/')
        && !text.ends_with('/')
        && text.len() <= limits::FLEET_PREFIX_BYTES_MAX
        && text.bytes().all(|byte| byte.is_ascii_graphic());
    let max = limits::FLEET_PREFIX_BYTES_MAX;
    let form = || {
        format!(
            "a prefix of keys such as /odin: \"/\" in front and none at its end, printable ASCII \
             without spaces, at most {max} bytes"
        )
    };
    if is_right { Ok(()) } else { Err(form()) }
}

fn prefix(item: &Item<'_>, errors: &mut Errors) -> Option<String> {
    let text = string(item, errors)?;
    check_prefix(&text).map_err(|form| item.expected(errors, &form)).ok()?;
    Some(text)
}

/// Reads a member's address, as the configuration and the command line take it.
///
/// # Errors
/// What it looks like.
pub fn endpoint(text: &str) -> Result<EtcdEndpoint, String> {
    const FORM: &str = "a member of an etcd such as http://127.0.0.1:2379 or https://etcd-1:2379";
    let (is_secure, rest) = match (text.strip_prefix("http://"), text.strip_prefix("https://")) {
        (Some(rest), _) => (false, rest),
        (None, Some(rest)) => (true, rest),
        (None, None) => return Err(format!("{FORM}; write the \"http://\" too")),
    };
    let authority = rest.strip_suffix('/').unwrap_or(rest);
    if authority.contains(['/', '?', '#', '@']) {
        return Err(format!("{FORM}; it has no user, no path and no query"));
    }
    let (host, port) = address::host_and_port(authority).map_err(|why| format!("{FORM}; {why}"))?;
    match port.unwrap_or(2379) {
        0 => Err(format!("{FORM}; nothing can be reached on port 0")),
        port => Ok(EtcdEndpoint { is_secure, host, port }),
    }
}

fn tls(item: &Item<'_>, errors: &mut Errors) -> Option<EtcdTls> {
    let map = Section::open(item, &keys::ETCD_TLS, errors)?;
    let (cert, key) = (map.read("cert", errors, path), map.read("key", errors, path));
    if map.filled("cert").is_some() != map.filled("key").is_some() {
        item.refuse(errors, "has one of cert and key; give both, or take it out");
    }
    let server_name = map.read("serverName", errors, |item, errors| {
        let text = string(item, errors)?;
        if rustls::pki_types::ServerName::try_from(text.as_str()).is_ok() {
            return Some(text);
        }
        item.expected(errors, "a name or an address as certificates have it");
        None
    });
    Some(EtcdTls { ca: map.read("ca", errors, path), own: cert.zip(key), server_name })
}

/// A node's file says nothing that the fleet's document says.
pub(super) fn check_node(root: &Section<'_>, errors: &mut Errors) {
    for key in SHARED {
        if let Some(item) = root.get(key) {
            item.refuse(
                errors,
                "stands in a node's file, but all nodes of a fleet share it; put it into the \
                 fleet's document (odin-cli fleet push FILE), or take fleet out",
            );
        }
    }
}

/// What [`document`] has read.
#[derive(Debug)]
pub struct Shared {
    /// A configuration of which only the shared sections are filled.
    pub config: Config,
    /// The variables that are not set here, if that was no error.
    pub unset: Vec<String>,
}

/// Reads the text of a fleet's document. With `must_be_set` a variable that the environment does
/// not have is an error, as on a node. Else what depends on one is left out.
///
/// # Errors
/// All that is wrong with it, as in a file.
pub fn document(text: &str, name: &str, must_be_set: bool) -> Result<Shared, ConfigErrors> {
    document_with(text, name, must_be_set, &environment)
}

pub(super) fn document_with(
    text: &str,
    name: &str,
    must_be_set: bool,
    env: &dyn Fn(&str) -> Option<String>,
) -> Result<Shared, ConfigErrors> {
    let (got, max) = (text.len(), limits::CONFIG_BYTES_MAX);
    if got > max {
        let text = format!("has {got} bytes, limit is {max}; take something out");
        return Err(ConfigErrors::of_file(name, text));
    }
    let mut errors = Errors::default();
    let unset = if must_be_set { Unset::Refuse } else { Unset::Leave };
    let root = tree::read_with(text, Some(env), unset, &mut errors);
    if errors.is_empty() && root.as_ref().is_none_or(|root| root.is_null()) {
        errors.push(Place { line: 1, column: 1 }, "the document has no content");
    }
    if let Some(root) = &root {
        refuse_own(root, &mut errors);
    }
    let mut config = super::decode_root(root.as_deref(), name, Server::default(), &mut errors);
    config.variables = errors.variables();
    config.secret_files = errors.files();
    let unset = errors.unset();
    errors.into_result(name, Shared { config, unset })
}

fn refuse_own(root: &tree::Node, errors: &mut Errors) {
    let tree::Value::Map(entries) = &root.value else { return };
    for entry in entries.iter().filter(|entry| OWN.contains(&entry.key.as_str())) {
        errors.push_at(
            entry.place,
            &entry.key,
            "stands in a fleet's document, but is each node's own; put it into the nodes' files",
        );
    }
}

impl Config {
    /// This node's part together with a document of its fleet.
    ///
    /// # Errors
    /// All that is wrong with the document on this node, a variable that is not set here too.
    pub fn of_fleet(&self, document: &Document) -> Result<Self, ConfigErrors> {
        let name = format!("fleet revision {}", document.revision);
        let Shared { config: shared, .. } = self::document(&document.text, &name, true)?;
        let mut config = Self {
            file: name,
            tracing: shared.tracing,
            kv: shared.kv,
            wasm: shared.wasm,
            services: shared.services,
            speaks_of_services: shared.speaks_of_services,
            document: Some(document.clone()),
            ..self.clone()
        };
        config.variables = self.variables.with(&shared.variables);
        config.secret_files.extend(shared.secret_files);
        Ok(config)
    }
}

/// What in a document looks like a secret that is written out: where it stands and why, in words.
/// A secret is named (`${NAME}`, `${file:PATH}`), so that each node fills it in.
pub fn secrets(text: &str) -> Vec<String> {
    let mut errors = Errors::default();
    let Some(root) = tree::read(text, None, &mut errors) else { return Vec::new() };
    let mut found = Vec::new();
    look(&root, "", &mut found);
    found
}

/// Parts of keys whose values are secrets.
const TELLING_KEYS: [&str; 9] = [
    "password",
    "passwd",
    "secret",
    "token",
    "apikey",
    "api_key",
    "api-key",
    "privatekey",
    "credential",
];

fn look(node: &tree::Node, key: &str, found: &mut Vec<String>) {
    match &node.value {
        tree::Value::Map(entries) => {
            for entry in entries {
                look(&entry.node, &entry.key, found);
            }
        }
        tree::Value::List(items) => items.iter().for_each(|item| look(item, key, found)),
        tree::Value::Scalar(scalar) if found.len() < limits::CONFIG_ERRORS_MAX => {
            if let Some(why) = tells_secret(key, &scalar.text) {
                let Place { line, column } = node.place;
                let key = value::quote(key);
                found.push(format!(
                    "{line}:{column}: the value of {key} {why}; write ${{NAME}} or ${{file:PATH}}, \
                     which each node fills in"
                ));
            }
        }
        _ => {}
    }
}

fn tells_secret(key: &str, text: &str) -> Option<&'static str> {
    if text.contains("${") || text.is_empty() {
        return None;
    }
    let key = key.to_ascii_lowercase();
    let is_token = |rest: &str| {
        rest.len() >= 16
            && rest.bytes().all(|b| b.is_ascii_alphanumeric() || b"_-.+/=".contains(&b))
    };
    let scheme = ["Bearer ", "Basic ", "bearer ", "basic "];
    // A path, a word or a number is no secret, whatever its key is called.
    let is_plain = ["true", "false", "null", "none", "off"].contains(&text)
        || text.starts_with('/')
        || text.parse::<f64>().is_ok();
    if text.contains("-----BEGIN ") && text.contains("PRIVATE KEY") {
        Some("is a private key")
    } else if text.starts_with("eyJ") && text.matches('.').count() == 2 && text.len() > 30 {
        Some("looks like a token (JWT)")
    } else if text.starts_with("AKIA") && text.len() == 20 {
        Some("looks like an access key")
    } else if scheme.iter().any(|scheme| text.strip_prefix(scheme).is_some_and(is_token)) {
        Some("looks like credentials")
    } else if has_password(text) {
        Some("is a URL with a password in it")
    } else if TELLING_KEYS.iter().any(|part| key.contains(part)) && !is_plain {
        Some("looks like a secret, by its key")
    } else {
        None
    }
}

/// Whether a URL has `user:password@`.
fn has_password(text: &str) -> bool {
    let Some((_, rest)) = text.split_once("://") else { return false };
    let authority = rest.split(['/', '?', '#']).next().unwrap_or_default();
    authority.rsplit_once('@').is_some_and(|(user, _)| {
        user.split_once(':').is_some_and(|(_, password)| !password.is_empty())
    })
}

#[cfg(test)]
mod tests;

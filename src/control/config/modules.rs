//! `modules`: how plugin modules are fetched from other machines, whom they must be signed by, and
//! where they are kept.

use std::path::{Path, PathBuf};
use std::time::Duration;

use reqwest::Url;

use super::decode::{Item, Section, duration, list, path, size, string};
use super::errors::Errors;
use super::remote::{self, authority};
use super::{Remote, Secret, keys};
use crate::limits;

/// `modules`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Modules {
    /// Where fetched modules are kept; `None`: `modules` in the folder of compiled ones.
    pub cache_dir: Option<PathBuf>,
    /// Bytes of those that the configuration no longer names, with those that it names.
    pub cache_bytes_max: u64,
    /// For all that one change lacks.
    pub timeout: Duration,
    /// Whom to trust instead of those whom the system trusts: certificates in PEM.
    pub ca: Option<PathBuf>,
    /// Hosts that are asked without TLS, with their ports.
    pub plain_http: Vec<String>,
    /// Who the gateway is, by host.
    pub auth: Vec<Login>,
    /// A `config.json` of Docker's, with more of that.
    pub docker_config: Option<PathBuf>,
    /// Public keys in PEM, one of which must have signed every fetched module; empty: none need to.
    pub signed_by: Vec<PathBuf>,
}

/// One of `modules.auth`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Login {
    /// `host` or `host:port`.
    pub host: String,
    /// What it is shown; `None`: nothing, whatever the file of Docker's says.
    pub shown: Option<Shown>,
}

/// What a server of modules is shown.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Shown {
    /// A name and a password (Basic; a registry may give a token for them).
    Password(String, Secret),
    /// A token as it is (Bearer).
    Token(Secret),
}

impl Default for Modules {
    fn default() -> Self {
        Self {
            cache_dir: None,
            cache_bytes_max: limits::MODULE_CACHE_BYTES_MAX,
            timeout: limits::MODULE_FETCH_TIMEOUT,
            ca: None,
            plain_http: Vec::new(),
            auth: Vec::new(),
            docker_config: None,
            signed_by: Vec::new(),
        }
    }
}

impl Modules {
    /// The files that it names and that may change.
    pub fn files(&self) -> impl Iterator<Item = &PathBuf> {
        self.ca.iter().chain(&self.docker_config).chain(&self.signed_by)
    }

    /// Whether a machine may be asked without TLS.
    pub fn is_plain(&self, host: &str) -> bool {
        self.plain_http.iter().any(|plain| plain == host)
    }

    /// Whether this URL may be asked for.
    ///
    /// # Errors
    /// It is one of plain HTTP, to a host that nobody has allowed that for.
    pub fn allows(&self, url: &Url) -> Result<(), String> {
        let is_loopback = match url.host() {
            Some(reqwest_host) => is_loopback(&reqwest_host.to_string()),
            None => false,
        };
        if url.scheme() == "https" || is_loopback || self.is_plain(&authority(url)) {
            return Ok(());
        }
        Err(format!(
            "plain HTTP to {host}, which anybody on the way can read and change; write https://, \
             or list {host} under modules.plainHttp",
            host = authority(url)
        ))
    }

    /// The file of a fetched module in the folder `dir`.
    pub fn file_in(dir: &Path, digest: &[u8; 32]) -> PathBuf {
        dir.join(format!("{}.wasm", crate::text::hex(digest)))
    }
}

fn is_loopback(host: &str) -> bool {
    let host = host.trim_matches(['[', ']']);
    host == "localhost" || host.parse::<std::net::IpAddr>().is_ok_and(|ip| ip.is_loopback())
}

/// A folder of the user that the process runs as, for what it keeps: machine code is in it, so
/// nobody else may write to it.
pub fn default_cache_dir() -> Option<PathBuf> {
    let absolute =
        |name: &str| std::env::var_os(name).map(PathBuf::from).filter(|path| path.is_absolute());
    absolute("CACHE_DIRECTORY")
        .or_else(|| absolute("XDG_CACHE_HOME").map(|dir| dir.join("odin")))
        .or_else(|| absolute("HOME").map(|dir| dir.join(".cache/odin")))
}

/// `modules`.
pub(super) fn modules(item: &Item<'_>, errors: &mut Errors) -> Option<Modules> {
    let map = Section::open(item, &keys::MODULES, errors)?;
    let default = Modules::default();
    let bytes = limits::MODULE_CACHE_BYTES_FLOOR..=limits::MODULE_CACHE_BYTES_CEILING;
    let most = limits::MODULE_HOSTS_MAX;
    Some(Modules {
        cache_dir: map.read("cacheDir", errors, path),
        cache_bytes_max: map
            .read("cacheBytesMax", errors, |item, errors| size(item, bytes, errors))
            .unwrap_or(default.cache_bytes_max),
        timeout: map.read("timeout", errors, duration).unwrap_or(default.timeout),
        ca: map.read("ca", errors, path),
        plain_http: map
            .read("plainHttp", errors, |item, errors| list(item, most, errors, host))
            .unwrap_or_default(),
        auth: map
            .read("auth", errors, |item, errors| list(item, most, errors, login))
            .unwrap_or_default(),
        docker_config: map.read("dockerConfig", errors, path),
        signed_by: map
            .read("signedBy", errors, |item, errors| list(item, most, errors, path))
            .unwrap_or_default(),
    })
}

fn host(item: &Item<'_>, errors: &mut Errors) -> Option<String> {
    let text = string(item, errors)?;
    if remote::is_host(&text) {
        return Some(text.to_ascii_lowercase());
    }
    item.expected(errors, "a host or host:port, as it stands in the path of a plugin");
    None
}

fn login(item: &Item<'_>, errors: &mut Errors) -> Option<Login> {
    let map = Section::open(item, &keys::MODULE_LOGIN, errors)?;
    let username = map.read("username", errors, string);
    let password = map.read("password", errors, string).map(Secret::new);
    let token = map.read("token", errors, string).map(Secret::new);
    let host = map.require("host", "as in registry.example:5000", errors, host);
    let shown = match (username, password, token) {
        (None, None, None) => None,
        (Some(name), Some(password), None) => Some(Shown::Password(name, password)),
        (None, None, Some(token)) => Some(Shown::Token(token)),
        (_, _, Some(_)) => {
            item.refuse(errors, "token stands beside username or password; give one of the two");
            None
        }
        _ => {
            item.refuse(errors, "username and password belong together; give both");
            None
        }
    };
    Some(Login { host: host?, shown })
}

/// A plugin's path that is on another machine: its digest must be given.
pub(super) fn remote(
    item: Option<&Item<'_>>,
    has_digest: bool,
    errors: &mut Errors,
) -> Option<Remote> {
    let item = item?;
    let text = &item.scalar()?.text;
    match Remote::of(text)? {
        Ok(remote) => {
            if !has_digest {
                let text = "is on another machine, and its sha256 is missing; give sha256, which \
                            sha256sum and odin-cli plugin push print";
                item.refuse(errors, text);
            }
            Some(remote)
        }
        Err(form) => {
            item.expected(errors, &form);
            None
        }
    }
}

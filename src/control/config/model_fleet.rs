//! The types of `fleet`: which fleet a gateway belongs to, and the document that it runs by.

use std::path::PathBuf;
use std::sync::Arc;

use super::Secret;

/// `fleet`, of a node's file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fleet {
    /// Where the fleet's configuration is.
    pub etcd: Etcd,
    /// What the node is called in the fleet; `None`: as the host.
    pub node: Option<String>,
    /// Where the revision that was applied last is kept; `None`: a folder of the user's own.
    pub cache_dir: Option<PathBuf>,
}

/// `fleet.etcd`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Etcd {
    /// Its members, tried in turns; never empty.
    pub endpoints: Vec<EtcdEndpoint>,
    /// What all keys of the fleet begin with: `/` in front, none at its end.
    pub prefix: String,
    /// The user, with a password, where etcd asks for one.
    pub user: Option<(String, Secret)>,
    /// How members of `https://` are called.
    pub tls: EtcdTls,
}

/// `http://host:port` or `https://host:port`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EtcdEndpoint {
    /// Whether it is called by TLS.
    pub is_secure: bool,
    /// A name or an address, an IPv6 one without its brackets.
    pub host: String,
    /// The port, 2379 where none is written.
    pub port: u16,
}

impl std::fmt::Display for EtcdEndpoint {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let scheme = if self.is_secure { "https" } else { "http" };
        match self.host.contains(':') {
            true => write!(f, "{scheme}://[{}]:{}", self.host, self.port),
            false => write!(f, "{scheme}://{}:{}", self.host, self.port),
        }
    }
}

/// `fleet.etcd.tls`.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct EtcdTls {
    /// Who signs the members' certificates; `None`: whom the system trusts.
    pub ca: Option<PathBuf>,
    /// The certificate that the node shows, and its key.
    pub own: Option<(PathBuf, PathBuf)>,
    /// The name in the members' certificates; `None`: the endpoint's.
    pub server_name: Option<String>,
}

/// The document of the fleet that a configuration was made of. Equal ones are the same.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Document {
    /// Its number in the fleet, from 1.
    pub revision: u64,
    /// Its YAML, as it was pushed.
    pub text: Arc<str>,
}

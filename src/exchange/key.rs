//! What of a request leads it to its endpoint, where its service shares requests out by a key.

use super::Exchange;
use crate::http::cookie::cookie;
use crate::http::message::RequestHead;
use crate::upstream::balance::{Algorithm, hash};
use crate::upstream::cluster::Endpoints;
use crate::upstream::policy::HashOn;

impl Exchange<'_> {
    /// The hash of the request's key; `None` if the service goes by none, or the request has none:
    /// any endpoint will do then.
    pub(super) fn key(&self, endpoints: &Endpoints, request: &RequestHead) -> Option<u64> {
        let policy = endpoints.policy();
        match policy.algorithm {
            Algorithm::ConsistentHash { .. } => {
                self.chosen.get().key.or_else(|| self.key_of(&policy.hash, request))
            }
            _ => None,
        }
    }

    #[cold]
    fn key_of(&self, on: &HashOn, request: &RequestHead) -> Option<u64> {
        match on {
            HashOn::Plugin => None,
            HashOn::ClientAddress => Some(match self.asker.ip {
                std::net::IpAddr::V4(ip) => hash(&ip.octets()),
                std::net::IpAddr::V6(ip) => hash(&ip.octets()),
            }),
            HashOn::Header(name) => request.fields.get(name).map(hash),
            HashOn::Cookie(name) => {
                let lines = request.fields.get_all("cookie");
                cookie(lines, name.as_bytes()).map(hash)
            }
        }
    }
}

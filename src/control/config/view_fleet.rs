//! `fleet` as JSON, for the admin API.

use serde_json::{Value, json};

use super::Fleet;
use super::view::MASK;

/// `fleet`, without its password.
pub(super) fn fleet(fleet: &Fleet) -> Value {
    let etcd = &fleet.etcd;
    let endpoints = etcd.endpoints.iter().map(ToString::to_string);
    json!({
        "etcd": {
            "endpoints": endpoints.collect::<Vec<_>>(),
            "prefix": etcd.prefix,
            "username": etcd.user.as_ref().map(|(name, _)| name),
            "password": etcd.user.as_ref().map(|_| MASK),
            "tls": {
                "ca": etcd.tls.ca,
                "cert": etcd.tls.own.as_ref().map(|(cert, _)| cert),
                "key": etcd.tls.own.as_ref().map(|(_, key)| key),
                "serverName": etcd.tls.server_name,
            },
        },
        "node": fleet.node,
        "cacheDir": fleet.cache_dir,
    })
}

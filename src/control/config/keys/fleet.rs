//! The keys of `fleet`.

use super::{Keys, Kind, key};
use crate::limits;

/// `fleet`.
pub(in crate::control::config) const FLEET: Keys = Keys {
    allowed: &[
        key(
            "etcd",
            Kind::Section(&ETCD),
            "The etcd that the fleet's configuration is in. Required.",
        )
        .required()
        .example("{endpoints: ['http://127.0.0.1:2379']}"),
        key("node", Kind::Name, "What this gateway is called in the fleet. Default: as its host.")
            .otherwise("the host's name")
            .when(
                "several gateways run on one host, or its name says nothing; no two have one name",
            )
            .example("edge-1"),
        key(
            "cacheDir",
            Kind::Path,
            "Where the revision that was applied last is kept, for starts without etcd. Default: \
             fleet in $STATE_DIRECTORY, else in the user's own state folder.",
        )
        .form("folder that the gateway may write to; taken at start")
        .otherwise(
            "`fleet` in `$STATE_DIRECTORY`, else `odin/fleet` in `$XDG_STATE_HOME` or \
             `$HOME/.local/state`",
        )
        .when("the gateway has no such folder, or several run as one user")
        .example("/var/lib/odin/fleet"),
    ],
    later: &[],
};

/// `fleet.etcd`.
pub(in crate::control::config) const ETCD: Keys = Keys {
    allowed: &[
        key(
            "endpoints",
            Kind::List(&ENDPOINT, 1, limits::FLEET_ENDPOINTS_MAX),
            "Its members, http:// or https://; one that does not answer is left for the next. \
             Required.",
        )
        .form("list of URLs, 1 to 16; port 2379 where none is written")
        .required()
        .when("all members, so that one may be away")
        .example("['http://127.0.0.1:2379']"),
        key(
            "prefix",
            Kind::Shaped(r"^/[!-~]*[!-.0-~]$"),
            "What all keys of this fleet begin with. Default: /odin.",
        )
        .form("text that begins with `/` and does not end with it")
        .default("/odin")
        .when("several fleets share one etcd")
        .example("/edge"),
        key("username", Kind::Text, "Its user, where it asks for one. Default: none.")
            .form("text, with `password`")
            .otherwise("none")
            .when("etcd has users (`etcdctl auth enable`)")
            .example("odin-node"),
        key("password", Kind::Text, "The user's password; never shown. Default: none.")
            .form("text; never printed")
            .otherwise("none")
            .when("goes with `username`")
            .example("${ETCD_PASSWORD}"),
        key(
            "tls",
            Kind::Section(&ETCD_TLS),
            "How members of https:// are called. Default: by whom the system trusts.",
        )
        .form("map, for endpoints of `https://`")
        .when("their certificates are no public ones, or they ask who calls"),
    ],
    later: &[],
};

/// `fleet.etcd.tls`.
pub(in crate::control::config) const ETCD_TLS: Keys = Keys {
    allowed: &[
        key(
            "ca",
            Kind::Path,
            "Who signs the members' certificates. Default: whom the system trusts.",
        )
        .form("file of certificates in PEM")
        .otherwise("whom the system trusts")
        .when("who signs them; nobody else is trusted then")
        .example("/etc/odin/tls/etcd-ca.pem"),
        key("cert", Kind::Path, "What this node shows of its own. Default: none.")
            .form("file of a certificate in PEM, with its chain")
            .otherwise("none")
            .when("etcd asks for client certificates (`--client-cert-auth`)")
            .example("/etc/odin/tls/node.pem"),
        key("key", Kind::Path, "The key of the node's own certificate. Default: none.")
            .form("file of its key in PEM")
            .otherwise("none")
            .when("goes with `cert`")
            .example("/etc/odin/tls/node.key"),
        key("serverName", Kind::Text, "The name in their certificates. Default: the endpoint's.")
            .form("name or address")
            .otherwise("the endpoint's")
            .when("the name in their certificates is another")
            .example("etcd.internal"),
    ],
    later: &[],
};

/// A member of an etcd.
const ENDPOINT: Kind = Kind::Shaped(r"^https?://[^/?#@\s]+/?$");

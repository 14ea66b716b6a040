//! The keys of `modules`.

use super::{DURATION, Keys, Kind, key};
use crate::limits;

/// `modules`.
pub(in crate::control::config) const MODULES: Keys = Keys {
    allowed: &[
        key(
            "cacheDir",
            Kind::Path,
            "Where fetched modules are kept. What is there needs no network. Default: modules in \
             the folder of wasm.cacheDir.",
        )
        .otherwise("`modules` in the folder of `wasm.cacheDir`")
        .when("that folder does not outlive a restart")
        .example("/var/lib/odin/modules"),
        key(
            "cacheBytesMax",
            Kind::Size(limits::MODULE_CACHE_BYTES_FLOOR, limits::MODULE_CACHE_BYTES_CEILING),
            "Bytes of modules there. Default: 1GiB. Over it those go that the configuration does \
             not name, the longest unused first.",
        )
        .form("size from 64 MiB")
        .default("1GiB")
        .when("the disk is small, or many versions shall stay at hand"),
        key(
            "timeout",
            DURATION,
            "For fetching what a start or a reload lacks, all of it together. Default: 60s.",
        )
        .form("duration, all modules of one start or reload")
        .default("60s")
        .when("a start must be quick whether a registry answers or not"),
        key(
            "ca",
            Kind::Path,
            "Certificates in PEM of those who sign the servers' of modules, in place of those \
             whom the system (or SSL_CERT_FILE, SSL_CERT_DIR) trusts. Default: none.",
        )
        .form("file, PEM")
        .otherwise("those whom the system trusts")
        .when("a registry of your own has a certificate of your own")
        .example("/etc/odin/tls/registry-ca.pem"),
        key(
            "plainHttp",
            Kind::List(&Kind::Text, 0, limits::MODULE_HOSTS_MAX),
            "Hosts, with their ports, that are asked without TLS: registries, and http:// in a \
             path. Default: none; http:// to a loopback address needs no entry.",
        )
        .form("list of `host` or `host:port`, at most 64")
        .otherwise("none")
        .when("a registry on a trusted network has no TLS")
        .example("['127.0.0.1:5000']"),
        key(
            "auth",
            Kind::List(&Kind::Section(&MODULE_LOGIN), 0, limits::MODULE_HOSTS_MAX),
            "Who the gateway is, by host. It is shown to that host alone, to no redirect's. \
             Default: none.",
        )
        .form("list of maps, at most 64")
        .otherwise("none")
        .when("a registry or server asks who one is")
        .example("[{host: registry.example, username: odin, password: '${REGISTRY_PASSWORD}'}]"),
        key(
            "dockerConfig",
            Kind::Path,
            "A file as docker login writes it (config.json), for hosts that auth does not name. \
             Programs that it names for logins are not run. Default: none.",
        )
        .form("file, JSON")
        .otherwise("none")
        .when("the machine has such a file already")
        .example("/etc/odin/docker-config.json"),
        key(
            "signedBy",
            Kind::List(&Kind::Path, 0, limits::MODULE_HOSTS_MAX),
            "Files with public keys (Ed25519, PEM), one of which must have signed each fetched \
             module (docs/modules.md). Default: none, and the digest alone decides.",
        )
        .form("list of files, PEM, at most 64")
        .otherwise("none: the digest alone decides")
        .when("who writes the configuration must not be able to name any module")
        .example("[/etc/odin/modules.pub]"),
    ],
    later: &[],
};

/// `modules.auth[]`.
pub(in crate::control::config) const MODULE_LOGIN: Keys = Keys {
    allowed: &[
        key("host", Kind::Text, "host or host:port, as it stands in the path. Required.")
            .form("`host` or `host:port`")
            .required()
            .example("registry.example:5000"),
        key("username", Kind::Text, "The user, with password. Default: none.")
            .form("text, with `password`")
            .otherwise("none")
            .when("the host knows users")
            .example("odin"),
        key("password", Kind::Text, "Its password; never shown. Default: none.")
            .form("text; never printed")
            .otherwise("none")
            .when("the host knows users")
            .example("${REGISTRY_PASSWORD}"),
        key("token", Kind::Text, "A token (Bearer) in their place; never shown. Default: none.")
            .form("text; never printed")
            .otherwise("none")
            .when("the host knows tokens")
            .example("${REGISTRY_TOKEN}"),
    ],
    later: &[],
};

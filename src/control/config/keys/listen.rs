//! The keys of listeners: `server.listen[]`, and the TLS of `admin.listen`.

use super::{Key, Keys, Kind, LISTEN, TCP_LISTEN, key};
use crate::limits;

/// `server.listen[]` as a map.
pub(in crate::control::config) const LISTENER: Keys = Keys {
    allowed: &[
        key("address", LISTEN, "Where it accepts, as an entry that is an address alone. Required.")
            .form("as `server.listen`")
            .example("0.0.0.0:8443")
            .required(),
        TLS,
        key(
            "protocols",
            Kind::List(&Kind::Word(&["h2", "http/1.1", "h2c"]), 1, 2),
            "What is spoken, the better first: by TLS as the client chooses (ALPN), in the clear \
             HTTP/2 by prior knowledge (h2 or h2c). Default: [h2, http/1.1].",
        )
        .form("list of `h2`, `http/1.1`; in the clear also `h2c` for `h2`")
        .default("[h2, http/1.1]")
        .when("one of them is not to be spoken there")
        .example("[http/1.1]"),
        key(
            "proxyProtocol",
            Kind::Word(&["off", "accept", "require"]),
            "Whether connections begin with a header of the PROXY protocol (version 1 or 2), from \
             trustedProxies alone: off, accept (there may be one) or require. Default: off.",
        )
        .default("off")
        .when("a proxy in front (of `trustedProxies`) tells by it who has connected"),
    ],
    later: &[],
};

const TLS: Key =
    key("tls", Kind::Section(&LISTENER_TLS), "How connections are secured. Default: in the clear.")
        .otherwise("in the clear")
        .when("clients come by https: [TLS and what else stands in front](edge.md)");

/// `admin.listen` as a map.
pub(in crate::control::config) const ADMIN_LISTENER: Keys = Keys {
    allowed: &[
        key("address", TCP_LISTEN, "Where it listens, as an address alone. Required.")
            .form("as `admin.listen`")
            .example("127.0.0.1:8443")
            .required(),
        TLS.when("it is reached over a network"),
    ],
    later: &[],
};

/// `tls` of a listener.
pub(in crate::control::config) const LISTENER_TLS: Keys = Keys {
    allowed: &[
        key(
            "certificates",
            Kind::List(&Kind::Section(&CERTIFICATE), 1, limits::CERTIFICATES_MAX),
            "PEM files, chosen by the host that a client asks for (SNI) from the names in them; \
             the first is for whoever asks for no other. Several kinds of keys for one host may \
             stand there. Required.",
        )
        .example("[{cert: /etc/odin/tls/a.pem, key: /etc/odin/tls/a.key}]")
        .required(),
        key(
            "minVersion",
            Kind::Word(&["1.2", "1.3"]),
            "The oldest version that is spoken: \"1.2\" or \"1.3\". Default: \"1.2\".",
        )
        .form("`\"1.2\"`, `\"1.3\"`")
        .default("\"1.2\"")
        .when("every client can do 1.3"),
        key(
            "clientAuth",
            Kind::Section(&CLIENT_AUTH),
            "Whether clients prove who they are. Default: they are not asked.",
        )
        .otherwise("clients are not asked")
        .when("clients prove who they are"),
    ],
    later: &[],
};

/// `certificates[]` of a listener.
pub(in crate::control::config) const CERTIFICATE: Keys = Keys {
    allowed: &[
        key("cert", Kind::Path, "The certificate, then those that issued it, in PEM. Required.")
            .form("file, PEM")
            .example("/etc/odin/tls/a.pem")
            .required(),
        key("key", Kind::Path, "Its key, in PEM and not encrypted. Required.")
            .form("file, PEM")
            .example("/etc/odin/tls/a.key")
            .required(),
        key(
            "ocsp",
            Kind::Path,
            "What the issuer says of it (OCSP), in DER, to be sent along. Default: none.",
        )
        .form("file, DER")
        .otherwise("none")
        .when("the issuer's word on it is to be sent along; renew it before it ends")
        .example("/etc/odin/tls/a.ocsp"),
    ],
    later: &[],
};

/// `clientAuth` of a listener.
pub(in crate::control::config) const CLIENT_AUTH: Keys = Keys {
    allowed: &[
        key("ca", Kind::Path, "Who issues clients' certificates, in PEM. Required.")
            .form("file, PEM")
            .example("/etc/odin/tls/clients-ca.pem")
            .required(),
        key(
            "mode",
            Kind::Word(&["require", "optional"]),
            "require, or optional: those without a certificate are served as well; one that is not \
             trusted never is. Default: require.",
        )
        .default("require")
        .when("clients without one are served as well"),
    ],
    later: &[],
};

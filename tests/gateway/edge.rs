//! The gateway as the outermost proxy: TLS to clients, the PROXY protocol, listeners that change.

mod certificates;
mod changes;
mod handshakes;
mod proxies;

use std::net::SocketAddr;

use crate::support::secure::{Issuer, Leaf, Shaker};
use crate::support::{Gateway, Setup};

/// A gateway whose only listener speaks TLS for `localhost`, and who trusts it.
struct Scene {
    issuer: Issuer,
    gateway: Gateway,
    shaker: Shaker,
}

impl Scene {
    /// Of the echo.
    fn new() -> Self {
        Self::of(Setup::echo(), "")
    }

    /// `more` are keys of `tls`, each with a comma before it.
    fn of(setup: Setup, more: &str) -> Self {
        let issuer = Issuer::new("scene");
        let pair = issuer.write(&setup.dir, "a", &Leaf::default());
        let listen = format!("[{{address: '127.0.0.1:0', tls: {{certificates: [{pair}]{more}}}}}]");
        let gateway = setup.listen(&listen).start();
        let shaker = Shaker::trusting(&issuer, |_| ());
        Self { issuer, gateway, shaker }
    }

    fn addr(&self) -> SocketAddr {
        self.gateway.addr
    }

    fn handshakes(&self, outcome: &str) -> f64 {
        self.gateway.metric(&format!("odin_tls_handshakes_total{{outcome=\"{outcome}\"}}"))
    }
}

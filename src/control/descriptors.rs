//! The process's descriptors: as many as it may have, and some of them kept from clients.
//!
//! The kernel gives the lowest number that is free, so the number of an accepted connection tells
//! how many are in use: a worker needs no count of the process to see that few are left.

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

use super::config::Config;
use crate::limits::{CONNECTIONS_CEILING, DESCRIPTORS_KEPT_PART};

/// Raises the soft limit to the hard one. The soft one is low for programs that use select(2).
pub fn raise() {
    let limit = getrlimit(Resource::Nofile);
    if limit.current == limit.maximum {
        return;
    }
    let raised = Rlimit { current: limit.maximum, maximum: limit.maximum };
    if let Err(error) = setrlimit(Resource::Nofile, raised) {
        tracing::warn!(%error, "the limit of open files (RLIMIT_NOFILE) cannot be raised");
    }
}

/// How many there may be; `None`: without a limit.
fn limit() -> Option<usize> {
    getrlimit(Resource::Nofile).current.and_then(|limit| usize::try_from(limit).ok())
}

/// The first number that no client's connection may have.
#[must_use]
pub fn clients_end() -> usize {
    limit().map_or(usize::MAX, |limit| limit - limit / DESCRIPTORS_KEPT_PART)
}

/// How many of them connections to origins have unless the configuration says so.
#[must_use]
pub fn upstream_max() -> usize {
    limit().map_or(CONNECTIONS_CEILING, |limit| limit / 2)
}

/// Says so if there are too few for the clients that the configuration asks to let in. The default
/// asks for nothing: as many are let in as fit.
pub fn warn_if_few(config: &Config) {
    let Some(wanted) = config.server.limits.connections_max else { return };
    let (Some(limit), most) = (limit(), clients_end()) else { return };
    if wanted > most {
        tracing::warn!(
            "server.limits.connectionsMax lets {wanted} clients in, and with {limit} open files \
             (RLIMIT_NOFILE) there is room for {most}: those over it are turned away; raise the \
             limit (LimitNOFILE=, ulimit -Hn) or lower connectionsMax"
        );
    }
}

//! Which service a request goes to, and which of those that this one splits it to.

use crate::error::Error;
use crate::http::connection::Asker;
use crate::http::message::RequestHead;
use crate::plugin::Chain;
use crate::route;
use crate::route::split::Chosen;
use crate::snapshot::{Service, Snapshot, Split};

/// The service that a request goes to; its path is normal from then on.
pub(super) fn service<'a>(
    snapshot: &'a Snapshot,
    request: &mut RequestHead,
    path: &mut String,
) -> Result<&'a Service, Error> {
    route::path::normalise(&request.path, snapshot.paths, path)?;
    std::mem::swap(&mut request.path, path);
    snapshot.service_of(request).ok_or(Error::NoRoute)
}

/// The branch of a request, and whether its client is to be told of it.
#[cold]
pub(super) fn branch(
    split: &Split,
    request: &RequestHead,
    asker: Asker<'_>,
    random: impl FnOnce() -> u64,
) -> (usize, bool) {
    let Chosen { branch, is_news } = split.plan.choose(request, asker.ip, random);
    (branch, is_news)
}

/// The service of a branch, and the plugins that run for it.
pub(super) fn of_branch<'s>(
    snapshot: &'s Snapshot,
    split: &'s Split,
    branch: usize,
) -> Option<(&'s Service, &'s Chain)> {
    let service = snapshot.services.get(split.plan.branches.get(branch)?.service)?;
    Some((service, split.chains.get(branch)?))
}

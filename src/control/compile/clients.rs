//! What services do for their clients beside passing responses on: the file's words become what
//! workers use.

use super::super::config::{self, Clients, Config, CorsOrigin, Service};
use crate::plugin::Chain;
use crate::route::cors::{Cors, Names, Origin};
use crate::route::mirror::Mirror;
use crate::route::split;
use crate::snapshot::{Extras, RequestBounds, Split};

/// `chain_for` makes the chain of the plugins that run for one of these services.
pub(super) fn extras(
    service: &Service,
    config: &Config,
    chain_for: &dyn Fn(&[&str]) -> Chain,
) -> Option<Box<Extras>> {
    let Clients { cors, compression } = &service.clients;
    let split = service.routes.split.as_ref();
    let mirror = service.routes.mirror.as_ref().and_then(|mirror| {
        let place = config.services.iter().position(|one| one.name == mirror.service)?;
        Some(Mirror { service: place, share: mirror.share })
    });
    let bounds = bounds(&service.limits, &config.server.limits);
    let has_none = cors.is_none() && compression.is_none() && split.is_none();
    if has_none && mirror.is_none() && bounds.is_none() {
        return None;
    }
    let cors = cors.as_ref().map(self::cors);
    let split = split.map(|split| {
        let names = split.branches.iter().map(|branch| branch.service.as_str());
        Split {
            chains: names.map(|name| chain_for(&[&service.name, name])).collect(),
            plan: plan(split, &config.services),
        }
    });
    Some(Box::new(Extras { cors, compression: compression.clone(), split, mirror, bounds }))
}

/// `None`: the server's hold.
fn bounds(own: &config::ServiceLimits, server: &config::Limits) -> Option<RequestBounds> {
    let config::ServiceLimits { head_bytes, head_fields, uri_bytes, body_bytes, .. } = *own;
    if head_bytes.is_none() && head_fields.is_none() && uri_bytes.is_none() && body_bytes.is_none()
    {
        return None;
    }
    Some(RequestBounds {
        head_bytes_max: head_bytes.unwrap_or(usize::MAX),
        head_fields_max: head_fields.unwrap_or(usize::MAX),
        uri_bytes_max: uri_bytes.unwrap_or(usize::MAX),
        body_bytes_max: body_bytes.unwrap_or(server.body_bytes_max),
    })
}

/// Names of services become their places in the snapshot.
fn plan(from: &config::Split, services: &[Service]) -> split::Split {
    let branch = |branch: &config::Branch| {
        let service = services.iter().position(|service| service.name == branch.service)?;
        let when = branch.when.as_ref().map(super::routes::matcher);
        Some(split::Branch { service, name: branch.service.clone(), weight: branch.weight, when })
    };
    let branches = from.branches.iter().filter_map(branch).collect();
    split::Split { branches, sticky: from.sticky.clone() }
}

fn cors(from: &config::Cors) -> Cors {
    let names = |names: &Option<Vec<String>>| match names {
        None => Names::Any,
        Some(names) => Names::These(names.join(", ")),
    };
    Cors {
        origins: from.origins.iter().filter_map(origin).collect(),
        methods: names(&from.methods),
        headers: names(&from.headers),
        expose: names(&from.expose),
        credentials: from.credentials,
        max_age: from.max_age.map(|age| age.as_secs()),
    }
}

/// `None` for an expression that cannot be built, which the file was refused for.
fn origin(from: &CorsOrigin) -> Option<Origin> {
    Some(match from {
        CorsOrigin::Any => Origin::Any,
        CorsOrigin::Is(origin) => Origin::Is(origin.clone()),
        CorsOrigin::Below(scheme, rest) => Origin::Below(scheme.clone(), rest.clone()),
        CorsOrigin::Fits(expression) => Origin::Fits(CorsOrigin::build(expression).ok()?),
    })
}

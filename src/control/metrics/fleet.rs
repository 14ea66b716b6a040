//! How this gateway stands in its fleet. One that is in none has the names, and no values but 0.

use super::super::fleet::Link;
use super::super::reload::Control;
use super::seconds;
use super::text::Text;

pub(super) fn families(text: &mut Text, control: &Control) {
    let standing = control.fleet().map(|place| place.standing());
    let mut gauge = |family: &str, help: &str, value: Option<f64>| {
        text.family(family, "gauge", help);
        if let Some(value) = value.filter(|_| standing.is_some()) {
            text.line(family, &[], value);
        }
    };
    let standing = standing.as_ref();
    let applied = standing.and_then(|standing| standing.applied);
    gauge(
        "odin_fleet_revision",
        "The revision of the fleet that is served.",
        applied.map(|(revision, _)| revision as f64),
    );
    gauge(
        "odin_fleet_applied_timestamp_seconds",
        "Since when it is served, since 1970.",
        applied.map(|(_, at)| seconds(at)),
    );
    gauge(
        "odin_fleet_wanted_revision",
        "The revision that etcd says shall be served; 0: it says none, or has not said it yet.",
        standing.map(|standing| standing.wanted.unwrap_or_default() as f64),
    );
    let refused = standing.map(|standing| standing.refused.as_ref());
    gauge(
        "odin_fleet_refused",
        "1 while a revision that shall be served is refused.",
        refused.map(|refused| f64::from(u8::from(refused.is_some()))),
    );
    let link = standing.map(|standing| match standing.link {
        Link::Up { since, .. } => (1.0, seconds(since)),
        Link::Down { since, .. } => (0.0, seconds(since)),
    });
    gauge("odin_fleet_connected", "1 while etcd is reached.", link.map(|(is_up, _)| is_up));
    gauge(
        "odin_fleet_connected_since_timestamp_seconds",
        "Since when that is so, since 1970.",
        link.map(|(_, since)| since),
    );
    let family = "odin_fleet_connections_total";
    text.family(family, "counter", "Connections to etcd that were made.");
    if let Some(standing) = standing {
        text.line(family, &[], standing.connections);
    }
    let family = "odin_fleet_revisions_total";
    text.family(
        family,
        "counter",
        "Revisions of the fleet that were tried, by what became of them.",
    );
    let [applied, refused] = standing.map_or([0; 2], |standing| standing.outcomes);
    text.line(family, &[("outcome", "applied")], applied);
    text.line(family, &[("outcome", "refused")], refused);
}

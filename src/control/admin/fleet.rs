//! `GET /api/fleet`: how this node stands in its fleet, and what all nodes say of themselves.

use axum::Json;
use axum::http::StatusCode;
use serde_json::{Value, json};

use super::super::fleet::{Link, Standing};
use super::reply::Failed;
use super::{State, millis};

pub(super) async fn fleet(control: State) -> Result<Json<Value>, Failed> {
    let Some(place) = control.fleet() else {
        let reason = "this gateway is in no fleet; docs/fleet.md says how to make one";
        return Err(Failed::new(StatusCode::NOT_FOUND, reason));
    };
    let asked = place.all_nodes().await;
    let standing = place.standing();
    let mut document = own(&standing);
    // What was read last is better than nothing.
    let known = standing.nodes;
    let nodes = asked.as_ref().ok().or(known.as_ref());
    document["current"] = nodes.map(|nodes| nodes.live.revision()).into();
    document["canary"] = nodes
        .and_then(|nodes| nodes.live.canary.as_ref())
        .map(|(canary, _)| json!({ "revision": canary.revision, "nodes": canary.nodes }))
        .into();
    document["nodes"] = nodes.map(|nodes| json!(&*nodes.reports)).into();
    document["error"] = asked.err().into();
    Ok(Json(document))
}

/// Of this node alone.
pub(in crate::control) fn own(standing: &Standing) -> Value {
    let (is_up, since, member, reason) = match &standing.link {
        Link::Up { since, member } => (true, *since, Some(member), None),
        Link::Down { since, reason } => (false, *since, None, Some(reason)),
    };
    let etcd = json!({
        "connected": is_up,
        "sinceMs": millis(since),
        "member": member,
        "reason": reason,
    });
    json!({
        "node": standing.node,
        "words": standing.words(),
        "revision": standing.applied.map(|(revision, _)| revision),
        "sinceMs": standing.applied.map(|(_, at)| millis(at)),
        "wanted": standing.wanted,
        "goesFirst": standing.is_first,
        "refused": standing.refused.as_ref().map(|refused| json!({
            "revision": refused.revision,
            "reason": refused.reason,
            "atMs": millis(refused.at),
        })),
        "etcd": etcd,
        "unreported": standing.unreported,
    })
}

//! The keys of a fleet in etcd, under its prefix, and what is read and written of them.
//!
//! | key | value |
//! |---|---|
//! | `live/current` | which revision all nodes run: [`Pointer`] |
//! | `live/canary` | which revision some of them run first: [`Canary`], under a lease |
//! | `documents/N` | the document of revision N (`document.rs`) |
//! | `history/N` | who pushed it, when: [`Entry`] |
//! | `nodes/NAME` | what a node runs or refuses: [`Report`], under a lease |
//!
//! Nodes watch `live/` alone: what they do not run is not sent to them.

use serde::{Deserialize, Serialize};

use super::document::{self, SCHEMA, read_json};
use super::etcd::messages as m;
use super::etcd::{Etcd, Failure, end_of};
use crate::control::config::Document;
use crate::limits::{FLEET_HISTORY_MAX, FLEET_NODES_MAX};

/// `live/current`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Pointer {
    /// See [`SCHEMA`].
    pub schema: u32,
    /// The document's number.
    pub revision: u64,
}

/// `live/canary`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Canary {
    /// See [`SCHEMA`].
    pub schema: u32,
    /// The document's number.
    pub revision: u64,
    /// The nodes that run it.
    pub nodes: Vec<String>,
}

/// `history/N`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Entry {
    /// See [`SCHEMA`].
    pub schema: u32,
    /// The document's number.
    pub revision: u64,
    /// Of its text.
    pub sha256: String,
    /// Of its text.
    pub bytes: usize,
    /// Seconds since 1970.
    pub at: u64,
    /// Who pushed it, and where.
    pub by: String,
    /// What for.
    pub note: String,
    /// The revision that it was made from; 0: none.
    pub from: u64,
    /// Tells this push from every other one.
    pub id: String,
}

/// `nodes/NAME`. A reader takes a later version's as far as it knows it: it is told, not obeyed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, Default)]
#[serde(rename_all = "camelCase", default)]
pub struct Report {
    /// See [`SCHEMA`].
    pub schema: u32,
    /// The node's name.
    pub node: String,
    /// The revision that it serves.
    pub applied: u64,
    /// Since when, in seconds since 1970.
    pub applied_at: u64,
    /// The revision that it was told to serve and does not, if there is one.
    pub refused: Option<u64>,
    /// Why not.
    pub reason: Option<String>,
    /// What its `/readyz` says: `ready`, `degraded`, `not ready`, `draining`.
    pub health: String,
    /// What does not work, in words.
    pub problems: Vec<String>,
    /// Requests it has answered, and how many of them by 5xx, since it runs the revision.
    pub requests: u64,
    /// See `requests`.
    pub errors: u64,
    /// The gateway's version.
    pub version: String,
    /// Tells the process from one that took its place, and from one that has the same name.
    pub instance: String,
}

/// What `live/` says.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Live {
    /// `live/current` and the revision of etcd that changed it last.
    pub current: Option<(Pointer, i64)>,
    /// `live/canary` and the same.
    pub canary: Option<(Canary, i64)>,
}

impl Live {
    /// The revision that a node shall serve, and whether it goes first with it.
    pub fn wanted_by(&self, node: &str) -> Option<(u64, bool)> {
        let is_first = |canary: &&(Canary, i64)| canary.0.nodes.iter().any(|name| name == node);
        if let Some((canary, _)) = self.canary.as_ref().filter(is_first) {
            return Some((canary.revision, true));
        }
        self.current.as_ref().map(|(pointer, _)| (pointer.revision, false))
    }

    /// The number of `live/current`; 0: there is none.
    pub fn revision(&self) -> u64 {
        self.current.as_ref().map_or(0, |(pointer, _)| pointer.revision)
    }
}

/// Where the keys are.
#[derive(Debug, Clone)]
pub struct Keys {
    prefix: String,
}

impl Keys {
    /// Under this prefix.
    pub fn under(prefix: &str) -> Self {
        Self { prefix: prefix.to_owned() }
    }

    fn live(&self) -> String {
        format!("{}/live/", self.prefix)
    }

    /// `live/current`.
    pub fn current(&self) -> String {
        format!("{}current", self.live())
    }

    /// `live/canary`.
    pub fn canary(&self) -> String {
        format!("{}canary", self.live())
    }

    /// `documents/N`.
    pub fn document(&self, revision: u64) -> String {
        format!("{}/documents/{revision:020}", self.prefix)
    }

    /// `history/N`.
    pub fn entry(&self, revision: u64) -> String {
        format!("{}/history/{revision:020}", self.prefix)
    }

    /// `nodes/NAME`.
    pub fn node(&self, name: &str) -> String {
        format!("{}{name}", self.nodes())
    }

    fn nodes(&self) -> String {
        format!("{}/nodes/", self.prefix)
    }

    /// What a node watches.
    pub fn watched(&self, start_revision: i64) -> m::WatchCreate {
        let live = self.live();
        m::WatchCreate { key: live.clone().into_bytes(), range_end: end_of(&live), start_revision }
    }
}

fn wrong(why: String) -> Failure {
    Failure::Refused(why)
}

/// Takes over what has happened to `live/`.
///
/// # Errors
/// A pointer that this version cannot read: it stays as it was.
pub fn follow(live: &mut Live, keys: &Keys, events: &[m::Event]) -> Result<(), String> {
    for event in events {
        let Some(kv) = &event.kv else { continue };
        let is_there = event.kind == 0;
        if kv.key == keys.current().as_bytes() {
            live.current = is_there.then(|| pointer(kv)).transpose()?;
        } else if kv.key == keys.canary().as_bytes() {
            live.canary = is_there.then(|| canary(kv)).transpose()?;
        }
    }
    Ok(())
}

fn pointer(kv: &m::KeyValue) -> Result<(Pointer, i64), String> {
    Ok((read_json(&kv.value, "live/current")?, kv.mod_revision))
}

fn canary(kv: &m::KeyValue) -> Result<(Canary, i64), String> {
    Ok((read_json(&kv.value, "live/canary")?, kv.mod_revision))
}

/// Reads `live/`, and the revision of etcd that it was read at.
///
/// # Errors
/// etcd does not answer, or holds what this version cannot read.
pub async fn live(etcd: &mut Etcd, keys: &Keys) -> Result<(Live, i64), Failure> {
    let live = keys.live();
    let request = m::RangeRequest {
        key: live.clone().into_bytes(),
        range_end: end_of(&live),
        ..m::RangeRequest::default()
    };
    let answer = etcd.range(request).await?;
    let mut live = Live::default();
    for kv in &answer.kvs {
        let event = m::Event { kind: 0, kv: Some(kv.clone()) };
        follow(&mut live, keys, &[event]).map_err(wrong)?;
    }
    Ok((live, answer.header.map_or(0, |header| header.revision)))
}

/// Reads a document; `None`: it is not there (any more).
///
/// # Errors
/// etcd does not answer, or what it holds is wrong.
pub async fn read(
    etcd: &mut Etcd,
    keys: &Keys,
    revision: u64,
) -> Result<Option<Result<Document, String>>, Failure> {
    let key = keys.document(revision).into_bytes();
    let answer = etcd.range(m::RangeRequest { key, ..m::RangeRequest::default() }).await?;
    Ok(answer.kvs.first().map(|kv| {
        let document = document::decode(&kv.value)?;
        if document.revision == revision {
            Ok(document)
        } else {
            Err(format!("the document of revision {revision} says it is {}", document.revision))
        }
    }))
}

/// The last pushes, the latest first.
///
/// # Errors
/// etcd does not answer, or holds what this version cannot read.
pub async fn history(etcd: &mut Etcd, keys: &Keys) -> Result<Vec<Entry>, Failure> {
    let all = format!("{}/history/", keys.prefix);
    let request = m::RangeRequest {
        key: all.clone().into_bytes(),
        range_end: end_of(&all),
        limit: FLEET_HISTORY_MAX.cast_signed() * 2,
        order: m::Order::Descend as i32,
        ..m::RangeRequest::default()
    };
    let answer = etcd.range(request).await?;
    let read = |kv: &m::KeyValue| read_json(&kv.value, "an entry of the history").map_err(wrong);
    answer.kvs.iter().map(read).collect()
}

/// What all nodes say of themselves, by name.
///
/// # Errors
/// etcd does not answer.
pub async fn nodes(etcd: &mut Etcd, keys: &Keys) -> Result<Vec<Report>, Failure> {
    let all = keys.nodes();
    let request = m::RangeRequest {
        key: all.clone().into_bytes(),
        range_end: end_of(&all),
        limit: FLEET_NODES_MAX as i64,
        ..m::RangeRequest::default()
    };
    let answer = etcd.range(request).await?;
    let read = |kv: &m::KeyValue| {
        let name = String::from_utf8_lossy(&kv.key[all.len().min(kv.key.len())..]).into_owned();
        let reason = Some("its report cannot be read".to_owned());
        let unread = Report { reason, ..Report::default() };
        let report: Report = serde_json::from_slice(&kv.value).unwrap_or(unread);
        Report { node: name, ..report }
    };
    Ok(answer.kvs.iter().map(read).collect())
}

/// Writes what a node says of itself.
///
/// # Errors
/// etcd does not take it.
pub async fn report(
    etcd: &mut Etcd,
    keys: &Keys,
    report: &Report,
    lease: i64,
) -> Result<(), Failure> {
    let value = serde_json::to_vec(report).map_err(|error| wrong(error.to_string()))?;
    etcd.put(keys.node(&report.node), value, lease).await
}

/// A push in the making.
pub struct Push {
    /// What `live/` was when it was made.
    pub base: Live,
    /// The document.
    pub document: Document,
    /// What the history says of it.
    pub entry: Entry,
    /// The nodes that go first, and the lease under which they do.
    pub canary: Option<(Vec<String>, i64)>,
}

fn step(kind: m::StepKind) -> m::Step {
    m::Step { kind: Some(kind) }
}

fn put(key: String, value: Vec<u8>, lease: i64) -> m::Step {
    step(m::StepKind::Put(m::PutRequest { key: key.into_bytes(), value, lease }))
}

fn delete(key: String, range_end: Vec<u8>) -> m::Step {
    step(m::StepKind::Delete(m::DeleteRequest { key: key.into_bytes(), range_end }))
}

fn changed(key: String, revision: i64) -> m::Compare {
    let to = Some(m::CompareTo::Changed(revision));
    m::Compare { result: 0, target: 2, key: key.into_bytes(), to }
}

fn json(value: &impl Serialize) -> Result<Vec<u8>, Failure> {
    serde_json::to_vec(value).map_err(|error| wrong(error.to_string()))
}

/// Writes a push in one transaction; false: `live/` is not what it was made from.
///
/// # Errors
/// etcd does not take it.
pub async fn push(etcd: &mut Etcd, keys: &Keys, push: &Push) -> Result<bool, Failure> {
    let (revision, base) = (push.document.revision, &push.base);
    let stored = document::encode(&push.document).map_err(wrong)?;
    let compare = vec![
        changed(keys.current(), base.current.as_ref().map_or(0, |(_, changed)| *changed)),
        changed(keys.canary(), base.canary.as_ref().map_or(0, |(_, changed)| *changed)),
        changed(keys.document(revision), 0),
    ];
    let mut success = vec![
        put(keys.document(revision), stored, 0),
        put(keys.entry(revision), json(&push.entry)?, 0),
    ];
    success.push(match &push.canary {
        Some((nodes, lease)) => {
            let canary = Canary { schema: SCHEMA, revision, nodes: nodes.clone() };
            put(keys.canary(), json(&canary)?, *lease)
        }
        None => put(keys.current(), json(&Pointer { schema: SCHEMA, revision })?, 0),
    });
    success.extend(forgotten(keys, revision, base.revision()));
    etcd.txn(m::TxnRequest { compare, success }).await
}

/// Deletes what is older than the history: never what nodes run.
fn forgotten(keys: &Keys, revision: u64, current: u64) -> Vec<m::Step> {
    let end = (revision + 1).saturating_sub(FLEET_HISTORY_MAX);
    let spans = [(1, end.min(current)), (current + 1, end)];
    let spans = spans.into_iter().filter(|(from, to)| from < to);
    let both = spans.flat_map(|(from, to)| {
        [
            delete(keys.document(from), keys.document(to).into_bytes()),
            delete(keys.entry(from), keys.entry(to).into_bytes()),
        ]
    });
    both.collect()
}

/// Has all nodes run what some went first with; false: the canary has ended meanwhile, or another
/// revision is live.
///
/// # Errors
/// etcd does not take it.
pub async fn promote(etcd: &mut Etcd, keys: &Keys, live: &Live) -> Result<bool, Failure> {
    let Some((canary, at)) = &live.canary else { return Ok(false) };
    let compare = vec![
        changed(keys.current(), live.current.as_ref().map_or(0, |(_, changed)| *changed)),
        changed(keys.canary(), *at),
    ];
    let pointer = Pointer { schema: SCHEMA, revision: canary.revision };
    let success = vec![put(keys.current(), json(&pointer)?, 0), delete(keys.canary(), Vec::new())];
    etcd.txn(m::TxnRequest { compare, success }).await
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pointer(revision: u64) -> Option<(Pointer, i64)> {
        Some((Pointer { schema: SCHEMA, revision }, 1))
    }

    #[test]
    fn who_goes_first_runs_the_canary_and_everybody_else_what_is_current() {
        let canary = Canary { schema: SCHEMA, revision: 42, nodes: vec!["a".to_owned()] };
        let live = Live { current: pointer(41), canary: Some((canary, 2)) };
        assert_eq!(live.wanted_by("a"), Some((42, true)));
        assert_eq!(live.wanted_by("b"), Some((41, false)));
        assert_eq!(Live::default().wanted_by("a"), None);
    }

    #[test]
    fn what_nodes_run_is_never_forgotten_and_the_rest_is_after_some_time() {
        let keys = Keys::under("/f");
        let spans = |revision, current| {
            let steps = forgotten(&keys, revision, current).into_iter();
            let ranges = steps.filter_map(|step| match step.kind {
                Some(m::StepKind::Delete(range)) => Some(range),
                _ => None,
            });
            let number = |bytes: &[u8]| {
                let text = String::from_utf8_lossy(bytes).into_owned();
                text.rsplit('/').next().and_then(|text| text.parse::<u64>().ok()).unwrap()
            };
            let documents = ranges.filter(|range| range.key.starts_with(b"/f/documents/"));
            documents.map(|r| (number(&r.key), number(&r.range_end))).collect::<Vec<_>>()
        };
        assert_eq!(spans(FLEET_HISTORY_MAX, FLEET_HISTORY_MAX - 1), []);
        assert_eq!(spans(FLEET_HISTORY_MAX + 5, FLEET_HISTORY_MAX + 4), [(1, 6)]);
        assert_eq!(spans(FLEET_HISTORY_MAX + 5, 3), [(1, 3), (4, 6)]);
    }

    #[test]
    fn an_event_that_cannot_be_read_leaves_what_was_known() {
        let keys = Keys::under("/f");
        let event = |key: String, value: &str, kind| m::Event {
            kind,
            kv: Some(m::KeyValue {
                key: key.into_bytes(),
                value: value.as_bytes().to_vec(),
                mod_revision: 9,
                ..m::KeyValue::default()
            }),
        };
        let mut live = Live { current: pointer(1), canary: None };
        let later = event(keys.current(), r#"{"schema":1,"revision":2,"zone":"x"}"#, 0);
        let error = follow(&mut live, &keys, &[later]).unwrap_err();
        assert!(error.contains("unknown field `zone`"), "{error}");
        assert_eq!(live.current, pointer(1));
        let two = event(keys.current(), r#"{"schema":1,"revision":2}"#, 0);
        follow(&mut live, &keys, &[two]).unwrap();
        assert_eq!(live.revision(), 2);
        follow(&mut live, &keys, &[event(keys.current(), "", 1)]).unwrap();
        assert_eq!(live.wanted_by("a"), None);
    }
}

//! What `odin-cli fleet` does: each call is a connection to etcd of its own, and blocks.

use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use super::document::{SCHEMA, digest};
use super::etcd::{Etcd, Failure};
use super::rollout::{Bar, Canary, Progress, Verdict, progress};
use super::store::{self, Entry, Keys, Live, Push, Report};
use crate::control::config::{self, Document};
use crate::limits::{
    FLEET_CALL_TIMEOUT, FLEET_LEASE, FLEET_LEASE_RENEWAL, FLEET_PUSH_LOOK, FLEET_WORDS_BYTES_MAX,
};

/// A fleet, as an operator reaches it.
pub struct Operator {
    runtime: tokio::runtime::Runtime,
    etcd: Etcd,
    keys: Keys,
}

/// A push as it is asked for.
#[derive(Debug, Clone)]
pub struct Order {
    /// The document's YAML.
    pub text: String,
    /// What the history says of it.
    pub note: String,
    /// The revision that it must have been made from.
    pub from: Option<u64>,
    /// How many nodes go first.
    pub canary: Option<usize>,
    /// When that has failed, and how long nodes are waited for.
    pub bar: Bar,
}

/// How a push ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Pushed {
    /// The fleet runs that text already, as this revision.
    Same(u64),
    /// It is the fleet's revision now; this is how far it has come.
    Current(u64, Progress),
    /// Those that went first did not do well: all nodes run what they ran before.
    Stopped(u64, String),
}

/// The fleet at a glance.
#[derive(Debug, Clone)]
pub struct Status {
    /// Which revision is current, and which some nodes go first with.
    pub live: Live,
    /// Who pushed the current one.
    pub entry: Option<Entry>,
    /// What each node says, by name.
    pub nodes: Vec<Report>,
}

impl Operator {
    /// Connects to the fleet's etcd.
    ///
    /// # Errors
    /// No member answers, in words.
    pub fn connect(etcd: config::Etcd) -> Result<Self, String> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        let runtime = runtime.map_err(|error| format!("cannot start: {error}"))?;
        let keys = Keys::under(&etcd.prefix);
        let mut etcd = Etcd::new(etcd, 0).patient();
        runtime.block_on(connect(&mut etcd))?;
        Ok(Self { runtime, etcd, keys })
    }

    /// The fleet at a glance.
    ///
    /// # Errors
    /// In words.
    pub fn status(&mut self) -> Result<Status, String> {
        let Self { runtime, etcd, keys } = self;
        runtime
            .block_on(async {
                let (live, _) = store::live(etcd, keys).await?;
                let nodes = store::nodes(etcd, keys).await?;
                let history = store::history(etcd, keys).await?;
                let entry = history.into_iter().find(|entry| entry.revision == live.revision());
                Ok(Status { live, entry, nodes })
            })
            .map_err(|failure: Failure| failure.to_string())
    }

    /// The last pushes, the latest first, and which one is current.
    ///
    /// # Errors
    /// In words.
    pub fn history(&mut self) -> Result<(Vec<Entry>, u64), String> {
        let Self { runtime, etcd, keys } = self;
        runtime
            .block_on(async {
                let history = store::history(etcd, keys).await?;
                let (live, _) = store::live(etcd, keys).await?;
                Ok((history, live.revision()))
            })
            .map_err(|failure: Failure| failure.to_string())
    }

    /// The document of a revision; without one, of the current.
    ///
    /// # Errors
    /// There is none, in words.
    pub fn document(&mut self, revision: Option<u64>) -> Result<Document, String> {
        let Self { runtime, etcd, keys } = self;
        runtime.block_on(async {
            let revision = match revision {
                Some(revision) => revision,
                None => store::live(etcd, keys).await.map_err(words)?.0.revision(),
            };
            if revision == 0 {
                return Err(
                    "the fleet has no document yet; write one: odin-cli fleet push FILE".to_owned()
                );
            }
            let read = store::read(etcd, keys, revision).await.map_err(words)?;
            read.ok_or_else(|| {
                format!("there is no revision {revision}; odin-cli fleet history lists them")
            })?
        })
    }

    /// Writes a document and watches nodes take it. `say` is told what happens meanwhile.
    ///
    /// # Errors
    /// Nothing was written, or nothing is known of it: in words.
    pub fn push(
        &mut self,
        base: &Live,
        order: &Order,
        say: &dyn Fn(String),
    ) -> Result<Pushed, String> {
        let Self { runtime, etcd, keys } = self;
        runtime.block_on(push(etcd, keys, base, order, say))
    }

    /// What is live now: what a push is made from.
    ///
    /// # Errors
    /// In words.
    pub fn live(&mut self) -> Result<Live, String> {
        let Self { runtime, etcd, keys } = self;
        let live = runtime.block_on(store::live(etcd, keys)).map_err(words)?;
        Ok(live.0)
    }
}

/// Within a bound for all members together. One that has a bad second is asked once more.
async fn connect(etcd: &mut Etcd) -> Result<(), String> {
    let connecting = async {
        match etcd.connect().await {
            Err(Failure::Away(_)) => etcd.connect().await,
            connected => connected,
        }
    };
    let connected = tokio::time::timeout(2 * FLEET_CALL_TIMEOUT, connecting).await;
    let late = || Err(Failure::Away(format!("no answer within {:?}", 2 * FLEET_CALL_TIMEOUT)));
    let connected = connected.unwrap_or_else(|_| late());
    connected.map_err(|failure| format!("etcd is not reached: {failure}"))
}

fn words(failure: Failure) -> String {
    failure.to_string()
}

async fn push(
    etcd: &mut Etcd,
    keys: &Keys,
    base: &Live,
    order: &Order,
    say: &dyn Fn(String),
) -> Result<Pushed, String> {
    let current = base.revision();
    if let Some(from) = order.from.filter(|from| *from != current) {
        return Err(format!(
            "the fleet is at revision {current}, and this was made from {from}; look at what has \
             changed (odin-cli fleet diff {from} {current}), take it over, and push --from \
             {current}"
        ));
    }
    if let Some((canary, _)) = &base.canary {
        return Err(format!(
            "revision {} is being tried by {}; wait for the end of that push (it ends by itself \
             within {FLEET_LEASE:?} if nobody watches it) and push again",
            canary.revision,
            canary.nodes.join(", ")
        ));
    }
    if current > 0
        && let Some(Ok(document)) = store::read(etcd, keys, current).await.map_err(words)?
        && *document.text == *order.text
    {
        return Ok(Pushed::Same(current));
    }
    let newest = store::history(etcd, keys).await.map_err(words)?;
    let newest = newest.first().map_or(0, |entry| entry.revision);
    let revision = newest.max(current) + 1;
    let (canary, lease) = match order.canary {
        None => (None, None),
        Some(count) => {
            let reports = store::nodes(etcd, keys).await.map_err(words)?;
            let now = Instant::now();
            let canary = Canary::pick(&reports, count, current, revision, order.bar, now)?;
            let lease = etcd.grant(FLEET_LEASE).await.map_err(words)?;
            (Some(canary), Some(lease))
        }
    };
    let push = Push {
        base: base.clone(),
        entry: entry(order, revision, current),
        document: Document { revision, text: order.text.as_str().into() },
        canary: canary.as_ref().map(Canary::nodes).zip(lease),
    };
    write(etcd, keys, &push).await?;
    if let (Some(mut canary), Some(lease)) = (canary, lease) {
        say(format!("revision {revision}: {} go first", canary.nodes().join(", ")));
        let verdict = watch_canary(etcd, keys, &mut canary, lease).await;
        if let Err(why) = verdict {
            // Whatever happened, those that went first go back: with the lease goes the key.
            let _by_itself_else = etcd.revoke(lease).await;
            return Ok(Pushed::Stopped(revision, why));
        }
        say(format!("revision {revision}: they do well, the others follow"));
        let (live, _) = store::live(etcd, keys).await.map_err(words)?;
        if !store::promote(etcd, keys, &live).await.map_err(words)? {
            let why = "another push or the end of the canary came between".to_owned();
            return Ok(Pushed::Stopped(revision, why));
        }
        let _of_no_use = etcd.revoke(lease).await;
    }
    let progress = watch_all(etcd, keys, revision, order.bar.wait).await;
    Ok(Pushed::Current(revision, progress))
}

fn entry(order: &Order, revision: u64, from: u64) -> Entry {
    let user = std::env::var("USER").or_else(|_| std::env::var("LOGNAME"));
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    let note = crate::text::cut(&order.note, FLEET_WORDS_BYTES_MAX).to_owned();
    Entry {
        schema: SCHEMA,
        revision,
        sha256: digest(&order.text),
        bytes: order.text.len(),
        at: since.as_secs(),
        by: format!("{}@{}", user.as_deref().unwrap_or("?"), host()),
        note,
        from,
        id: format!("{:016x}", getrandom::u64().unwrap_or_default()),
    }
}

#[expect(clippy::disallowed_methods, reason = "a command asks, there is no worker")]
fn host() -> String {
    let host = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
    host.trim().to_owned()
}

/// One transaction. Where nothing is known of its end, it is looked for, and done again if it is
/// not there: it can be done once only, as it needs that its revision is not there.
async fn write(etcd: &mut Etcd, keys: &Keys, push: &Push) -> Result<(), String> {
    let revision = push.document.revision;
    let lost = || {
        format!(
            "another push came first, so nothing was written; look at it (odin-cli fleet history, \
             odin-cli fleet diff FILE) and push again: this one was made from revision {}",
            push.base.revision()
        )
    };
    let begun = Instant::now();
    let mut reason = None;
    loop {
        let done = store::push(etcd, keys, push).await;
        let why = match (done, reason.take()) {
            (Ok(true), _) => return Ok(()),
            (Ok(false), None) => return Err(lost()),
            (Err(Failure::Refused(why)), _) => return Err(why),
            (Err(Failure::Away(why)), _) | (Ok(false), Some(why)) => why,
        };
        let history = store::history(etcd, keys)
            .await
            .map_err(|_| format!("whether revision {revision} was written is not known: {why}"))?;
        if history.iter().any(|entry| entry.id == push.entry.id) {
            return Ok(());
        }
        if history.iter().any(|entry| entry.revision == revision) {
            return Err(lost());
        }
        if begun.elapsed() >= 2 * FLEET_CALL_TIMEOUT {
            return Err(format!("nothing was written: {why}; push again"));
        }
        reason = Some(why);
    }
}

async fn watch_canary(
    etcd: &mut Etcd,
    keys: &Keys,
    canary: &mut Canary,
    lease: i64,
) -> Result<(), String> {
    let mut renewed = Instant::now();
    let mut answered = Instant::now();
    loop {
        tokio::time::sleep(FLEET_PUSH_LOOK).await;
        let now = Instant::now();
        let looked = async {
            if now.duration_since(renewed) >= FLEET_LEASE_RENEWAL {
                if !etcd.renew(lease).await? {
                    return Ok(Err("its lease has ended".to_owned()));
                }
                renewed = now;
            }
            let (live, _) = store::live(etcd, keys).await?;
            if live.canary.is_none() {
                return Ok(Err("somebody has taken it back".to_owned()));
            }
            Ok(Ok(store::nodes(etcd, keys).await?))
        };
        match looked.await {
            Ok(Ok(reports)) => {
                answered = now;
                match canary.judge(&reports, now) {
                    Verdict::Wait => {}
                    Verdict::Promote => return Ok(()),
                    Verdict::Stop(why) => return Err(why),
                }
            }
            Ok(Err(why)) | Err(Failure::Refused(why)) => return Err(why),
            // An election takes a second; a lease outlives several.
            Err(Failure::Away(why)) if now.duration_since(answered) > FLEET_LEASE => {
                return Err(format!("etcd does not answer: {why}"));
            }
            Err(Failure::Away(_)) => {}
        }
    }
}

/// Waits until each node has applied or refused a revision, or for so long.
async fn watch_all(etcd: &mut Etcd, keys: &Keys, revision: u64, wait: Duration) -> Progress {
    let begun = Instant::now();
    let mut last = Progress::default();
    loop {
        if let Ok(reports) = store::nodes(etcd, keys).await {
            last = progress(&reports, revision);
            if last.pending.is_empty() {
                return last;
            }
        }
        if begun.elapsed() >= wait {
            return last;
        }
        tokio::time::sleep(FLEET_PUSH_LOOK).await;
    }
}

//! A node at work: it follows what etcd says it shall serve, applies it by the reloader, and
//! reports what became of that. Three parts, side by side on the control thread: `follow` has the
//! process's one watch, `tell` the node's lease and report, `apply` makes one change after the
//! other (the newest that is wanted; what was wanted meanwhile is passed over).

use std::time::{Instant, SystemTime};

use tokio::sync::watch;
use tokio::time::{MissedTickBehavior, interval, sleep, timeout};

use super::etcd::{Etcd, Failure, Told};
use super::standing::{Link, Nodes, Place, Refused, Standing};
use super::store::{self, Keys, Live, Report};
use super::{Member, document};
use crate::control::admin::health;
use crate::control::config::Document;
use crate::control::metrics::Totals;
use crate::control::reload::{Cause, Change, Control, RefusalKind};
use crate::limits::{
    FLEET_LEASE, FLEET_LEASE_RENEWAL, FLEET_LOOK_INTERVAL, FLEET_RECONNECT, FLEET_RETRY,
    FLEET_WORDS_BYTES_MAX,
};

/// What a node shall serve.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Wanted {
    revision: u64,
    /// Or why it cannot even be read.
    document: Result<Document, String>,
}

/// Follows the fleet for as long as it is polled, until the process drains.
///
/// A gateway that is in no fleet waits for ever.
pub async fn run(member: Option<&Member>, control: &Control) {
    let Some(member) = member else { return std::future::pending().await };
    let wanted = watch::Sender::new(None);
    tokio::select! {
        () = connect_again(member, control, &wanted) => {}
        () = apply(member, control, wanted.subscribe()) => {}
    }
}

/// Session after session: each ends when the connection does.
async fn connect_again(member: &Member, control: &Control, wanted: &watch::Sender<Option<Wanted>>) {
    let place = &member.place;
    let mut failures = 0;
    let mut first = random() as usize;
    while !control.is_draining() {
        let Some(config) = control.running().config.fleet.clone() else { return };
        let mut etcd = Etcd::new(config.etcd, first);
        let connections = place.standing().connections;
        let ended = session(member, control, &mut etcd, wanted).await;
        if place.standing().connections > connections {
            failures = 0;
        }
        first = etcd.next_turn();
        if let Err(failure) = ended {
            let reason = failure.to_string();
            let is_news = failures == 0;
            if is_news {
                tracing::warn!(
                    "fleet: etcd is not reached, the last good revision is served: {reason}"
                );
            }
            down(place, reason);
            failures += 1;
            tokio::select! {
                () = sleep(FLEET_RECONNECT.spread_pause(failures, random())) => {}
                () = control.drained() => {}
            }
        }
    }
}

fn down(place: &Place, reason: String) {
    place.change(|standing| {
        let since = match &standing.link {
            Link::Down { since, .. } => *since,
            Link::Up { .. } => SystemTime::now(),
        };
        standing.link = Link::Down { since, reason };
    });
}

fn random() -> u64 {
    // Chance that cannot be had is no reason to stop: nodes come back together then.
    getrandom::u64().unwrap_or_default()
}

/// One connection: reads, watches and reports until it ends. Without an error, all is to be read
/// anew.
async fn session(
    member: &Member,
    control: &Control,
    etcd: &mut Etcd,
    wanted: &watch::Sender<Option<Wanted>>,
) -> Result<(), Failure> {
    etcd.connect().await?;
    let keys = Keys::under(&etcd.config().prefix);
    let (mut live, mut at) = (Live::default(), 0);
    let mut unread = None;
    match store::live(etcd, &keys).await {
        Ok((read, revision)) => (live, at) = (read, revision),
        // What this version cannot read is refused, and what runs goes on.
        Err(Failure::Refused(why)) => unread = Some(why),
        Err(failure) => return Err(failure),
    }
    let mut watch = etcd.watch(keys.watched(if at == 0 { 0 } else { at + 1 })).await?;
    up(&member.place, etcd.member());
    let (mut teller, mut looker) = (etcd.share(), etcd.share());
    let following = async {
        let mut have = None;
        loop {
            want(member, etcd, &keys, &live, unread.take(), &mut have, wanted).await?;
            match watch.next().await? {
                Told::Compacted => return Ok(()),
                Told::Events(events, _) => {
                    unread = store::follow(&mut live, &keys, &events).err();
                }
            }
        }
    };
    tokio::select! {
        ended = following => ended,
        ended = tell(member, control, &mut teller, &keys) => ended,
        failure = hangs(&mut looker) => Err(failure),
    }
}

/// Ends when the member does not answer any more: one that hangs closes nothing, and a watch of it
/// would be silent for good.
async fn hangs(etcd: &mut Etcd) -> Failure {
    loop {
        sleep(FLEET_LOOK_INTERVAL).await;
        if let Err(failure) = etcd.look().await {
            return failure;
        }
    }
}

fn up(place: &Place, member: String) {
    let standing = place.standing();
    if standing.connections > 0 {
        tracing::info!("fleet: etcd is reached again, by {member}");
    } else {
        tracing::info!(node = %standing.node, "fleet: following etcd by {member}");
    }
    place.change(|standing| {
        standing.link = Link::Up { since: SystemTime::now(), member };
        standing.connections += 1;
        standing.nodes = None;
    });
}

/// Fetches what the node shall serve, if that is another document than it was told last.
async fn want(
    member: &Member,
    etcd: &mut Etcd,
    keys: &Keys,
    live: &Live,
    unread: Option<String>,
    have: &mut Option<(u64, i64)>,
    wanted: &watch::Sender<Option<Wanted>>,
) -> Result<(), Failure> {
    let (revision, is_first) = match (live.wanted_by(&member.node), &unread) {
        (_, Some(_)) => (0, false),
        (Some(wanted), None) => wanted,
        (None, None) => {
            // Somebody has emptied etcd: what runs goes on.
            *have = None;
            member.place.change(|standing| standing.wanted = None);
            return Ok(());
        }
    };
    let pointer = match is_first {
        true => live.canary.as_ref().map(|(_, changed)| *changed),
        false => live.current.as_ref().map(|(_, changed)| *changed),
    };
    let key = (revision, pointer.unwrap_or_default());
    if *have == Some(key) && unread.is_none() {
        return Ok(());
    }
    let document = match unread {
        Some(why) => Err(why),
        None => match store::read(etcd, keys, revision).await {
            Ok(Some(read)) => read,
            Ok(None) => Err(format!("etcd has no document of revision {revision}; push it again")),
            Err(Failure::Refused(why)) => Err(why),
            Err(failure) => return Err(failure),
        },
    };
    *have = Some(key);
    member.place.change(|standing| {
        standing.wanted = Some(revision);
        standing.is_first = is_first;
    });
    wanted.send_replace(Some(Wanted { revision, document }));
    Ok(())
}

/// Applies what is wanted, one after the other; what is refused is tried again from time to time.
async fn apply(member: &Member, control: &Control, mut wanted: watch::Receiver<Option<Wanted>>) {
    let mut failures = 0;
    loop {
        let next = wanted.borrow_and_update().clone();
        let is_done = match &next {
            Some(next) => attempt(member, control, next, failures == 0).await,
            None => true,
        };
        failures = if is_done { 0 } else { failures + 1 };
        let changed = async {
            if wanted.changed().await.is_err() {
                std::future::pending::<()>().await;
            }
        };
        if is_done {
            changed.await;
        } else {
            let again = FLEET_RETRY.spread_pause(failures, random());
            if timeout(again, changed).await.is_ok() {
                failures = 0;
            }
        }
    }
}

/// Whether there is nothing more to do for it.
async fn attempt(member: &Member, control: &Control, wanted: &Wanted, is_news: bool) -> bool {
    let refuse = |reason: String| {
        member.place.change(|standing| {
            let at = match &standing.refused {
                Some(known) if known.revision == wanted.revision => known.at,
                _ => SystemTime::now(),
            };
            standing.refused = Some(Refused { revision: wanted.revision, reason, at });
            standing.outcomes[1] += u64::from(is_news);
        });
    };
    let document = match &wanted.document {
        Ok(document) => document,
        Err(reason) => {
            tracing::error!("fleet: revision {} is refused: {reason}", wanted.revision);
            refuse(reason.clone());
            // Only etcd can make it another one.
            return true;
        }
    };
    if control.running().config.document.as_ref() == Some(document) {
        member.place.change(|standing| standing.refused = None);
        return true;
    }
    match control.make(Change::Document(document.clone()), Cause::Fleet).await {
        Ok(_) => {
            member.place.change(|standing| {
                standing.applied = Some((wanted.revision, SystemTime::now()));
                standing.refused = None;
                standing.outcomes[0] += 1;
            });
            true
        }
        Err(refusal) if refusal.kind == RefusalKind::Busy => {
            sleep(FLEET_RECONNECT.min).await;
            false
        }
        Err(refusal) => {
            refuse(refusal.reason);
            false
        }
    }
}

/// Keeps the node's report in etcd, and reads those of all nodes for who asks.
async fn tell(
    member: &Member,
    control: &Control,
    etcd: &mut Etcd,
    keys: &Keys,
) -> Result<(), Failure> {
    let mut ticks = interval(FLEET_LEASE_RENEWAL);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut changes = member.place.changes();
    let (mut lease, mut told): (Option<i64>, Option<Report>) = (None, None);
    let mut counted = Counted::default();
    loop {
        let is_tick = tokio::select! {
            _ = ticks.tick() => true,
            changed = changes.changed() => match changed {
                Ok(()) => false,
                Err(_) => return Ok(()),
            },
            () = member.place.asked() => {
                list(member, etcd, keys).await?;
                continue;
            }
            () = control.drained() => {
                if let Some(lease) = lease {
                    let _gone_by_itself = timeout(FLEET_LEASE_RENEWAL, etcd.revoke(lease)).await;
                }
                return Ok(());
            }
        };
        if is_tick
            && control.running().config.fleet.as_ref().map(|fleet| &fleet.etcd)
                != Some(etcd.config())
        {
            // The node's file says another way to it.
            return Ok(());
        }
        let standing = changes.borrow_and_update().clone();
        if is_tick
            && let Some(id) = lease
            && !etcd.renew(id).await?
        {
            (lease, told) = (None, None);
        }
        let report = report(member, control, &standing, &mut counted, is_tick).await;
        if told.as_ref() == Some(&report) {
            continue;
        }
        match put(etcd, keys, &report, &mut lease).await {
            Ok(()) => {
                told = Some(report);
                unreported(&member.place, None);
            }
            Err(Failure::Refused(why)) => {
                // No room, no right: it is tried again at the next tick; what is served goes on.
                lease = None;
                unreported(&member.place, Some(why));
            }
            Err(failure) => return Err(failure),
        }
    }
}

fn unreported(place: &Place, why: Option<String>) {
    let known = place.standing().unreported;
    if known == why {
        return;
    }
    if let Some(why) = &why {
        tracing::warn!("fleet: what this node runs cannot be reported: {why}");
    }
    place.change(|standing| standing.unreported = why);
}

async fn put(
    etcd: &mut Etcd,
    keys: &Keys,
    report: &Report,
    lease: &mut Option<i64>,
) -> Result<(), Failure> {
    let id = match *lease {
        Some(id) => id,
        None => *lease.insert(etcd.grant(FLEET_LEASE).await?),
    };
    store::report(etcd, keys, report, id).await
}

async fn list(member: &Member, etcd: &mut Etcd, keys: &Keys) -> Result<(), Failure> {
    let reports = match store::nodes(etcd, keys).await {
        Ok(reports) => reports.into(),
        // A user that may not read them.
        Err(Failure::Refused(_)) => [].into(),
        Err(failure) => return Err(failure),
    };
    let live = match store::live(etcd, keys).await {
        Ok((live, _)) => live,
        Err(Failure::Refused(_)) => Live::default(),
        Err(failure) => return Err(failure),
    };
    let nodes = Nodes { at: Instant::now(), reports, live };
    member.place.change(|standing| standing.nodes = Some(nodes));
    Ok(())
}

/// Requests since a revision is served.
#[derive(Default)]
struct Counted {
    revision: u64,
    base: [u64; 2],
    now: [u64; 2],
}

impl Counted {
    async fn renew(&mut self, control: &Control, revision: u64) {
        let totals = Totals::of(&control.report().await);
        let all = totals.services.values().map(|counts| counts.responses);
        let sums = all.fold([0, 0], |[all, errors], responses| {
            [all + responses.iter().sum::<u64>(), errors + responses[5]]
        });
        if self.revision != revision {
            (self.revision, self.base) = (revision, sums);
        }
        self.now = sums;
    }

    fn since(&self, revision: u64) -> [u64; 2] {
        if self.revision != revision {
            return [0, 0];
        }
        [self.now[0].saturating_sub(self.base[0]), self.now[1].saturating_sub(self.base[1])]
    }
}

async fn report(
    member: &Member,
    control: &Control,
    standing: &Standing,
    counted: &mut Counted,
    is_tick: bool,
) -> Report {
    let (applied, at) = standing.applied.unwrap_or((0, SystemTime::UNIX_EPOCH));
    // Of nodes that go first somebody wants to know how they do.
    if standing.is_first && (is_tick || counted.revision != applied) {
        counted.renew(control, applied).await;
    }
    let [requests, errors] = if standing.is_first { counted.since(applied) } else { [0, 0] };
    let (health, problems) = health::judge(control);
    let cut = |text: &str| crate::text::cut(text, FLEET_WORDS_BYTES_MAX).to_owned();
    Report {
        schema: document::SCHEMA,
        node: member.node.clone(),
        applied,
        applied_at: at.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default().as_secs(),
        refused: standing.refused.as_ref().map(|refused| refused.revision),
        reason: standing.refused.as_ref().map(|refused| cut(&refused.reason)),
        health: health.to_owned(),
        problems: problems.iter().take(3).map(|problem| cut(problem)).collect(),
        requests,
        errors,
        version: env!("CARGO_PKG_VERSION").to_owned(),
        instance: member.instance.clone(),
    }
}

//! From a configuration to a running gateway to its end: compile, start, listen, serve, reload,
//! upgrade, drain.

mod settings;

use std::cell::RefCell;
use std::future::{Future, pending};
use std::path::PathBuf;
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Instant;

use arc_swap::ArcSwap;
use tokio::net::TcpListener;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::Notify;

use super::compile::{Compiled, Compiler, Failure};
use super::config::{Config, IoDriver, Located, Workers};
use super::edge::ToldTickets;
use super::fleet::{self, Member};
use super::modules::{self, Fetcher, Lacking};
use super::otlp::Exporter;
use super::reload::{self, Control, Reloader};
use super::signals::{Signals, reload_on_signal, reopen_on_signal};
use super::sockets::{Inherited, SharedHeld, Sockets};
use super::status::Facts;
use super::supervisor::Supervisor;
use super::upgrade::{self, Inheritance, Successor, Upgrader};
use super::workers::{self, Order, Threads};
use super::{access_log, admin, descriptors, quota, targets, watch};
use crate::io::driver::{self, Choice};
use crate::limits::{ACCESS_LOG_END_TIMEOUT, LOG_END_INTERVAL, LOG_END_TIMEOUT};
use crate::plugin::{self, PrepareFailure, Runtime};
use crate::snapshot::Snapshot;
use settings::{preference, runtime_options};

/// How to run.
pub struct Options {
    /// Where the configuration came from, and is read from again.
    pub located: Located,
    /// Whether it is read again whenever it or a plugin's file changes.
    pub watches: bool,
    /// Where the process's id is written.
    pub pid_file: Option<PathBuf>,
    /// What the process was started with: sockets, and perhaps a process to replace.
    pub inheritance: Inheritance,
}

/// Runs the gateway until a signal ends it. An error is a start that failed, in words for the
/// operator.
pub fn run(config: Config, options: Options) -> Result<(), String> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|error| format!("cannot start the control thread's runtime: {error}"))?;
    let result = runtime.block_on(serve(config, options));
    // What still compiles or waits for a file ends with the process: dropped, the runtime would
    // wait for it.
    runtime.shutdown_background();
    result
}

async fn serve(config: Config, options: Options) -> Result<(), String> {
    let program = upgrade::program().map_err(describe)?;
    let supervisor = Supervisor::new(options.pid_file);
    let mut signals = Signals::new().map_err(describe)?;
    // Uncaught, they would end a process that is still starting.
    let hangups = signal(SignalKind::hangup()).map_err(describe)?;
    let rotations = signal(SignalKind::user_defined1()).map_err(describe)?;
    let Inheritance { sockets, predecessor, activated } = options.inheritance;
    let from = predecessor.as_ref().map(|before| (before.pid, before.upgrades + 1));
    let conversation = predecessor.map(|before| before.talk()).transpose()?;
    let tickets = conversation.as_ref().map(upgrade::Conversation::tickets).unwrap_or_default();

    let start = async {
        let preparing = prepare(config, &options.located, sockets, tickets);
        let Some(prepared) = unless_ended(&mut signals, preparing).await else {
            return Ok(None);
        };
        let mut prepared = prepared?;
        supervisor.prepare().map_err(describe)?;
        if let Some(conversation) = &conversation {
            let carried = conversation.prepared(&prepared.failing()).await?;
            targets::take_over(&prepared.published.load(), &carried);
        }
        // What is served is on disk before it is.
        fleet::keep(&prepared.config)?;
        prepared.listen().await?;
        signals.forget_upgrades().map_err(describe)?;
        supervisor.serving(from.is_some());
        Ok::<_, String>(Some(prepared))
    };
    let give_up = |reason: &str| {
        supervisor.given_up();
        if let Some(conversation) = &conversation {
            conversation.refuse(reason);
        }
    };
    let started = start.await.inspect_err(|reason| give_up(reason))?;
    let Some(mut prepared) = started else {
        tracing::info!("a signal ends the gateway while it starts");
        give_up("a signal has ended it while it started");
        return Ok(());
    };
    let upgrades = from.map_or(0, |(_, count)| count);
    let held = std::mem::take(&mut prepared.sockets.held);
    let held = Rc::new(RefCell::new(held));
    let tickets = prepared.compiler.tickets();
    let upgrader = Upgrader::new(program, Rc::clone(&held), upgrades, activated, tickets);
    // Last: from here on connections come.
    let channels = conversation.map(upgrade::Conversation::serving).unwrap_or_default();
    let serving = Serving {
        located: options.located,
        watches: options.watches,
        supervisor,
        signals,
        hangups,
        rotations,
        upgrader,
        held,
        channels,
        from,
    };
    serving.run(prepared).await
}

/// Awaits `starting`; `None` if a signal ends the process first. Whatever takes so long (a module
/// that is compiled, a name that is looked up) ends with the process.
async fn unless_ended<T>(signals: &mut Signals, starting: impl Future<Output = T>) -> Option<T> {
    let mut starting = std::pin::pin!(starting);
    loop {
        tokio::select! {
            started = &mut starting => return Some(started),
            // A binary upgrade has to wait until there is something to upgrade.
            is_end = signals.any() => if is_end { return None },
        }
    }
}

/// What a gateway has beside itself while it serves.
struct Serving {
    located: Located,
    watches: bool,
    supervisor: Supervisor,
    signals: Signals,
    hangups: Signal,
    rotations: Signal,
    upgrader: Upgrader,
    /// Its sockets.
    held: SharedHeld,
    channels: Vec<upgrade::Channel>,
    /// The process that this one has replaced, and how many upgrades there were with that.
    from: Option<(u32, u64)>,
}

impl Serving {
    /// Serves to the end.
    async fn run(self, prepared: Prepared) -> Result<(), String> {
        let Self { located, watches, supervisor, signals, hangups, rotations, held, .. } = self;
        let (mut upgrader, channels, from) = (self.upgrader, self.channels, self.from);
        let threads = prepared.threads;
        for channel in channels {
            upgrader.receive(channel, threads.outboxes());
        }
        let upkeep = prepared.compiler.upkeep();
        let member = Member::of(&prepared.config)?;
        let (reloader, control) = Reloader::new(reload::Start {
            compiler: prepared.compiler,
            located: located.clone(),
            admin: prepared.sockets.admin_address(),
            config: prepared.config,
            failures: prepared.failures,
            fetcher: prepared.fetcher,
            outboxes: threads.outboxes(),
            held,
            holds_alone: upgrader.holds_alone(),
            published: prepared.published,
            fleet: member.as_ref().map(|member| member.place.clone()),
        });
        if let Some((pid, count)) = from {
            control.note_takeover(pid, count);
        }
        let facts = Facts { io_driver: prepared.choice.driver.as_str(), started: Instant::now() };
        let admin_ends = Notify::new();
        let watching = watch_files(watches, &located, &control, prepared.seen);
        let mut exporter = prepared.exporter;
        {
            let duties = std::pin::pin!(async {
                tokio::join!(
                    serve_admin(prepared.sockets.admin, &control, facts, &admin_ends),
                    upkeep.run(),
                    targets::run(&control),
                    modules::run(&control, prepared.lacking),
                    reloader.run(),
                    reload_on_signal(hangups, &control, &supervisor),
                    reopen_on_signal(rotations),
                    watching,
                    fleet::run(member.as_ref(), &control),
                    exporter.run(&control),
                );
            });
            let unprepared = prepared.unprepared;
            let control = &control;
            let mut running = Running { threads, duties, signals, upgrader, control, unprepared };
            let successor = running.until_end().await?;
            match &successor {
                Some(Successor { pid, .. }) => {
                    admin_ends.notify_waiters();
                    supervisor.succeeded_by(*pid);
                }
                None => supervisor.stopping(),
            }
            running.drain(successor).await;
        }
        if let Some(log) = &control.running().snapshot.access_log {
            access_log::flush(log, ACCESS_LOG_END_TIMEOUT);
        }
        exporter.finish(control.running().config.tracing.otlp.as_ref()).await;
        // What `cleanup()` had to say was said last.
        let end = Instant::now() + LOG_END_TIMEOUT;
        while plugin::has_unwritten_lines() && Instant::now() < end {
            tokio::time::sleep(LOG_END_INTERVAL).await;
        }
        supervisor.ended();
        Ok(())
    }
}

fn describe(error: std::io::Error) -> String {
    error.to_string()
}

/// A gateway that could serve.
struct Prepared {
    config: Config,
    compiler: Compiler,
    failures: Vec<Failure>,
    /// Plugins whose instances could not be made; that is tried again.
    unprepared: Vec<PrepareFailure>,
    threads: Threads,
    published: Arc<ArcSwap<Snapshot>>,
    choice: Choice,
    sockets: Sockets,
    exporter: Exporter,
    fetcher: Arc<Fetcher>,
    /// Modules that could not be had.
    lacking: Lacking,
    /// What the files looked like before they were read.
    seen: watch::Seen,
}

async fn prepare(
    config: Config,
    located: &Located,
    inherited: Vec<Inherited>,
    tickets: Vec<ToldTickets>,
) -> Result<Prepared, String> {
    let workers = match config.server.workers {
        Workers::Auto => quota::automatic_workers(workers::usable_cores().len()),
        Workers::Count(count) => count,
    };
    let choice = driver::choose(preference(config.server.io_driver))?;
    descriptors::warn_if_few(&config);
    let sockets = Sockets::open(&config, workers, inherited).map_err(describe)?;
    let plugins = Runtime::new(&runtime_options(&config)).map_err(|error| error.to_string())?;
    let mut compiler = Compiler::new(plugins, workers, &config.kv);
    compiler.inherit_tickets(tickets);
    let exporter = Exporter::new(compiler.take_spans());
    let seen = watch::Files::of(located, &config).look();
    let fetcher = Arc::new(Fetcher::default());
    let lacking = fetcher.obtain(&config, |_| true, None).await;
    compiler.lack(lacking.clone());
    // Beside the control thread: it listens to signals meanwhile.
    let compiling = tokio::task::spawn_blocking(move || {
        let compiled = compiler.compile(&config, None);
        (compiler, config, compiled)
    });
    let (compiler, config, Compiled { snapshot, findings }) =
        compiling.await.map_err(|_| "a defect of the gateway: compiling panicked".to_owned())?;
    if !findings.refusals.is_empty() {
        return Err(findings.refusals.join("\n"));
    }
    for warning in &findings.warnings {
        tracing::warn!("{warning}");
    }
    for failure in &findings.failures {
        tracing::warn!("{failure}");
    }
    let published = Arc::new(ArcSwap::from_pointee(snapshot));
    let order = Order {
        pin_cores: config.server.pin_cores,
        driver: choice.driver,
        may_fall_back: config.server.io_driver == IoDriver::Auto,
        workers,
        published: Arc::clone(&published),
    };
    let (threads, unprepared) = Threads::start(order).await.map_err(describe)?;
    for failure in &unprepared {
        tracing::warn!(plugin = %failure.plugin, "{}", failure.reason);
    }
    let failures = findings.failures;
    Ok(Prepared {
        config,
        compiler,
        failures,
        unprepared,
        threads,
        published,
        choice,
        sockets,
        exporter,
        fetcher,
        lacking,
        seen,
    })
}

impl Prepared {
    /// What does not work: what it is, and why.
    fn failing(&self) -> Vec<(String, String)> {
        let failures = self.failures.iter();
        let failures = failures.map(|failure| (failure.what.clone(), failure.reason.clone()));
        let unprepared = self.unprepared.iter();
        let unprepared =
            unprepared.map(|failure| (plugin(&failure.plugin), failure.reason.clone()));
        failures.chain(unprepared).collect()
    }

    /// Has every worker accept.
    async fn listen(&mut self) -> Result<(), String> {
        self.sockets.listen().map_err(describe)?;
        self.threads.listen(std::mem::take(&mut self.sockets.workers)).await;
        let (driver, reason) = (self.choice.driver, &self.choice.reason);
        tracing::info!(pid = std::process::id(), %driver, reason, "serving");
        self.sockets.bound.iter().for_each(|address| tracing::info!("listening on {address}"));
        Ok(())
    }
}

/// A plugin, as failures name it.
fn plugin(name: &str) -> String {
    format!("plugin {name}")
}

/// A gateway that serves.
struct Running<'a, Duties> {
    threads: Threads,
    duties: Pin<&'a mut Duties>,
    signals: Signals,
    upgrader: Upgrader,
    control: &'a Control,
    unprepared: Vec<PrepareFailure>,
}

impl<Duties: Future<Output = ()>> Running<'_, Duties> {
    /// Serves until told to end, or until another process serves in the place of this one.
    async fn until_end(&mut self) -> Result<Option<Successor>, String> {
        const WORKER: &str = "a worker ended unasked; see the log";
        loop {
            tokio::select! {
                is_end = self.signals.any() => if is_end { return Ok(None) },
                () = self.threads.any_ended() => return Err(WORKER.to_owned()),
                () = &mut self.duties => return Ok(None),
            }
            let mut upgrading =
                std::pin::pin!(upgrade(&self.upgrader, self.control, &self.unprepared));
            let succeeded = loop {
                tokio::select! {
                    biased;
                    succeeded = &mut upgrading => break succeeded,
                    is_end = self.signals.any() => match is_end {
                        true => {
                            // Dropping the attempt ends the new process.
                            tracing::warn!("the binary upgrade is given up: the gateway ends");
                            return Ok(None);
                        }
                        false => tracing::warn!(
                            "SIGUSR2 is ignored: a binary upgrade is under way already"
                        ),
                    },
                    () = self.threads.any_ended() => return Err(WORKER.to_owned()),
                    () = &mut self.duties => return Ok(None),
                }
            };
            if succeeded.is_some() {
                return Ok(succeeded);
            }
        }
    }

    /// Ends what is left here: connections move to `successor` if there is one.
    async fn drain(self, successor: Option<Successor>) {
        let Self { threads, mut duties, mut signals, upgrader, control, .. } = self;
        control.drain();
        let drain_timeout = control.running().config.server.drain_timeout;
        let holds_alone = upgrader.holds_alone() && successor.is_none();
        upgrader.close(&threads.outboxes(), successor.is_some());
        // It ends already, and who stops a service signals all of its processes: only a second
        // signal is meant for the exchanges here.
        let mut is_spared = successor.is_some();
        let handover = successor.map(|next| next.handover);
        let mut draining = std::pin::pin!(threads.drain(handover, holds_alone, drain_timeout));
        let mut late = std::pin::pin!(tokio::time::sleep(drain_timeout));
        tracing::info!(timeout = ?drain_timeout, "draining: no new connections, exchanges finish");
        loop {
            tokio::select! {
                () = &mut draining => return tracing::info!("drained"),
                () = &mut late => {
                    return tracing::warn!(
                        "server.drainTimeout has passed: the exchanges still open are cut"
                    );
                }
                is_end = signals.any() => match (is_end, is_spared) {
                    (false, _) => tracing::warn!("SIGUSR2 is ignored: this process is ending"),
                    (true, true) => is_spared = false,
                    (true, false) => {
                        return tracing::warn!("second signal: the exchanges still open are cut");
                    }
                },
                () = &mut duties => return,
            }
        }
    }
}

/// Has another process serve in the place of this one; `None`: this one goes on.
async fn upgrade(
    upgrader: &Upgrader,
    control: &Control,
    unprepared: &[PrepareFailure],
) -> Option<Successor> {
    let started = Instant::now();
    tracing::info!(program = %upgrader.program().display(), "binary upgrade: starting it");
    let changes = control.begin_upgrade().await;
    if control.has_unsaved_changes() {
        tracing::warn!(
            "binary upgrade: what the admin API has changed without \"persist\": true is not in \
             the configuration file, so the new process does not have it"
        );
    }
    let running = control.running();
    let failing = running.failures.iter().map(|failure| failure.what.clone());
    let failing = failing.chain(unprepared.iter().map(|failure| plugin(&failure.plugin)));
    let within = running.config.server.upgrade_timeout;
    // As they stand when the other process takes over, in what runs then.
    let targets = || targets::carried(&control.running().snapshot);
    match upgrader.attempt(failing.collect(), within, targets).await {
        Ok(successor) => {
            let (pid, took) = (successor.pid, started.elapsed());
            tracing::info!(pid, ?took, "binary upgrade: process {pid} serves in place of this one");
            // None is made here any more.
            changes.into_iter().for_each(tokio::sync::OwnedSemaphorePermit::forget);
            Some(successor)
        }
        Err(reason) => {
            tracing::error!("binary upgrade failed, this process goes on: {reason}");
            control.end_upgrade(started, reason);
            None
        }
    }
}

/// Serves the admin API, if there is one, for as long as the process runs; no new calls once
/// `ends` is notified.
async fn serve_admin(
    listener: Option<std::net::TcpListener>,
    control: &Control,
    facts: Facts,
    ends: &Notify,
) {
    let Some(listener) = listener else {
        return pending().await;
    };
    let served = async {
        let listener = TcpListener::from_std(listener)?;
        tracing::info!("admin on {}", listener.local_addr()?);
        admin::serve(listener, control, facts, ends.notified()).await;
        Ok::<_, std::io::Error>(())
    };
    if let Err(error) = served.await {
        tracing::error!(%error, "the admin listener failed; traffic goes on");
    }
    pending().await
}

/// Reads the configuration again when a file of it changes, if that is wanted.
async fn watch_files(watches: bool, located: &Located, control: &Control, seen: watch::Seen) {
    match watches {
        true => watch::run(located, control, seen).await,
        false => pending().await,
    }
}

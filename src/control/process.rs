//! From a configuration to a running gateway to its end: compile, bind, start, serve, drain.

use std::future::{Future, pending};
use std::io;
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use tokio::net::TcpListener;
use tokio::signal::unix::{SignalKind, signal};

use super::admin;
use super::compile::Compiler;
use super::config::{AccessLog, Config, IoDriver, Listen, Workers};
use super::fleet::{self, Fleet, Order};
use crate::plugin::{Runtime, RuntimeOptions};
use crate::worker::driver::{self, Wish};

/// Runs the gateway until a signal ends it. An error is a start that failed, in words for the
/// operator.
pub fn run(config: Config) -> Result<(), String> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|error| format!("cannot start the control thread's runtime: {error}"))?;
    runtime.block_on(serve(config))
}

async fn serve(config: Config) -> Result<(), String> {
    let words = |error: io::Error| error.to_string();
    let workers = match config.server.workers {
        Workers::Auto => fleet::usable_cores().len(),
        Workers::Count(count) => count,
    };
    let choice = driver::choose(wish(config.server.io_driver))?;
    let (sockets, bound) = fleet::bind(&config.server.listen, workers).map_err(words)?;
    let admin = bind_admin(&config).await.map_err(words)?;

    let plugins = Runtime::new(&runtime_options(&config)).map_err(|error| error.to_string())?;
    let mut compiler = Compiler::new(plugins, workers, &config.kv);
    let compiled = compiler.compile(&config);
    if config.logging.access_log != AccessLog::Off {
        tracing::warn!("logging.accessLog: no access log is written by this version");
    }
    for warning in &compiled.warnings {
        tracing::warn!("{warning}");
    }
    let published = Arc::new(ArcSwap::from_pointee(compiled.snapshot));
    let mut signals = Signals::new().map_err(words)?;
    let fleet = Fleet::start(Order {
        pin_cores: config.server.pin_cores,
        driver: choice.driver,
        may_fall_back: config.server.io_driver == IoDriver::Auto,
        sockets,
        published,
    })
    .await
    .map_err(words)?;

    tracing::info!(workers, driver = %choice.driver, reason = choice.reason, "serving");
    for address in bound {
        tracing::info!("listening on {address}");
    }
    let upkeep = compiler.upkeep().run();
    let admin = async {
        tokio::join!(serve_admin(admin), upkeep);
    };
    wait(fleet, admin, &mut signals, config.server.drain_timeout).await
}

/// Serves until told to end, then drains.
async fn wait(
    mut fleet: Fleet,
    admin: impl Future<Output = ()>,
    signals: &mut Signals,
    drain_timeout: Duration,
) -> Result<(), String> {
    let mut admin = std::pin::pin!(admin);
    tokio::select! {
        () = signals.end() => {}
        () = fleet.any_ended() => return Err("a worker ended unasked; see the log".to_owned()),
        () = &mut admin => {}
    }
    tracing::info!(timeout = ?drain_timeout, "draining: no new connections, exchanges finish");
    tokio::select! {
        () = fleet.drain() => tracing::info!("drained"),
        () = tokio::time::sleep(drain_timeout) => {
            tracing::warn!("server.drainTimeout has passed: the exchanges still open are cut");
        }
        () = signals.end() => tracing::warn!("second signal: the exchanges still open are cut"),
        () = &mut admin => {}
    }
    Ok(())
}

async fn bind_admin(config: &Config) -> io::Result<Option<TcpListener>> {
    let Some(listen) = &config.admin.listen else {
        return Ok(None);
    };
    if matches!(listen, Listen::Unix(_)) {
        return Err(io::Error::other(
            "admin.listen: a unix socket is not supported; use host:port",
        ));
    }
    match admin::bind(&listen.to_string()).await {
        Ok((listener, _)) => Ok(Some(listener)),
        Err(error) => {
            let words = format!("cannot listen on {listen} (admin.listen): {error}");
            Err(io::Error::new(error.kind(), words))
        }
    }
}

/// Serves the admin API, if there is one, for as long as the process runs.
async fn serve_admin(listener: Option<TcpListener>) {
    let Some(listener) = listener else {
        return pending().await;
    };
    if let Ok(address) = listener.local_addr() {
        tracing::info!("admin on {address}");
    }
    if let Err(error) = admin::serve(listener).await {
        tracing::error!(%error, "the admin listener failed; traffic goes on");
    }
    pending().await
}

fn wish(driver: IoDriver) -> Wish {
    match driver {
        IoDriver::Auto => Wish::Auto,
        IoDriver::IoUring => Wish::IoUring,
        IoDriver::Epoll => Wish::Epoll,
    }
}

fn runtime_options(config: &Config) -> RuntimeOptions {
    let cache_dir = match (config.wasm.cache_enabled, &config.wasm.cache_dir) {
        (false, _) => None,
        (true, Some(dir)) => Some(dir.clone()),
        (true, None) => default_cache_dir(),
    };
    RuntimeOptions { cache_dir, ..RuntimeOptions::default() }
}

/// A folder of the user that the process runs as: the cache holds machine code, so nobody else may
/// write to it.
fn default_cache_dir() -> Option<std::path::PathBuf> {
    let absolute = |name: &str| {
        std::env::var_os(name).map(std::path::PathBuf::from).filter(|path| path.is_absolute())
    };
    absolute("CACHE_DIRECTORY")
        .or_else(|| absolute("XDG_CACHE_HOME").map(|dir| dir.join("odin")))
        .or_else(|| absolute("HOME").map(|dir| dir.join(".cache/odin")))
}

/// The signals that end the process.
struct Signals {
    terminate: tokio::signal::unix::Signal,
    interrupt: tokio::signal::unix::Signal,
}

impl Signals {
    fn new() -> io::Result<Self> {
        Ok(Self {
            terminate: signal(SignalKind::terminate())?,
            interrupt: signal(SignalKind::interrupt())?,
        })
    }

    async fn end(&mut self) {
        tokio::select! {
            _ = self.terminate.recv() => {}
            _ = self.interrupt.recv() => {}
        }
    }
}

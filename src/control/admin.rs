//! The admin listener: what runs, changes of it, health, the dashboard.
//!
//! On the control thread, by axum: nothing here is on the path of a request. Who may call what is
//! decided in `guard`, before anything else; a change is made by the reloader, one at a time.

mod dashboard;
mod events;
pub(in crate::control) mod fleet;
mod guard;
mod guests;
pub(in crate::control) mod health;
mod linger;
mod name;
mod plugins;
mod reply;
mod scrape;
mod targets;
mod upload;

use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use axum::extract::DefaultBodyLimit;
use axum::routing::{delete, get, post, put};
use axum::{Json, Router, middleware};
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio::time::MissedTickBehavior;

use super::config::view;
use super::metrics::Totals;
use super::reload::{Cause, Change, Control, Outcome};
use super::status;
use super::status::Facts;
use crate::limits::{ADMIN_BODY_BYTES_MAX, EVENTS_INTERVAL, PLUGIN_MODULE_BYTES_MAX};
use events::Events;
use reply::{Failed, done};

/// What the calls of the admin API work with.
type State = axum::extract::State<Control>;
/// What `GET /api/status` tells beside what was counted.
type Status = axum::extract::Extension<Facts>;

/// Serves the admin API until the future is dropped; takes no new calls once `ends` is ready.
pub async fn serve(
    listener: TcpListener,
    control: &Control,
    facts: Facts,
    ends: impl Future<Output = ()>,
) {
    let events = Arc::new(Events::new());
    let router = router(control.clone())
        .layer(axum::extract::Extension(facts))
        .layer(axum::extract::Extension(Arc::clone(&events)));
    let mut ticks = tokio::time::interval(EVENTS_INTERVAL);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let tick = async || {
        ticks.tick().await;
    };
    let (is_last, document) = (|| control.is_draining(), || events::document(control, &facts));
    tokio::select! {
        () = guests::serve(listener, router, || tls(control), ends) => {}
        () = events.run(tick, is_last, document) => {}
    }
}

/// How a connection that comes now is secured.
fn tls(control: &Control) -> Option<Arc<rustls::ServerConfig>> {
    let tls = control.running().snapshot.admin_tls.clone();
    tls.map(|tls| Arc::clone(&tls.offer.usual))
}

fn router(control: Control) -> Router {
    let module = put(upload::upload).layer(DefaultBodyLimit::max(PLUGIN_MODULE_BYTES_MAX));
    let guarded = Router::new()
        .route("/api/plugins", get(plugins::list))
        .route("/api/plugins/load", post(plugins::load))
        .route("/api/plugins/unload/{name}", delete(plugins::unload))
        .route("/api/plugins/{name}", get(plugins::one))
        .route("/api/plugins/{name}/enabled", put(plugins::enable))
        .route("/api/plugins/{name}/module", module)
        .route("/api/targets/drained", put(targets::drain))
        .route("/api/config", get(config))
        .route("/api/config/reload", post(reload))
        .route("/api/reloads", get(reloads))
        .route("/api/fleet", get(fleet::fleet))
        .route("/api/status", get(status))
        .route("/api/events", get(events::events))
        .route("/metrics", get(scrape::metrics))
        .layer(middleware::from_fn_with_state(control.clone(), guard::token));
    Router::new()
        .route("/", get(dashboard::page))
        .route("/healthz", get(health::healthz))
        .route("/readyz", get(health::readyz))
        .merge(guarded)
        .fallback(reply::nothing_here)
        .method_not_allowed_fallback(reply::other_method)
        .layer(DefaultBodyLimit::max(ADMIN_BODY_BYTES_MAX))
        .layer(middleware::from_fn_with_state(control.clone(), guard::site))
        .layer(middleware::map_response(guard::headers))
        .layer(middleware::from_fn(linger::linger))
        .with_state(control)
}

/// `GET /api/config`: what runs, with every default and without secrets.
async fn config(control: State) -> Json<Value> {
    let running = control.running();
    Json(json!({
        "file": running.config.file,
        "generation": running.snapshot.generation,
        "config": view::config(&running.config),
    }))
}

/// `POST /api/config/reload`: reads the file again.
async fn reload(control: State) -> Result<Json<Value>, Failed> {
    done(control.make(Change::File, Cause::Admin).await)
}

/// `GET /api/reloads`: the last changes, the latest first.
async fn reloads(control: State) -> Json<Value> {
    let reloads = control.history().into_iter().map(|reload| {
        let (generation, reason) = match reload.outcome {
            Outcome::Published(generation) => (Some(generation), None),
            Outcome::Refused(reason) => (None, Some(reason)),
        };
        json!({
            "atMs": millis(reload.at),
            "change": reload.words,
            "tookMs": reload.took.as_millis() as u64,
            "published": generation.is_some(),
            "generation": generation,
            "error": reason,
        })
    });
    Json(reloads.collect())
}

/// `GET /api/status`: the gateway at a glance.
async fn status(control: State, facts: Status) -> Json<Value> {
    let reports = control.report().await;
    Json(status::document(&control, &facts, &reports, &Totals::of(&reports)))
}

/// Milliseconds since 1970.
fn millis(at: SystemTime) -> u64 {
    at.duration_since(UNIX_EPOCH).unwrap_or_default().as_millis() as u64
}

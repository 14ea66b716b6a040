//! `modules` as the admin API shows it.

use serde_json::{Value, json};

use super::view::{MASK, span};
use super::{Login, Modules, Shown};

pub(super) fn modules(modules: &Modules) -> Value {
    json!({
        "cacheDir": modules.cache_dir,
        "cacheBytesMax": modules.cache_bytes_max,
        "timeout": span(modules.timeout),
        "ca": modules.ca,
        "plainHttp": modules.plain_http,
        "auth": modules.auth.iter().map(login).collect::<Vec<_>>(),
        "dockerConfig": modules.docker_config,
        "signedBy": modules.signed_by,
    })
}

fn login(login: &Login) -> Value {
    let (name, password, token) = match &login.shown {
        None => (None, None, None),
        Some(Shown::Password(name, _)) => (Some(name), Some(MASK), None),
        Some(Shown::Token(_)) => (None, None, Some(MASK)),
    };
    json!({"host": login.host, "username": name, "password": password, "token": token})
}

//! `PUT /api/plugins/{name}/module`: a module is sent as the body, kept under `wasm.pluginDir` and
//! loaded as the plugin of that name.
//!
//! The file is named after the plugin and the digest of its bytes, so that no upload overwrites
//! what runs, and the configuration's `sha256` pins it.

use std::fs;
use std::path::Path as FilePath;

use axum::Json;
use axum::body::Bytes;
use axum::extract::rejection::BytesRejection;
use axum::http::StatusCode;
use serde_json::{Map, Value};

use super::super::courtesy::sha256;
use super::super::reload::{Cause, Change};
use super::State;
use super::name::{self, Name};
use super::reply::{Failed, bytes, done};
use crate::files::Replacement;
use crate::limits::UPLOADS_KEPT_MAX;
use crate::text::hex;

/// Keeps the module and loads it; a module that does not load is not kept.
pub(super) async fn upload(
    control: State,
    Name(name): Name,
    body: Result<Bytes, BytesRejection>,
) -> Result<Json<Value>, Failed> {
    let wasm = bytes(body)?;
    if !wasm.starts_with(b"\0asm") {
        let reason = "the body is not a WebAssembly module: it does not begin with \\0asm";
        return Err(Failed::new(StatusCode::BAD_REQUEST, reason));
    }
    name::check(&name)?;
    let digest = hex(&sha256(&wasm));
    let file = format!("{name}-{}.wasm", &digest[..16]);
    let path = control.running().config.wasm.plugin_dir.join(&file);
    let kept = tokio::task::spawn_blocking({
        let path = path.clone();
        move || keep(&path, &wasm)
    });
    let broken = |why| Failed::new(StatusCode::INTERNAL_SERVER_ERROR, why);
    let is_new = kept.await.unwrap_or_else(|_| Err(broken("writing panicked".to_owned())))?;

    let keys = [("name", name), ("path", file), ("sha256", digest)];
    let keys: Map<_, _> =
        keys.into_iter().map(|(key, value)| (key.to_owned(), value.into())).collect();
    let result = control.make(Change::Load { keys, persist: false }, Cause::Admin).await;
    if result.is_err() && is_new {
        // That it stays does no harm.
        let _ = tokio::task::spawn_blocking(move || fs::remove_file(path)).await;
    }
    done(result)
}

/// Writes the file, whole or not at all. `false`: it is there already.
fn keep(path: &FilePath, wasm: &[u8]) -> Result<bool, Failed> {
    if path.exists() {
        return Ok(false);
    }
    let folder = path.parent().unwrap_or(FilePath::new("."));
    let failed = |error: std::io::Error| {
        let reason = format!(
            "{} can't be written: {error}; uploads are kept in wasm.pluginDir, which the gateway's \
             user must be able to write to",
            path.display()
        );
        Failed::new(StatusCode::INTERNAL_SERVER_ERROR, reason)
    };
    if uploads(folder).map_err(failed)? >= UPLOADS_KEPT_MAX {
        let folder = folder.display();
        let reason = format!(
            "{folder} has {UPLOADS_KEPT_MAX} uploaded modules (NAME-DIGEST.wasm), which is the \
             limit; delete there what no configuration names any more"
        );
        return Err(Failed::new(StatusCode::INSUFFICIENT_STORAGE, reason));
    }
    let written = Replacement::of(path, 0o644).and_then(|mut file| {
        file.write(wasm)?;
        file.commit()
    });
    written.map(|()| true).map_err(failed)
}

/// How many modules were uploaded into the folder: files that are called as [`upload`] calls them,
/// those that were never finished too.
fn uploads(folder: &FilePath) -> std::io::Result<usize> {
    let mut count = 0;
    for entry in fs::read_dir(folder)? {
        let name = entry?.file_name();
        let stem = name.to_str().and_then(|name| name.rsplit_once('.'));
        let stem = stem.filter(|(_, end)| *end == "wasm" || end.starts_with("part-"));
        let digest = stem.and_then(|(stem, _)| stem.rsplit_once('-'));
        let is_upload = digest.is_some_and(|(_, digest)| {
            digest.len() == 16 && digest.bytes().all(|byte| byte.is_ascii_hexdigit())
        });
        count += usize::from(is_upload);
    }
    Ok(count)
}

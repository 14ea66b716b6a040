//! Fetched modules on disk: `<sha256>.wasm`, and beside it `<sha256>.sig` with its signatures.
//!
//! A file appears whole, by rename, after it is on the disk. What it holds is believed only as far
//! as it has the digest that it is called by, so neither a process that was killed nor anybody else
//! who writes there makes anything else run. Blocks.

use std::collections::HashSet;
use std::fs::{self, DirBuilder, File};
use std::io::{self, ErrorKind};
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use sha2::{Digest as _, Sha256};

use super::{Cause, Digest, Trouble};
use crate::control::config::Modules;
use crate::control::courtesy::{sha256, yield_core};
use crate::files::{self, Replacement};
use crate::limits::{MODULE_LEFTOVER_AGE, MODULE_SIGNATURES_BYTES_MAX, PLUGIN_MODULE_BYTES_MAX};
use crate::text::hex;

/// The folder.
#[derive(Debug)]
pub(super) struct Store {
    dir: PathBuf,
}

impl Store {
    /// Opens it, or makes it.
    pub(super) fn open(dir: &Path) -> Result<Self, Trouble> {
        let opened = match dir.is_dir() {
            true => Ok(()),
            false => DirBuilder::new().recursive(true).mode(0o700).create(dir),
        };
        let why = |error| {
            let dir = dir.display();
            Trouble::store(format!("{dir}, where modules are kept, cannot be made: {error}"))
        };
        opened.map_err(why)?;
        Ok(Self { dir: dir.to_owned() })
    }

    fn module(&self, digest: &Digest) -> PathBuf {
        Modules::file_in(&self.dir, digest)
    }

    fn signed(&self, digest: &Digest) -> PathBuf {
        self.module(digest).with_extension("sig")
    }

    /// Whether the module is there and whole.
    pub(super) fn has(&self, digest: &Digest) -> bool {
        let path = self.module(digest);
        if !path.exists() {
            return false;
        }
        let read = files::read(&path, PLUGIN_MODULE_BYTES_MAX);
        let is_whole = read.as_ref().is_ok_and(|wasm| sha256(wasm) == *digest);
        if is_whole {
            self.note_use(digest);
        } else {
            let why = read.err().unwrap_or_else(|| "is damaged".to_owned());
            tracing::warn!("{}: {why}; it is fetched again", path.display());
        }
        is_whole
    }

    /// A module's time is when it was last of use.
    pub(super) fn note_use(&self, digest: &Digest) {
        // One that runs may be here no more.
        let file = File::open(self.module(digest));
        let _ = file.and_then(|file| file.set_modified(SystemTime::now()));
    }

    /// What is kept of its signatures.
    pub(super) fn signatures(&self, digest: &Digest) -> Option<Vec<u8>> {
        files::read(&self.signed(digest), MODULE_SIGNATURES_BYTES_MAX).ok()
    }

    /// Keeps its signatures.
    pub(super) fn keep_signatures(&self, digest: &Digest, text: &[u8]) -> Result<(), Trouble> {
        let mut file = self.begin(&self.signed(digest))?;
        file.write(text).and_then(|()| file.commit()).map_err(|error| self.unkept(&error))
    }

    /// Begins a module.
    pub(super) fn incoming(&self, digest: &Digest) -> Result<Incoming, Trouble> {
        let file = self.begin(&self.module(digest))?;
        let hasher = Sha256::new();
        Ok(Incoming { file, hasher, bytes: 0, begins: Vec::new(), digest: *digest })
    }

    /// Puts a module in its place that has come whole.
    pub(super) fn keep(&self, incoming: Incoming, kind: Option<&str>) -> Result<u64, Trouble> {
        let Incoming { file, hasher, bytes, begins, digest } = incoming;
        let got: Digest = hasher.finalize().into();
        if got != digest {
            let what = match begins.starts_with(b"\0asm") {
                true => String::new(),
                false => format!(" and is no WebAssembly module{}", kind_of(kind)),
            };
            let got = hex(&got);
            return Err(Trouble::new(
                Cause::Digest,
                format!(
                    "what came ({bytes} bytes) has sha256 {got}, which is not the one in the \
                     configuration{what}"
                ),
            ));
        }
        let kept = file.commit().and_then(|()| File::open(&self.dir)?.sync_all());
        kept.map_err(|error| self.unkept(&error))?;
        Ok(bytes)
    }

    /// Takes over what another folder has of a module.
    pub(super) fn copy_from(&self, dir: &Path, digest: &Digest) {
        let from = Self { dir: dir.to_owned() };
        // What is not there is fetched; what is damaged as well.
        let _ = fs::copy(from.module(digest), self.module(digest));
        let _ = fs::copy(from.signed(digest), self.signed(digest));
    }

    fn begin(&self, path: &Path) -> Result<Replacement, Trouble> {
        Replacement::of(path, 0o600).map_err(|error| self.unkept(&error))
    }

    fn unkept(&self, error: &io::Error) -> Trouble {
        let dir = self.dir.display();
        Trouble::store(format!("it cannot be kept in {dir}: {error}; see modules.cacheDir"))
    }

    /// Removes what is not `named`, the longest unused first, until all of it is at most so many
    /// bytes; and what killed processes left behind.
    pub(super) fn trim(
        &self,
        named: &HashSet<Digest>,
        most: u64,
        now: SystemTime,
    ) -> Result<Trimmed, Trouble> {
        let named: HashSet<String> = named.iter().map(|digest| hex(digest)).collect();
        let entries = fs::read_dir(&self.dir).map_err(|error| Trouble::store(error.to_string()))?;
        let (mut all, mut freed) = (0, 0);
        let mut idle = Vec::new();
        for entry in entries.flatten() {
            let name = entry.file_name().to_string_lossy().into_owned();
            let Ok(meta) = entry.metadata() else { continue };
            let modified = meta.modified().unwrap_or(now);
            let path = entry.path();
            let Some(hex) = name.strip_suffix(".wasm") else {
                let age = now.duration_since(modified).unwrap_or_default();
                if is_leftover(&name) && age > MODULE_LEFTOVER_AGE && fs::remove_file(path).is_ok()
                {
                    freed += meta.len();
                }
                continue;
            };
            all += meta.len();
            if !named.contains(hex) && is_digest(hex) {
                idle.push((modified, path, meta.len()));
            }
        }
        idle.sort();
        for (_, path, bytes) in idle {
            if all <= most {
                break;
            }
            // Another process that keeps its modules here may have been faster.
            let removed = fs::remove_file(&path);
            if removed.is_ok() || removed.is_err_and(|error| error.kind() == ErrorKind::NotFound) {
                // Most have none.
                let _ = fs::remove_file(path.with_extension("sig"));
                all -= bytes;
                freed += bytes;
            }
        }
        Ok(Trimmed { kept: all, freed })
    }
}

/// What a folder has, and has no more, in bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Trimmed {
    pub(super) kept: u64,
    pub(super) freed: u64,
}

/// What a fetch was called that had not ended; see [`Replacement`].
fn is_leftover(name: &str) -> bool {
    let made = name.split_once(".wasm.part-").or_else(|| name.split_once(".sig.part-"));
    made.is_some_and(|(hex, _)| is_digest(hex))
}

fn is_digest(hex: &str) -> bool {
    hex.len() == 64 && hex.bytes().all(|byte| byte.is_ascii_hexdigit())
}

fn kind_of(kind: Option<&str>) -> String {
    kind.map_or_else(String::new, |kind| format!(" but {}", kind.escape_default()))
}

/// A module that is coming.
pub(super) struct Incoming {
    file: Replacement,
    hasher: Sha256,
    bytes: u64,
    begins: Vec<u8>,
    digest: Digest,
}

impl Incoming {
    /// Takes the next piece.
    pub(super) fn take(&mut self, piece: &[u8]) -> Result<(), Trouble> {
        self.bytes += piece.len() as u64;
        if self.bytes > PLUGIN_MODULE_BYTES_MAX as u64 {
            return Err(too_large());
        }
        self.begins.extend(piece.iter().take(4 - self.begins.len().min(4)));
        self.hasher.update(piece);
        yield_core();
        let written = self.file.write(piece);
        written.map_err(|error| Trouble::store(format!("it cannot be kept: {error}")))
    }
}

/// It has more bytes than a module may have.
pub(super) fn too_large() -> Trouble {
    let words = format!("it is larger than {PLUGIN_MODULE_BYTES_MAX} bytes, the limit of a module");
    Trouble::new(Cause::Size, words)
}

#[cfg(test)]
#[expect(clippy::disallowed_methods, reason = "tests are no workers")]
mod tests;

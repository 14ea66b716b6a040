//! Compiled modules on disk.
//!
//! A file holds native code, and whoever can write it runs code in this process: so the directory
//! must belong to us and be closed to everybody else (0700), a file is opened without following
//! links and checked on the opened descriptor, and files appear whole, by rename. Before the code
//! stands its SHA-256: a disk that has turned a bit would otherwise have it run. Anything that is
//! not as it should be counts as not cached. Control thread only.
#![expect(
    unsafe_code,
    reason = "wasmtime trusts the native code it is given; the checks that make it ours are here"
)]

use std::fs::{DirBuilder, OpenOptions};
use std::hash::{Hash, Hasher};
use std::io::{self, Read};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use sha2::{Digest, Sha256};
use wasmtime::{Engine, Module};

use crate::files::Replacement;
use crate::text::hex;

/// What a file begins with; the SHA-256 of the rest follows.
const MAGIC: &[u8; 16] = b"odin native v01\n";
/// Both together.
const HEADER_BYTES: usize = MAGIC.len() + 32;

/// A directory of compiled modules.
#[derive(Debug)]
pub(super) struct Cache {
    dir: PathBuf,
    /// What the engine's settings and version hash to: another engine's files are not ours.
    settings: u64,
}

impl Cache {
    /// Opens (or makes) the directory; the error says why it cannot be trusted.
    pub(super) fn open(dir: &Path, engine: &Engine) -> io::Result<Self> {
        if !dir.exists() {
            DirBuilder::new().recursive(true).mode(0o700).create(dir)?;
        }
        let meta = std::fs::symlink_metadata(dir)?;
        let mode = meta.mode() & 0o777;
        if !meta.is_dir() || meta.uid() != rustix::process::geteuid().as_raw() || mode & 0o077 != 0
        {
            let (dir, owner) = (dir.display(), meta.uid());
            return Err(io::Error::other(format!(
                "cache directory {dir} belongs to uid {owner} with mode {mode:o}; \
                 it must be a directory of this process's user with mode 700"
            )));
        }
        let mut hasher = std::hash::DefaultHasher::new();
        engine.precompile_compatibility_hash().hash(&mut hasher);
        Ok(Self { dir: dir.to_owned(), settings: hasher.finish() })
    }

    /// The compiled form of `wasm`, if it is there and can be trusted.
    pub(super) fn load(&self, engine: &Engine, wasm: &[u8]) -> Option<Module> {
        let bytes = read_own(&self.path(wasm)).ok()?;
        let (header, code) = bytes.split_at_checked(HEADER_BYTES)?;
        let is_whole = header.starts_with(MAGIC) && header[MAGIC.len()..] == *Sha256::digest(code);
        if !is_whole {
            tracing::warn!("a compiled plugin in the cache is damaged; it is compiled again");
            return None;
        }
        // SAFETY: the bytes come from a regular file of our own user that nobody else can write,
        // in a directory that nobody else can write (checked on the opened file and at `open`), and
        // have the checksum that `store` wrote before them, so they are what it wrote: the
        // serialisation of a module of this very engine, which the name and wasmtime's own header
        // tell.
        unsafe { Module::deserialize(engine, code) }.ok()
    }

    /// Keeps the compiled form of `wasm`.
    pub(super) fn store(&self, module: &Module, wasm: &[u8]) -> io::Result<()> {
        let code = module.serialize().map_err(io::Error::other)?;
        let mut file = Replacement::of(&self.path(wasm), 0o600)?;
        file.write(MAGIC)?;
        file.write(&Sha256::digest(&code))?;
        file.write(&code)?;
        file.commit()
    }

    fn path(&self, wasm: &[u8]) -> PathBuf {
        let name = hex(&Sha256::digest(wasm));
        self.dir.join(format!("{name}-{:016x}.cwasm", self.settings))
    }
}

/// The content of a regular file that belongs to us and that nobody else can write.
fn read_own(path: &Path) -> io::Result<Vec<u8>> {
    let mut file = OpenOptions::new()
        .read(true)
        .custom_flags(rustix::fs::OFlags::NOFOLLOW.bits().cast_signed())
        .open(path)?;
    let meta = file.metadata()?;
    let ours = meta.uid() == rustix::process::geteuid().as_raw();
    if !meta.is_file() || !ours || meta.mode() & 0o022 != 0 {
        return Err(io::Error::other("not a file that only this user can write"));
    }
    let mut bytes = Vec::with_capacity(meta.len() as usize);
    file.read_to_end(&mut bytes)?;
    Ok(bytes)
}

#[cfg(test)]
mod tests;

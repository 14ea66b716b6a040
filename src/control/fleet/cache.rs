//! The document that was applied last, on the node's disk: what it starts by when etcd is away.
//!
//! The file takes its place whole (written beside it, synced, renamed, the folder synced), and a
//! digest over all of it stands in front: whatever a crash or a disk leaves, nothing half-written
//! is loaded.

use std::fs::{DirBuilder, File};
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};

use sha2::{Digest, Sha256};

use super::document;
use crate::control::config::{Document, Fleet};
use crate::files::{self, Replacement};
use crate::limits::FLEET_STORED_BYTES_MAX;
use crate::text::hex;

/// What the file begins with; the digest and the line's end follow.
const MARK: &str = "odin fleet 1 ";
/// Mark, digest, line's end.
const HEAD_BYTES: usize = MARK.len() + 64 + 1;

/// The file.
#[derive(Debug, Clone)]
pub struct Cache {
    folder: PathBuf,
}

impl Cache {
    /// Where the configuration says, or in a folder of the user that the process runs as.
    ///
    /// # Errors
    /// There is none, and what to do.
    pub fn of(fleet: &Fleet) -> Result<Self, String> {
        let absolute = |name: &str| {
            std::env::var_os(name).map(PathBuf::from).filter(|path| path.is_absolute())
        };
        let own = || {
            absolute("STATE_DIRECTORY")
                .map(|dir| dir.join("fleet"))
                .or_else(|| absolute("XDG_STATE_HOME").map(|dir| dir.join("odin/fleet")))
                .or_else(|| absolute("HOME").map(|dir| dir.join(".local/state/odin/fleet")))
        };
        let folder = fleet.cache_dir.clone().or_else(own);
        let folder = folder.ok_or(
            "fleet.cacheDir: missing, and there is no $STATE_DIRECTORY and no $HOME to keep the \
             last revision in; give it a folder such as /var/lib/odin/fleet",
        )?;
        Ok(Self { folder })
    }

    fn file(&self) -> PathBuf {
        self.folder.join("document")
    }

    /// The document that was applied last; `None`: none ever was. Blocks.
    ///
    /// # Errors
    /// There is one and it is of no use: why, in words.
    pub fn load(&self) -> Result<Option<Document>, String> {
        let path = self.file();
        if path.try_exists().is_ok_and(|exists| !exists) {
            return Ok(None);
        }
        let shown = path.display();
        let bytes = files::read(&path, HEAD_BYTES + FLEET_STORED_BYTES_MAX)
            .map_err(|why| format!("{shown} {why}"))?;
        read(&bytes).map(Some).map_err(|why| format!("{shown}: {why}"))
    }

    /// Puts a document in the place of the one before. Blocks until it is on disk.
    ///
    /// # Errors
    /// It is not: why, in words. The one before is.
    pub fn store(&self, document: &Document) -> Result<(), String> {
        let path = self.file();
        let failed = |error: std::io::Error| {
            format!(
                "fleet.cacheDir: {} cannot be written: {error}; what is not on disk is not served",
                path.display()
            )
        };
        let bytes = written(document)?;
        make(&self.folder).map_err(failed)?;
        let stored = Replacement::of(&path, 0o600).and_then(|mut file| {
            file.write(&bytes)?;
            file.commit()?;
            // So that the new name is there after a power cut as well.
            File::open(&self.folder)?.sync_all()
        });
        stored.map_err(failed)
    }
}

/// It may hold what nobody else should read: how an organisation's services are laid out.
fn make(folder: &Path) -> std::io::Result<()> {
    DirBuilder::new().recursive(true).mode(0o700).create(folder)
}

fn written(document: &Document) -> Result<Vec<u8>, String> {
    let stored = document::encode(document)?;
    let digest = hex(&Sha256::digest(&stored));
    Ok([format!("{MARK}{digest}\n").into_bytes(), stored].concat())
}

fn read(bytes: &[u8]) -> Result<Document, String> {
    let damaged = || "it is damaged (not what its digest says), so it is not used".to_owned();
    let (head, stored) = bytes.split_at_checked(HEAD_BYTES).ok_or_else(damaged)?;
    let digest = hex(&Sha256::digest(stored));
    if head != format!("{MARK}{digest}\n").as_bytes() {
        return Err(damaged());
    }
    document::decode(stored)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cache(name: &str) -> Cache {
        let name = format!("odin-fleet-cache-{name}-{}", std::process::id());
        Cache { folder: std::env::temp_dir().join(name) }
    }

    fn document(revision: u64) -> Document {
        Document { revision, text: format!("services: [] # {revision}\n").into() }
    }

    #[test]
    fn the_last_document_is_there_again() {
        let cache = cache("again");
        assert_eq!(cache.load(), Ok(None));
        for revision in [1, 2] {
            cache.store(&document(revision)).unwrap();
            assert_eq!(cache.load(), Ok(Some(document(revision))));
        }
        std::fs::remove_dir_all(&cache.folder).unwrap();
    }

    #[test]
    fn whatever_is_left_of_a_file_is_the_document_or_nothing() {
        let whole = written(&document(7)).unwrap();
        for cut in 0..whole.len() {
            assert!(read(&whole[..cut]).is_err(), "cut at {cut}");
        }
        for at in 0..whole.len() {
            let mut damaged = whole.clone();
            damaged[at] ^= 1;
            assert!(read(&damaged).is_err(), "byte {at}");
        }
        assert_eq!(read(&whole), Ok(document(7)));
    }

    #[test]
    fn a_folder_that_cannot_be_written_to_refuses_and_keeps_what_is_there() {
        let cache = Cache { folder: PathBuf::from("/proc/none") };
        let error = cache.store(&document(1)).unwrap_err();
        assert!(error.contains("what is not on disk is not served"), "{error}");
    }
}

//! What every behaviour is tested with: a gateway process, a scripted origin, a raw client.

pub mod carrier;
pub mod client;
pub mod dns;
pub mod etcd;
pub mod failing;
pub mod gateway;
pub mod http2;
pub mod load;
mod names;
pub mod nginx;
pub mod origin;
pub mod secure;
mod selftest;
pub mod wasm;
pub mod websocket;
pub mod wire;

pub use carrier::Carrier;
pub use client::{Client, Response, ask, get, get_with, post};
pub use gateway::{Gateway, Setup, check};
pub use nginx::Nginx;
pub use origin::Origin;
pub use wire::Framing;

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex};
use std::time::{Duration, Instant};

/// How long a test waits for something that must happen. Long, because a loaded machine is slow
/// and because nothing waits for it in a test that passes.
pub const PATIENCE: Duration = Duration::from_secs(20);

/// Polls until `condition` holds; fails after [`PATIENCE`].
pub fn wait_until(what: &str, mut condition: impl FnMut() -> bool) {
    let start = Instant::now();
    while !condition() {
        assert!(start.elapsed() < PATIENCE, "waited too long until {what}");
        std::thread::sleep(Duration::from_millis(2));
    }
}

/// Opens once, for any number of waiters: how a test holds an origin until the time is right.
#[derive(Clone, Default)]
pub struct Gate(Arc<(Mutex<bool>, Condvar)>);

impl Gate {
    pub fn open(&self) {
        *self.0.0.lock().unwrap() = true;
        self.0.1.notify_all();
    }

    /// Waits until the gate is open; fails after [`PATIENCE`].
    pub fn wait(&self) {
        let guard = self.0.0.lock().unwrap();
        let (guard, _) = self.0.1.wait_timeout_while(guard, PATIENCE, |open| !*open).unwrap();
        assert!(*guard, "the gate was not opened in time");
    }
}

/// A folder of the test's own, removed with its value.
pub struct TempDir(PathBuf);

impl TempDir {
    pub fn new() -> Self {
        static NEXT: AtomicUsize = AtomicUsize::new(0);
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let name = format!("odin-test-{}-{number}", std::process::id());
        let path = std::env::temp_dir().join(name);
        std::fs::create_dir_all(&path).unwrap();
        Self(path)
    }

    pub fn path(&self) -> &Path {
        &self.0
    }

    /// Writes a file, with the folders on its way.
    pub fn write(&self, name: &str, bytes: impl AsRef<[u8]>) -> PathBuf {
        let path = self.0.join(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(&path, bytes).unwrap();
        path
    }
}

impl Drop for TempDir {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

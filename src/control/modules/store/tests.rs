//! What the folder of modules keeps, believes and lets go.

use std::time::Duration;

use super::*;

const WASM: &[u8] = b"\0asm\x01\0\0\0";

struct Scene {
    dir: PathBuf,
    store: Store,
}

impl Scene {
    fn new(name: &str) -> Self {
        let dir = std::env::temp_dir().join(format!("odin-store-{name}-{}", std::process::id()));
        let store = Store::open(&dir).unwrap();
        Self { dir, store }
    }

    /// Keeps a module of so many bytes, last used so long ago.
    fn keep(&self, bytes: usize, ago: u64) -> Digest {
        let mut wasm = WASM.to_vec();
        wasm.resize(bytes, 7);
        let digest = sha256(&wasm);
        let mut incoming = self.store.incoming(&digest).unwrap();
        wasm.chunks(1000).for_each(|piece| incoming.take(piece).unwrap());
        assert_eq!(self.store.keep(incoming, None).unwrap(), bytes as u64);
        let used = SystemTime::now() - Duration::from_secs(ago);
        File::open(self.store.module(&digest)).unwrap().set_modified(used).unwrap();
        digest
    }

    fn names(&self) -> Vec<String> {
        let entries = fs::read_dir(&self.dir).unwrap();
        let names = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap());
        let mut names: Vec<_> = names.collect();
        names.sort();
        names
    }
}

impl Drop for Scene {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.dir);
    }
}

#[test]
fn a_module_is_there_once_it_is_whole() {
    let scene = Scene::new("whole");
    let digest = sha256(WASM);
    assert!(!scene.store.has(&digest));
    let mut incoming = scene.store.incoming(&digest).unwrap();
    incoming.take(&WASM[..5]).unwrap();
    assert!(!scene.store.has(&digest), "half of it is none of it");
    incoming.take(&WASM[5..]).unwrap();
    assert!(!scene.store.has(&digest));
    scene.store.keep(incoming, None).unwrap();
    assert!(scene.store.has(&digest));
    assert_eq!(scene.names().len(), 1);
}

#[test]
fn what_has_another_digest_is_not_kept() {
    let scene = Scene::new("other");
    let digest = sha256(WASM);
    for (came, word) in [(&WASM[..6], "sha256"), (b"<!DOCTYPE html>", "no WebAssembly module")] {
        let mut incoming = scene.store.incoming(&digest).unwrap();
        incoming.take(came).unwrap();
        let trouble = scene.store.keep(incoming, Some("text/html")).unwrap_err();
        assert!(trouble.words.contains(word), "{trouble}");
        assert_eq!(trouble.cause, Cause::Digest);
    }
    assert_eq!(scene.names(), Vec::<String>::new(), "nothing is left of them");
}

#[test]
fn what_is_dropped_half_written_leaves_nothing() {
    let scene = Scene::new("dropped");
    let mut incoming = scene.store.incoming(&sha256(WASM)).unwrap();
    incoming.take(WASM).unwrap();
    drop(incoming);
    assert_eq!(scene.names(), Vec::<String>::new());
}

#[test]
fn a_module_that_was_damaged_on_disk_is_not_there() {
    let scene = Scene::new("damaged");
    let digest = scene.keep(5000, 0);
    let path = scene.store.module(&digest);
    let mut wasm = files::read(&path, 10_000).unwrap();
    wasm[4000] ^= 1;
    fs::write(&path, &wasm).unwrap();
    assert!(!scene.store.has(&digest));
    fs::write(&path, &wasm[..4000]).unwrap();
    assert!(!scene.store.has(&digest));
    fs::remove_file(&path).unwrap();
    fs::create_dir(&path).unwrap();
    assert!(!scene.store.has(&digest));
}

#[test]
fn more_than_a_module_may_have_is_not_written() {
    let scene = Scene::new("large");
    let mut incoming = scene.store.incoming(&[0; 32]).unwrap();
    let piece = vec![0; 1024 * 1024];
    let taken = (0..65).map(|_| incoming.take(&piece)).take_while(Result::is_ok).count();
    assert_eq!(taken, 64);
}

#[test]
fn what_no_configuration_names_goes_the_longest_unused_first() {
    let scene = Scene::new("trim");
    let [old, named, newer, new] = [(2000, 400), (3000, 500), (4000, 300), (5000, 200)]
        .map(|(size, ago)| scene.keep(size, ago));
    scene.store.keep_signatures(&old, b"x").unwrap();
    let kept: HashSet<Digest> = [named].into();
    let now = SystemTime::now();
    assert_eq!(scene.store.trim(&kept, 14_000, now).unwrap().freed, 0);
    assert_eq!(scene.store.trim(&kept, 13_000, now).unwrap().freed, 2000);
    assert!(!scene.store.has(&old) && scene.store.signatures(&old).is_none());
    assert_eq!(scene.store.trim(&kept, 4000, now).unwrap(), Trimmed { kept: 3000, freed: 9000 });
    assert!(scene.store.has(&named) && !scene.store.has(&newer) && !scene.store.has(&new));
    assert_eq!(scene.store.trim(&kept, 1, now).unwrap().freed, 0, "what is named stays");
}

#[test]
fn what_a_killed_process_left_goes_when_it_can_be_nobodys() {
    let scene = Scene::new("left");
    let digest = "0".repeat(64);
    let left = scene.dir.join(format!("{digest}.wasm.part-0123456789abcdef"));
    let others = scene.dir.join("notes.part-1");
    [&left, &others].iter().for_each(|path| fs::write(path, b"half").unwrap());
    let now = SystemTime::now();
    scene.store.trim(&HashSet::new(), 0, now).unwrap();
    assert!(left.exists(), "somebody may be writing it");
    scene.store.trim(&HashSet::new(), 0, now + 2 * MODULE_LEFTOVER_AGE).unwrap();
    assert!(!left.exists() && others.exists());
}

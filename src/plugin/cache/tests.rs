//! What the cache takes for its own, and what it doesn't: the files hold native code.

#![expect(clippy::disallowed_methods, reason = "there is no worker in these tests")]

use std::os::unix::fs::{PermissionsExt, symlink};

use super::*;

const WASM: &str = r#"(module (func (export "f") (result i32) (i32.const 7)))"#;

/// A directory of the test's own, removed with it.
struct Dir(PathBuf);

impl Dir {
    fn new(name: &str) -> Self {
        let path = std::env::temp_dir().join(format!("odin-{name}-{}", std::process::id()));
        let _not_there = std::fs::remove_dir_all(&path);
        Self(path)
    }

    fn chmod(path: &Path, mode: u32) {
        std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode)).unwrap();
    }

    fn files(&self) -> Vec<PathBuf> {
        let entries = std::fs::read_dir(&self.0).unwrap();
        let mut files: Vec<_> = entries.map(|entry| entry.unwrap().path()).collect();
        files.sort();
        files
    }
}

impl Drop for Dir {
    fn drop(&mut self) {
        let _gone = std::fs::remove_dir_all(&self.0);
    }
}

/// A cache with one module in it.
struct Filled {
    dir: Dir,
    engine: Engine,
    cache: Cache,
    wasm: Vec<u8>,
    file: PathBuf,
}

impl Filled {
    fn new(name: &str) -> Self {
        let (dir, engine) = (Dir::new(name), Engine::default());
        let cache = Cache::open(&dir.0, &engine).unwrap();
        let wasm = wat::parse_str(WASM).unwrap();
        cache.store(&Module::new(&engine, &wasm).unwrap(), &wasm).unwrap();
        let [file] = <[PathBuf; 1]>::try_from(dir.files()).unwrap();
        Self { dir, engine, cache, wasm, file }
    }

    fn has_it(&self) -> bool {
        self.cache.load(&self.engine, &self.wasm).is_some()
    }
}

#[test]
fn a_module_is_found_again_under_its_hash_and_the_engines() {
    let filled = Filled::new("cache-name");
    assert!(filled.has_it());
    let name = filled.file.file_name().unwrap().to_str().unwrap();
    let digest: String = Sha256::digest(&filled.wasm).iter().map(|b| format!("{b:02x}")).collect();
    let settings = format!("{:016x}", filled.cache.settings);
    assert_eq!(name, format!("{digest}-{settings}.cwasm"));
    // One more byte (an empty custom section), another module.
    let mut other = filled.wasm.clone();
    other.extend_from_slice(&[0, 1, 0]);
    assert!(filled.cache.load(&filled.engine, &other).is_none());
    // Another engine would name it otherwise, and does not take it under its own name.
    let mut config = wasmtime::Config::new();
    config.epoch_interruption(true);
    let engine = Engine::new(&config).unwrap();
    let cache = Cache::open(&filled.dir.0, &engine).unwrap();
    assert_ne!(cache.settings, filled.cache.settings);
    assert!(cache.load(&engine, &filled.wasm).is_none());
    std::fs::copy(&filled.file, cache.path(&filled.wasm)).unwrap();
    assert!(cache.load(&engine, &filled.wasm).is_none());
}

#[test]
fn the_directory_is_made_for_us_alone_and_one_that_others_can_enter_is_refused() {
    let dir = Dir::new("cache-mode");
    let engine = Engine::default();
    Cache::open(&dir.0, &engine).unwrap();
    assert_eq!(std::fs::metadata(&dir.0).unwrap().mode() & 0o777, 0o700);
    for mode in [0o755, 0o770, 0o701, 0o702] {
        Dir::chmod(&dir.0, mode);
        let error = Cache::open(&dir.0, &engine).unwrap_err().to_string();
        assert!(error.contains(&format!("with mode {mode:o}; it must be")), "{error}");
    }
    Dir::chmod(&dir.0, 0o700);
    Cache::open(&dir.0, &engine).unwrap();
}

#[test]
fn a_directory_that_is_a_link_or_a_file_or_somebody_elses_is_refused() {
    let dir = Dir::new("cache-link");
    let engine = Engine::default();
    let real = dir.0.join("real");
    Cache::open(&real, &engine).unwrap();
    let link = dir.0.join("link");
    symlink(&real, &link).unwrap();
    assert!(Cache::open(&link, &engine).is_err());
    let file = dir.0.join("file");
    std::fs::write(&file, "").unwrap();
    Dir::chmod(&file, 0o700);
    assert!(Cache::open(&file, &engine).is_err());
    if rustix::process::geteuid().is_root() {
        std::os::unix::fs::chown(&real, Some(65534), None).unwrap();
        let error = Cache::open(&real, &engine).unwrap_err().to_string();
        assert!(error.contains("belongs to uid 65534"), "{error}");
    }
}

#[test]
fn a_file_that_is_a_link_or_that_others_can_write_counts_as_not_there() {
    let filled = Filled::new("cache-file");
    for mode in [0o620, 0o602, 0o666] {
        Dir::chmod(&filled.file, mode);
        assert!(!filled.has_it(), "{mode:o}");
    }
    Dir::chmod(&filled.file, 0o600);
    assert!(filled.has_it());
    let elsewhere = filled.dir.0.join("elsewhere");
    std::fs::rename(&filled.file, &elsewhere).unwrap();
    symlink(&elsewhere, &filled.file).unwrap();
    assert!(!filled.has_it());
    std::fs::remove_file(&filled.file).unwrap();
    std::fs::create_dir(&filled.file).unwrap();
    assert!(!filled.has_it());
}

#[test]
fn an_entry_that_is_cut_or_foreign_is_not_run_and_is_replaced_by_the_next_compilation() {
    let filled = Filled::new("cache-cut");
    let whole = std::fs::read(&filled.file).unwrap();
    for length in [0, 1, 64, whole.len() / 2] {
        std::fs::write(&filled.file, &whole[..length]).unwrap();
        assert!(!filled.has_it(), "{length} bytes");
    }
    std::fs::write(&filled.file, b"\x7fELF and nothing that is ours").unwrap();
    assert!(!filled.has_it());
    std::fs::write(&filled.file, &filled.wasm).unwrap();
    assert!(!filled.has_it(), "a module that was never compiled");
    let module = Module::new(&filled.engine, &filled.wasm).unwrap();
    filled.cache.store(&module, &filled.wasm).unwrap();
    assert!(filled.has_it());
}

#[test]
fn native_code_with_a_flipped_bit_is_not_run() {
    let filled = Filled::new("cache-flipped");
    let whole = std::fs::read(&filled.file).unwrap();
    // Everywhere, and in the code most of all.
    for at in (0..whole.len()).step_by(whole.len() / 400 + 1) {
        let mut flipped = whole.clone();
        flipped[at] ^= 0x10;
        std::fs::write(&filled.file, &flipped).unwrap();
        assert!(!filled.has_it(), "byte {at} of {}", whole.len());
    }
    let mut longer = whole.clone();
    longer.push(0);
    std::fs::write(&filled.file, longer).unwrap();
    assert!(!filled.has_it(), "a byte more");
    std::fs::write(&filled.file, whole).unwrap();
    assert!(filled.has_it());
}

#[test]
fn a_file_appears_whole_and_leaves_nothing_beside_it() {
    let filled = Filled::new("cache-whole");
    assert_eq!(filled.dir.files().len(), 1, "the temporary file was renamed");
    assert_eq!(std::fs::metadata(&filled.file).unwrap().mode() & 0o777, 0o600);
    // A writer that cannot finish removes what it began: the place of the file is taken.
    std::fs::remove_file(&filled.file).unwrap();
    std::fs::create_dir(&filled.file).unwrap();
    let module = Module::new(&filled.engine, &filled.wasm).unwrap();
    assert!(filled.cache.store(&module, &filled.wasm).is_err());
    assert_eq!(filled.dir.files(), std::slice::from_ref(&filled.file));
}

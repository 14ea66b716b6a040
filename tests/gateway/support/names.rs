//! Names that a test decides on: what the gateway's resolver says of `*.test`.
//!
//! A library in front of libc's (`LD_PRELOAD`) answers getaddrinfo(3) for them from a file, which a
//! test may write anew while the gateway runs.

use std::path::PathBuf;
use std::process::Command;
use std::sync::OnceLock;

use super::{Gateway, Setup, TempDir};

const SOURCE: &str = r#"
use std::ffi::{CStr, CString, c_char, c_int, c_void};
unsafe extern "C" {
    fn dlsym(handle: *mut c_void, name: *const c_char) -> *mut c_void;
}
type Lookup =
    unsafe extern "C" fn(*const c_char, *const c_char, *const c_void, *mut *mut c_void) -> c_int;
#[unsafe(no_mangle)]
pub unsafe extern "C" fn getaddrinfo(
    node: *const c_char,
    service: *const c_char,
    hints: *const c_void,
    found: *mut *mut c_void,
) -> c_int {
    const NEXT: *mut c_void = -1isize as *mut c_void;
    const UNKNOWN: c_int = -2;
    let real: Lookup = unsafe { std::mem::transmute(dlsym(NEXT, c"getaddrinfo".as_ptr())) };
    if node.is_null() {
        return unsafe { real(node, service, hints, found) };
    }
    let name = unsafe { CStr::from_ptr(node) }.to_string_lossy().into_owned();
    if !name.ends_with(".test") {
        return unsafe { real(node, service, hints, found) };
    }
    let table = std::fs::read_to_string(std::env::var("ODIN_TEST_NAMES").unwrap_or_default());
    let table = table.unwrap_or_default();
    let line = table.lines().find_map(|line| line.strip_prefix(&name)?.strip_prefix(' '));
    let Some(line) = line else { return UNKNOWN };
    // The lists of each address become one: freeaddrinfo(3) frees them all the same.
    let mut end = found;
    for address in line.split(' ') {
        let Ok(address) = CString::new(address) else { return UNKNOWN };
        let failed = unsafe { real(address.as_ptr(), service, hints, end) };
        if failed != 0 {
            return failed;
        }
        // struct addrinfo: four ints, a length, two pointers, then the next.
        while !unsafe { *end }.is_null() {
            end = unsafe { (*end).cast::<*mut c_void>().add(5) };
        }
    }
    0
}
"#;

/// The library, built once.
fn library() -> &'static PathBuf {
    static LIBRARY: OnceLock<PathBuf> = OnceLock::new();
    LIBRARY.get_or_init(|| {
        let dir = TempDir::new();
        let source = dir.write("names.rs", SOURCE);
        let built = PathBuf::from(env!("CARGO_TARGET_TMPDIR"))
            .join(format!("libodin-test-names-{}.so", std::process::id()));
        let output = Command::new("rustc")
            .args(["--edition=2024", "--crate-type=cdylib", "-Cpanic=abort", "-o"])
            .arg(&built)
            .arg(source)
            .output()
            .unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        built
    })
}

impl Setup {
    /// Has these names, which end with `.test`, lead to these addresses (several with spaces
    /// between them), and no other such name anywhere.
    pub fn names(self, names: &[(&str, &str)]) -> Self {
        let table = self.dir.write("names", table(names));
        let library = library().to_str().unwrap();
        self.env("LD_PRELOAD", library).env("ODIN_TEST_NAMES", table.to_str().unwrap())
    }
}

impl Gateway {
    /// The names lead elsewhere from now on; the gateway looks them up every ten seconds.
    pub fn move_names(&self, names: &[(&str, &str)]) {
        let new = self.dir().write("names.new", table(names));
        std::fs::rename(new, self.dir().path().join("names")).unwrap();
    }
}

fn table(names: &[(&str, &str)]) -> String {
    names.iter().map(|(name, address)| format!("{name} {address}\n")).collect()
}

//! `odin-cli new`: a project that builds with `make` and passes its cases at once.
//!
//! The SDKs are not published anywhere yet, so the project gets the one it uses as a folder,
//! `sdk/`.

use std::fs;
use std::path::{Path, PathBuf};

use include_dir::{Dir, include_dir};

static TEMPLATES: Dir<'_> = include_dir!("$CARGO_MANIFEST_DIR/src/cli/template");
static SDKS: Dir<'_> = include_dir!("$CARGO_MANIFEST_DIR/plugins/sdk");
const TOOLCHAIN: &str = include_str!("../../plugins/toolchain.sh");
const CASES: &str = include_str!("../../plugins/sdk/CASES.md");

/// Names that a toolchain has for itself: Go's standard packages and words for several packages,
/// Rust's crates and keywords, the SDKs and what they are built from. A project of such a name
/// would be taken for it.
const TAKEN: &[&str] = &[
    "abstract",
    "all",
    "alloc",
    "archive",
    "arena",
    "as",
    "assemblyscript",
    "async",
    "await",
    "base64",
    "become",
    "box",
    "break",
    "bufio",
    "builtin",
    "bytes",
    "cmd",
    "cmp",
    "compress",
    "const",
    "container",
    "context",
    "continue",
    "core",
    "crate",
    "crypto",
    "database",
    "debug",
    "deps",
    "do",
    "dyn",
    "embed",
    "else",
    "encoding",
    "enum",
    "errors",
    "example",
    "examples",
    "expvar",
    "extern",
    "false",
    "final",
    "flag",
    "fmt",
    "fn",
    "for",
    "gen",
    "go",
    "hash",
    "html",
    "if",
    "image",
    "impl",
    "in",
    "incremental",
    "index",
    "internal",
    "io",
    "iter",
    "itoa",
    "let",
    "log",
    "loop",
    "macro",
    "main",
    "maps",
    "match",
    "math",
    "memchr",
    "mime",
    "mod",
    "move",
    "mut",
    "net",
    "node-modules",
    "odin",
    "odin-plugin",
    "os",
    "override",
    "path",
    "plugin",
    "priv",
    "pub",
    "reflect",
    "ref",
    "regexp",
    "return",
    "runtime",
    "ryu",
    "sdk",
    "self",
    "serde",
    "serde-derive",
    "serde-json",
    "simd",
    "slices",
    "sort",
    "static",
    "std",
    "strconv",
    "strings",
    "struct",
    "structs",
    "super",
    "sync",
    "syscall",
    "test",
    "testing",
    "text",
    "time",
    "tool",
    "trait",
    "true",
    "try",
    "type",
    "typeof",
    "unicode",
    "unique",
    "unsafe",
    "unsized",
    "use",
    "vendor",
    "virtual",
    "weak",
    "where",
    "while",
    "work",
    "yield",
];

/// What a project is written in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Language {
    /// With cargo and the target wasm32-unknown-unknown
    Rust,
    /// Go 1.24 or newer
    Go,
    /// With Node.js and npm
    #[value(name = "assemblyscript", alias = "as")]
    AssemblyScript,
    /// With clang and lld, or zig
    C,
}

impl Language {
    /// The folder of its SDK and its template.
    fn folder(self) -> &'static str {
        match self {
            Self::Rust => "rust",
            Self::Go => "go",
            Self::AssemblyScript => "assemblyscript",
            Self::C => "c",
        }
    }
}

/// Writes the project `name` into a new folder of this name; the folder.
///
/// # Errors
/// What is wrong with the name, or could not be written.
pub(crate) fn create(name: &str, language: Language) -> Result<PathBuf, String> {
    let is_name_byte =
        |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
    let begins = name.as_bytes().first().is_some_and(u8::is_ascii_lowercase);
    if !begins || name.len() > 64 || !name.bytes().all(is_name_byte) {
        return Err(format!(
            "{name:?} cannot be a project's name; 1 to 64 of a-z 0-9 -, beginning with a letter"
        ));
    }
    let folder = PathBuf::from(name);
    if folder.exists() {
        return Err(format!("there is a {name} already; choose another name or remove it"));
    }
    let own = language.folder();
    // Folder and module are called as was asked; a name that clashes is prefixed for its toolchain.
    let inner = if TAKEN.contains(&name) { format!("my-{name}") } else { name.to_owned() };
    copy(&SDKS, own, &folder.join("sdk"), None)?;
    write(&folder.join("sdk/toolchain.sh"), TOOLCHAIN.as_bytes())?;
    write(&folder.join("tests/CASES.md"), CASES.as_bytes())?;
    // After the SDK: the Rust one's manifest takes from its workspace what a project does not have.
    for template in ["common", own] {
        copy(&TEMPLATES, template, &folder, Some(Names { project: name, inner: &inner }))?;
    }
    fs::rename(folder.join("gitignore"), folder.join(".gitignore"))
        .map_err(|error| format!("cannot write {name}/.gitignore: {error}"))?;
    Ok(folder)
}

/// What stands in the place of PROJECT and of NAME.
#[derive(Clone, Copy)]
struct Names<'n> {
    project: &'n str,
    inner: &'n str,
}

/// Writes what is in a folder of `from`, with the names put in, if there are any.
fn copy(from: &Dir<'_>, folder: &str, to: &Path, names: Option<Names<'_>>) -> Result<(), String> {
    let folder = from.get_dir(folder).ok_or("the tool was built without its templates")?;
    copy_entries(folder, folder.path(), to, names)
}

fn copy_entries(
    dir: &Dir<'_>,
    root: &Path,
    to: &Path,
    names: Option<Names<'_>>,
) -> Result<(), String> {
    for file in dir.files() {
        let path = file.path().strip_prefix(root).unwrap_or(file.path());
        match (names, file.contents_utf8()) {
            (Some(Names { project, inner }), Some(text)) => {
                let text = text.replace("PROJECT", project).replace("NAME", inner);
                write(&to.join(path), text.as_bytes())?;
            }
            _ => write(&to.join(path), file.contents())?,
        }
    }
    dir.dirs().try_for_each(|inner| copy_entries(inner, root, to, names))
}

#[expect(clippy::disallowed_methods, reason = "a tool of its own, there is no worker")]
fn write(path: &Path, bytes: &[u8]) -> Result<(), String> {
    let folder = path.parent().unwrap_or(Path::new("."));
    fs::create_dir_all(folder)
        .and_then(|()| fs::write(path, bytes))
        .map_err(|error| format!("cannot write {}: {error}", path.display()))
}

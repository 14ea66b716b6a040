//! What a module exports, as far as the JSON ABI knows it.

use wasmtime::{ExternType, Module};

use super::super::heap;
use super::super::module::{Start, check_memory, start_of, takes_nothing, types_of};
use super::super::spec::{Phase, PluginSpec, PluginType};

/// How a function gives the place of its output.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::plugin) enum ResultForm {
    /// One i64: the address in the low, the length in the high 32 bits.
    Packed,
    /// Two i32: address and length.
    Pair,
}

/// Which exports supply room in the guest's memory.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::plugin) enum AllocatorShape {
    /// A function of this name: size -> address.
    Sized(&'static str),
    /// `cabi_realloc`.
    Realloc,
    /// AssemblyScript's `__new`.
    Collected,
    /// None.
    HostRegion,
}

/// What a Go module lacks that was written for TinyGo, as the original's documentation is.
const GO_EXPORTS: &str = ". Go's own toolchain passes over `//export execute`, which is TinyGo's. \
     Write\n//go:wasmexport execute\nin its place (the same for alloc), and build with\n\
     GOOS=wasip1 GOARCH=wasm go build -buildmode=c-shared -o plugin.wasm .\n(Go 1.24 or newer; \
     plugins/page-samples/go is the documentation's sample, mended so)";

/// What a plugin exports that is given bodies piece by piece, and how it must be.
pub(super) const REQUEST_CHUNK: &str = "on_request_chunk";
pub(super) const RESPONSE_CHUNK: &str = "on_response_chunk";
pub(super) const OPEN: &str = "on_stream_open";
pub(super) const CLOSE: &str = "on_stream_close";
const PIECES: [(&str, &str); 4] = [
    (REQUEST_CHUNK, "i32 i32 i32 i32 -> i64"),
    (RESPONSE_CHUNK, "i32 i32 i32 i32 -> i64"),
    (OPEN, "i32 i32 i32 ->"),
    (CLOSE, "i32 ->"),
];

/// What a module exports, as far as the ABI knows it.
#[derive(Debug, Clone, Copy)]
pub(in crate::plugin) struct Shape {
    pub(in crate::plugin) execute: ResultForm,
    pub(in crate::plugin) on_request: Option<ResultForm>,
    pub(in crate::plugin) start: Start,
    pub(in crate::plugin) has_init: bool,
    pub(in crate::plugin) has_cleanup: bool,
    pub(in crate::plugin) has_tick: bool,
    pub(in crate::plugin) allocator: AllocatorShape,
    request_chunks: bool,
    response_chunks: bool,
}

/// What the module is to this ABI, or why it cannot be called by it.
pub(in crate::plugin) fn inspect(
    module: &Module,
    wasm: &[u8],
    spec: &PluginSpec,
) -> Result<Shape, String> {
    check_memory(module, spec)?;
    let execute = result_form(module, "execute")?.ok_or_else(|| {
        let exports: Vec<_> = module.exports().map(|export| export.name().to_owned()).collect();
        format!(
            "the module exports no function execute(ptr: i32, len: i32) -> i64; it exports {}{}",
            if exports.is_empty() { "nothing".to_owned() } else { exports.join(", ") },
            if is_go(wasm) { GO_EXPORTS } else { "" }
        )
    })?;
    let allocator = allocator_of(module);
    if allocator == AllocatorShape::HostRegion && is_go(wasm) {
        return Err(
            "a Go module must export an allocator, or its input would overwrite its heap: \
                    add `//go:wasmexport alloc` above `func alloc(size uint32) uint32` that \
                    returns the address of a kept slice (plugins/sdk/go has it)"
                .to_owned(),
        );
    }
    if allocator == AllocatorShape::HostRegion {
        heap::claims_whole_memory(wasm).map_err(|why| {
            format!(
                "the module exports no allocator, and {why}: the host's input would be \
                 overwritten. Export its allocator: AssemblyScript by `--exportRuntime`; C and \
                 C++ by `-Wl,--export=malloc,--export=free`; else a function \
                 alloc(size: i32) -> i32"
            )
        })?;
    }
    let has = |name: &str| matches!(module.get_export(name), Some(ExternType::Func(_)));
    let start = start_of(module)?;
    for name in ["init", "cleanup", "on_tick"] {
        takes_nothing(module, name)?;
    }
    for (name, wanted) in PIECES {
        if let Some(types) = types_of(module, name)
            && types != wanted
        {
            return Err(format!("{name} is ({types}); it must be ({wanted})"));
        }
    }
    Ok(Shape {
        request_chunks: has(REQUEST_CHUNK),
        response_chunks: has(RESPONSE_CHUNK),
        execute,
        on_request: result_form(module, "on_request")?,
        start,
        has_init: has("init"),
        has_cleanup: has("cleanup"),
        has_tick: has("on_tick"),
        allocator,
    })
}

fn result_form(module: &Module, name: &str) -> Result<Option<ResultForm>, String> {
    let Some(types) = types_of(module, name) else {
        return Ok(None);
    };
    match types.as_str() {
        "i32 i32 -> i64" => Ok(Some(ResultForm::Packed)),
        "i32 i32 -> i32 i32" => Ok(Some(ResultForm::Pair)),
        _ => Err(format!(
            "{name} is ({types}); it must be (i32 i32 -> i64), address in the low and length in \
             the high 32 bits, or (i32 i32 -> i32 i32)"
        )),
    }
}

fn allocator_of(module: &Module) -> AllocatorShape {
    let is = |name: &str, wanted: &str| types_of(module, name).is_some_and(|have| have == wanted);
    for name in ["alloc", "allocate", "malloc"] {
        if is(name, "i32 -> i32") {
            return AllocatorShape::Sized(name);
        }
    }
    if is("cabi_realloc", "i32 i32 i32 i32 -> i32") {
        return AllocatorShape::Realloc;
    }
    if is("__new", "i32 i32 -> i32") {
        return AllocatorShape::Collected;
    }
    AllocatorShape::HostRegion
}

/// Whether Go's own linker made the module: it leaves a custom section with the build's id, and
/// "Go" among the producers. (TinyGo's modules export `malloc`.)
fn is_go(wasm: &[u8]) -> bool {
    custom_sections(wasm).any(|(name, content)| {
        name.starts_with(b"go:")
            || name.starts_with(b"go.")
            || name == b"producers" && memchr::memmem::find(content, b"\x02Go").is_some()
    })
}

/// The custom sections of a module that wasmtime has found valid; stops at what it cannot read.
fn custom_sections(wasm: &[u8]) -> impl Iterator<Item = (&[u8], &[u8])> {
    let mut rest = wasm.get(8..).unwrap_or_default();
    std::iter::from_fn(move || {
        loop {
            let (&id, after) = rest.split_first()?;
            let (size, after) = leb128(after)?;
            let content = after.get(..size)?;
            rest = &after[size..];
            if id == 0 {
                let (length, content) = leb128(content)?;
                return Some((content.get(..length)?, &content[length..]));
            }
        }
    })
}

fn leb128(bytes: &[u8]) -> Option<(usize, &[u8])> {
    let mut value = 0_u64;
    for (index, &byte) in bytes.iter().enumerate().take(5) {
        value |= u64::from(byte & 0x7f) << (7 * index);
        if byte & 0x80 == 0 {
            return Some((usize::try_from(value).ok()?, &bytes[index + 1..]));
        }
    }
    None
}

impl Shape {
    /// Whether it can be given the body of this phase piece by piece.
    pub(in crate::plugin) fn takes_chunks_of(&self, phase: Phase) -> bool {
        match phase {
            Phase::Request => self.request_chunks,
            Phase::Response => self.response_chunks,
            Phase::Aggregation => false,
        }
    }

    /// Whether these keys can be.
    pub(in crate::plugin) fn check(&self, spec: &PluginSpec) -> Result<(), String> {
        if !spec.body.is_streaming() {
            return Ok(());
        }
        let (body, kind) = (spec.body.as_str(), spec.kind);
        let is_given = |phase| kind.runs_in(phase) && self.takes_chunks_of(phase);
        match kind {
            PluginType::Aggregation => Err(format!(
                "body: {body} is not for a plugin of type {kind}, which is given answers whole"
            )),
            _ if is_given(Phase::Request) || is_given(Phase::Response) => Ok(()),
            _ => Err(format!(
                "body: {body} needs the export {REQUEST_CHUNK} or {RESPONSE_CHUNK} (of the phase \
                 that a plugin of type {kind} runs in); the SDKs make them (docs/plugin-abi.md)"
            )),
        }
    }

    /// In words, for the plugin's author.
    pub(in crate::plugin) fn describe(&self) -> String {
        let result = match self.execute {
            ResultForm::Packed => "its result in one i64",
            ResultForm::Pair => "its result in two i32",
        };
        let start = match self.start {
            Start::Library => "a library (_initialize)",
            Start::Command => "a command (_start)",
            Start::None => "a plain module",
        };
        let allocator = match self.allocator {
            AllocatorShape::Sized(name) => name,
            AllocatorShape::Realloc => "cabi_realloc",
            AllocatorShape::Collected => "__new",
            AllocatorShape::HostRegion => "none: the host keeps a region of its own",
        };
        let also = [
            (self.request_chunks, REQUEST_CHUNK),
            (self.response_chunks, RESPONSE_CHUNK),
            (self.on_request.is_some(), "on_request"),
            (self.has_init, "init"),
            (self.has_cleanup, "cleanup"),
            (self.has_tick, "on_tick"),
        ];
        let also: Vec<_> = also.iter().filter(|(has, _)| *has).map(|(_, name)| *name).collect();
        let also = if also.is_empty() { "nothing".to_owned() } else { also.join(", ") };
        format!(
            "JSON ABI; {start}; execute gives {result}; allocator: {allocator}; also has {also}"
        )
    }
}

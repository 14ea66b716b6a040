//! What a module exports, as far as http-wasm knows it.

use wasmtime::Module;

use super::super::module::{Start, check_memory, start_of, types_of};
use super::super::spec::PluginSpec;

/// What is known of a module.
#[derive(Debug, Clone, Copy)]
pub(in crate::plugin) struct Shape {
    pub(super) start: Start,
    /// Whether it may ask for bodies.
    pub(in crate::plugin) reads_bodies: bool,
}

/// Whether a module says that it is a handler of http-wasm.
pub(in crate::plugin) fn is_handler(module: &Module) -> bool {
    module.get_export("handle_request").is_some() && module.get_export("execute").is_none()
}

/// What the module is to this ABI, or why it cannot be called by it.
pub(in crate::plugin) fn inspect(module: &Module, spec: &PluginSpec) -> Result<Shape, String> {
    check_memory(module, spec)?;
    for (name, wanted) in [("handle_request", "-> i64"), ("handle_response", "i32 i32 ->")] {
        match types_of(module, name) {
            Some(types) if types == wanted => {}
            Some(types) => return Err(format!("{name} is ({types}); it must be ({wanted})")),
            None => return Err(format!("the module exports no function {name}({wanted})")),
        }
    }
    let mut imports = module.imports();
    let reads_bodies =
        imports.any(|import| import.module() == super::MODULE && import.name() == "read_body");
    Ok(Shape { start: start_of(module)?, reads_bodies })
}

impl Shape {
    /// In words, for the handler's author.
    pub(in crate::plugin) fn describe(&self) -> String {
        let start = match self.start {
            Start::Library => "a library (_initialize)",
            Start::Command => "a command (_start)",
            Start::None => "a plain module",
        };
        let bodies = if self.reads_bodies { "reads bodies" } else { "reads no body" };
        format!("http-wasm; {start}; {bodies}")
    }
}

//! `env.read_file`: a file whose path stands in the plugin's `config`, as it was when the plugin
//! was loaded. The control thread has read it: a worker never does.

use wasmtime::{Caller, Linker};

use super::super::memory;
use super::super::spec::LogLevel;
use super::super::state::HostState;
use super::{LinkResult, Served, bytes, memory_of, packed};

pub(super) fn serve(linker: &mut Linker<HostState>, types: &str) -> LinkResult {
    if types != "i32 i32 -> i64" {
        return Ok(Served::No);
    }
    linker.func_wrap_async("env", "read_file", |caller, (path, length): (i32, i32)| {
        Box::new(read_file(caller, path, length))
    })?;
    Ok(Served::Yes)
}

/// `read_file(path, len) -> i64`: the packed contents; 0 if the file is refused or was not there.
async fn read_file(
    mut caller: Caller<'_, HostState>,
    path: i32,
    length: i32,
) -> wasmtime::Result<i64> {
    let (path, state) = bytes(&mut caller, "read_file", path, length)?;
    let contents = match state.plugin.spec.reach.file(path) {
        Ok(contents) => contents.clone(),
        Err(why) => {
            let text = format!("read_file: {why}");
            state.host.log.gateway(LogLevel::Warn, state.ids(), &text);
            return Ok(0);
        }
    };
    let memory = memory_of(&mut caller)?;
    let address = memory::reply(&mut caller, memory, &contents).await?;
    Ok(packed(address, contents.len()))
}

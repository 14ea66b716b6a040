//! `env.metric_increment` and `env.metric_record`: metrics of the plugin's own.

use wasmtime::{Caller, Linker};

use super::super::metrics::Metrics;
use super::super::spec::LogLevel;
use super::super::state::HostState;
use super::{LinkResult, Served, bytes};

pub(super) fn serve(linker: &mut Linker<HostState>, name: &str, types: &str) -> LinkResult {
    let count: Count = match name {
        "metric_increment" => Metrics::increment,
        _ => Metrics::record,
    };
    if types != "i32 i32 i64 ->" {
        return Ok(Served::No);
    }
    linker.func_wrap("env", name, move |caller: Caller<'_, _>, address, length, number| {
        change(caller, address, length, number, count)
    })?;
    Ok(Served::Yes)
}

type Count = fn(&mut Metrics, &[u8], i64) -> Result<(), String>;

/// A metric that is refused costs its value and a line in the log, not the call.
fn change(
    mut caller: Caller<'_, HostState>,
    address: i32,
    length: i32,
    number: i64,
    count: Count,
) -> wasmtime::Result<()> {
    let (name, state) = bytes(&mut caller, "the name of a metric", address, length)?;
    let outcome = count(&mut state.host.metrics.borrow_mut(), name, number);
    if let Err(why) = outcome {
        state.host.log.gateway(LogLevel::Warn, state.ids(), &why);
    }
    Ok(())
}

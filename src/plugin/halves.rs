//! What the host does before and after a guest runs, without the guest: what `perf/` times and
//! counts by itself. Workers call the same code from `json_abi::call`.

use super::chain::{BodySlot, Carried, Facts, Subject, Verdict};
use super::json_abi;
use super::module::Plugin;
use crate::http::message::RequestHead;

/// Appends the input of a call in the request phase.
pub fn write_input(
    out: &mut Vec<u8>,
    plugin: &Plugin,
    facts: &Facts<'_>,
    request: &RequestHead,
    body: Option<&[u8]>,
) {
    json_abi::write_request(out, plugin, facts, request, body);
}

/// Reads an output of the request phase (its bytes are used up), checks it and does what it says.
///
/// # Errors
/// Why a gateway would not take it.
pub fn act_on_output(
    output: &mut [u8],
    buffers: &mut simd_json::Buffers,
    plugin: &Plugin,
    facts: &Facts<'_>,
    request: &mut RequestHead,
    body: &mut BodySlot,
    carried: &mut Carried,
) -> Result<Verdict, String> {
    let mut subject = Subject::Request { head: request };
    json_abi::act_on(output, buffers, &plugin.spec, facts, &mut subject, body, carried)
        .map_err(|error| error.text)
}

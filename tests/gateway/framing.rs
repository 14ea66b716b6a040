//! Where one message ends and the next begins: every case that RFC 9112 calls ambiguous is refused
//! and the connection closed, and what is forwarded has exactly one reading. All of it holds by TLS
//! as it does in the clear.

mod chunks;
mod early;
mod forwarded;
mod plugins;
mod refused;
mod responses;

use crate::support::client::Response;
use crate::support::{Gateway, Origin};

/// A request that must not get through.
struct Refused {
    name: &'static str,
    /// The section that makes it refusable: RFC 9112 unless it says otherwise.
    rfc: &'static str,
    /// The statuses that are right.
    status: &'static [u16],
    request: Parts,
}

/// A request in parts, so that tables can be constants.
type Parts = [&'static [u8]; 4];

/// Shorthand for a row of a table.
const fn refused(
    name: &'static str,
    rfc: &'static str,
    status: &'static [u16],
    request: Parts,
) -> Refused {
    Refused { name, rfc, status, request }
}

/// Sends every case on a connection of its own; each must be answered with its status and a
/// reason, and the connection closed, by TLS with its word for it. Returns what went wrong, a line
/// per case.
fn failures_of(gateway: &Gateway, cases: &[Refused]) -> Vec<String> {
    let check = |case: &Refused| {
        let mut client = gateway.client();
        client.send(case.request.concat());
        let response = client.try_response().map_err(|error| format!("{error:?}"))?;
        judge(&response, case.status)?;
        match client.ending() {
            (rest, Ok(())) if rest.is_empty() => Ok(()),
            other => Err(format!("after the {}: {other:?}", response.status)),
        }
    };
    let failed = |case: &Refused| {
        let wrong = check(case).err()?;
        Some(format!("{} (section {}): {wrong}", case.name, case.rfc))
    };
    cases.iter().filter_map(failed).collect()
}

fn judge(response: &Response, expected: &[u16]) -> Result<(), String> {
    if !expected.contains(&response.status) {
        return Err(format!("got {}, expected {expected:?}", response.status));
    }
    if !response.closes() {
        return Err(format!("{} without Connection: close", response.status));
    }
    let body: Result<serde_json::Value, _> = serde_json::from_slice(&response.body);
    match body.ok().and_then(|body| Some(body["error"].as_str()?.len())) {
        Some(1..) => Ok(()),
        _ => Err(format!("{} without a reason: {:?}", response.status, response.text())),
    }
}

/// Fails with all that went wrong, or if anything but the sentinel that this sends at the end has
/// reached the origin.
fn assert_none_got_through(gateway: &Gateway, origin: &Origin, failures: &[String]) {
    assert!(failures.is_empty(), "{} failed:\n{}", failures.len(), failures.join("\n"));
    let sentinel = gateway.client().get("/sentinel");
    assert_eq!(sentinel.status, 200);
    assert_eq!(origin.only_request().target, "/sentinel");
}

//! Headers of the PROXY protocol: one that is whole is found at the same place however much of the
//! connection is there, nothing but its beginning is before, and none is ever longer than what comes.

use odin::io::proxy::{Found, find};
use odin::limits::PROXY_HEADER_BYTES_MAX;

/// One input: the first bytes of a connection.
pub fn run(input: &[u8]) {
    let whole = find(input);
    let mut decided = None;
    for length in 0..=input.len().min(4 * PROXY_HEADER_BYTES_MAX) {
        let found = find(&input[..length]);
        match (decided, found) {
            // Until the bytes tell, they may be the beginning of one.
            (None, Found::Part) => {
                assert!(length < PROXY_HEADER_BYTES_MAX + 16, "{length} bytes tell nothing");
            }
            (None, found) => decided = Some(found),
            // Then what follows changes nothing.
            (Some(before), found) => assert_eq!(before, found, "at {length}"),
        }
        if let Found::Whole(_, taken) = found {
            assert!(taken <= length && taken > 0, "{taken} of {length}");
            assert_eq!(find(&input[..taken]), found);
        }
    }
    if let Some(decided) = decided {
        assert_eq!(decided, whole);
    }
}

//! A fleet's document as etcd gives it: whatever the bytes, a document that says what its digest
//! says, or an error; and whatever its text, what a node makes of it is a configuration or errors
//! that have a place.

use odin::control::config;
use odin::control::fleet::document::{decode, digest, encode};
use odin::limits::CONFIG_BYTES_MAX;

pub fn run(input: &[u8]) {
    // As etcd gives it.
    if let Ok(document) = decode(input) {
        assert!(document.text.len() <= CONFIG_BYTES_MAX);
        let again = encode(&document).map(|stored| decode(&stored));
        if let Ok(again) = again {
            let again = again.expect("what was encoded is decoded");
            assert_eq!(digest(&again.text), digest(&document.text));
            assert_eq!(again.revision, document.revision);
        }
    }
    // As somebody has pushed it.
    let Ok(text) = std::str::from_utf8(input) else { return };
    for must_be_set in [true, false] {
        // No file is named: what a fuzzer finds on this machine is not its business.
        if text.contains("file:") {
            return;
        }
        if let Err(errors) = config::document(text, "document", must_be_set) {
            assert!(!errors.errors().is_empty() && !errors.to_string().is_empty());
        }
    }
    for found in config::secrets(text) {
        assert!(found.contains("which each node fills in"));
    }
}

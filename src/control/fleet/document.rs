//! A fleet's document as it is stored in etcd and on a node's disk: a line that says what follows,
//! then the YAML, packed where it is large. Its digest is held against its text before anything is
//! read out of it.

use std::sync::Arc;

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use crate::control::config::Document;
use crate::limits::{CONFIG_BYTES_MAX, FLEET_PLAIN_BYTES_MAX, FLEET_STORED_BYTES_MAX};
use crate::text::hex;

/// The version of all that this gateway writes into etcd. A node refuses what has a greater one.
pub const SCHEMA: u32 = 1;

/// How the text is stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Encoding {
    /// As it is.
    Plain,
    /// By zstd.
    Zstd,
}

/// The first line.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Head {
    schema: u32,
    revision: u64,
    /// Of the text.
    sha256: String,
    /// Of the text.
    bytes: usize,
    encoding: Encoding,
}

/// The digest of a text, as it is shown.
pub fn digest(text: &str) -> String {
    hex(&Sha256::digest(text.as_bytes()))
}

/// A document as it is stored.
///
/// # Errors
/// It is too large for etcd.
pub fn encode(document: &Document) -> Result<Vec<u8>, String> {
    let text = document.text.as_bytes();
    let is_plain = text.len() <= FLEET_PLAIN_BYTES_MAX;
    let head = Head {
        schema: SCHEMA,
        revision: document.revision,
        sha256: digest(&document.text),
        bytes: text.len(),
        encoding: if is_plain { Encoding::Plain } else { Encoding::Zstd },
    };
    let mut stored = serde_json::to_vec(&head).map_err(|error| error.to_string())?;
    stored.push(b'\n');
    if is_plain {
        stored.extend_from_slice(text);
    } else {
        let mut packed = Vec::with_capacity(zstd_safe::compress_bound(text.len()));
        zstd_safe::compress(&mut packed, text, 3)
            .map_err(|code| format!("packing it failed: {}", zstd_safe::get_error_name(code)))?;
        stored.extend_from_slice(&packed);
    }
    let (got, max) = (stored.len(), FLEET_STORED_BYTES_MAX);
    if got > max {
        return Err(format!(
            "the document has {got} bytes when it is packed, limit is {max} (etcd takes no larger \
             request); take something out of it"
        ));
    }
    Ok(stored)
}

/// Reads what [`encode`] has written. Any bytes may come.
///
/// # Errors
/// What is wrong, and what to do.
pub fn decode(stored: &[u8]) -> Result<Document, String> {
    if stored.len() > FLEET_STORED_BYTES_MAX {
        let (got, max) = (stored.len(), FLEET_STORED_BYTES_MAX);
        return Err(format!("the stored document has {got} bytes, limit is {max}"));
    }
    let end = stored.iter().position(|&byte| byte == b'\n');
    let end = end.ok_or("the stored document has no first line that says what it is")?;
    let head: Head = read_json(&stored[..end], "the stored document")?;
    let (body, max) = (&stored[end + 1..], CONFIG_BYTES_MAX);
    if head.bytes > max {
        return Err(format!("the document has {} bytes, limit is {max}", head.bytes));
    }
    let text = match head.encoding {
        Encoding::Plain => body.to_vec(),
        Encoding::Zstd => {
            let mut text = Vec::with_capacity(head.bytes);
            zstd_safe::decompress(&mut text, body).map_err(|code| {
                let why = zstd_safe::get_error_name(code);
                format!("the stored document cannot be unpacked ({why}); push it again")
            })?;
            text
        }
    };
    let text = String::from_utf8(text).map_err(|_| "the document is not UTF-8; push it again")?;
    if text.len() != head.bytes || digest(&text) != head.sha256 {
        return Err(
            "the document is not what its digest says: it is damaged; push it again".to_owned()
        );
    }
    Ok(Document { revision: head.revision, text: Arc::from(text) })
}

/// Reads JSON of this version. An older gateway guesses nothing: it says what it does not know.
///
/// # Errors
/// It is of a later version, has a key that is not known, or is no such thing.
pub fn read_json<'j, T: Deserialize<'j>>(json: &'j [u8], what: &str) -> Result<T, String> {
    #[derive(Deserialize)]
    struct Version {
        schema: Option<u32>,
    }
    let version: Version = serde_json::from_slice(json)
        .map_err(|error| format!("{what} is not what a fleet writes: {error}"))?;
    match version.schema {
        Some(SCHEMA) => {}
        Some(later) if later > SCHEMA => {
            return Err(format!(
                "{what} has schema {later}, and this gateway ({}) knows schema {SCHEMA}; \
                 upgrade it",
                env!("CARGO_PKG_VERSION")
            ));
        }
        _ => return Err(format!("{what} is not what a fleet writes: it has no known schema")),
    }
    serde_json::from_slice(json).map_err(|error| format!("{what}: {error}; upgrade this gateway"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn document(text: &str) -> Document {
        Document { revision: 41, text: text.into() }
    }

    #[test]
    fn what_is_stored_is_read_again_small_and_large() {
        for text in ["services: []\n", "", &"- {name: a, basePath: /}\n".repeat(20_000)] {
            let stored = encode(&document(text)).unwrap();
            assert_eq!(decode(&stored), Ok(document(text)));
            if text.len() > FLEET_PLAIN_BYTES_MAX {
                assert!(stored.len() < text.len() / 10, "{}", stored.len());
            }
        }
    }

    #[test]
    fn no_byte_may_change_and_no_end_be_missing() {
        for text in ["services: []\n", &"- {name: a, basePath: /}\n".repeat(4_000)] {
            let stored = encode(&document(text)).unwrap();
            for at in 0..stored.len().min(400) {
                for flipped in [1, 0x20, 0x80] {
                    let mut damaged = stored.clone();
                    damaged[at] ^= flipped;
                    if let Ok(read) = decode(&damaged) {
                        // The revision in the line is not of the text: the file's own digest holds
                        // it (see cache.rs).
                        assert_eq!(&*read.text, text, "byte {at}");
                    }
                }
                assert!(decode(&stored[..at]).is_err(), "cut at {at}");
            }
            assert!(decode(&stored[..stored.len() - 1]).is_err());
            assert!(decode(&[&stored[..], b"x"].concat()).is_err());
        }
    }

    #[test]
    fn what_a_later_version_writes_is_refused_and_named() {
        let with = |head: &str| decode(format!("{head}\n").as_bytes()).unwrap_err();
        let later = with(r#"{"schema":2,"revision":1,"new":{}}"#);
        assert!(later.contains("has schema 2") && later.contains("upgrade"), "{later}");
        let key = with(
            r#"{"schema":1,"revision":1,"sha256":"","bytes":0,"encoding":"plain","signedBy":"x"}"#,
        );
        assert!(key.contains("unknown field `signedBy`"), "{key}");
        let word = with(r#"{"schema":1,"revision":1,"sha256":"","bytes":0,"encoding":"br"}"#);
        assert!(word.contains("unknown variant `br`"), "{word}");
        assert!(with("nonsense").contains("not what a fleet writes"));
        assert!(with("{}").contains("no known schema"));
        assert!(decode(b"").unwrap_err().contains("no first line"));
    }

    #[test]
    fn a_document_that_says_it_is_larger_than_it_is_takes_no_memory() {
        let head = format!(
            r#"{{"schema":1,"revision":1,"sha256":"","bytes":{},"encoding":"zstd"}}"#,
            usize::MAX
        );
        assert!(decode(format!("{head}\n").as_bytes()).unwrap_err().contains("limit is"));
        let bomb = {
            let zeros = vec![b' '; CONFIG_BYTES_MAX + 1];
            let mut packed = Vec::with_capacity(zstd_safe::compress_bound(zeros.len()));
            zstd_safe::compress(&mut packed, &zeros, 3).unwrap();
            let head = r#"{"schema":1,"revision":1,"sha256":"","bytes":9,"encoding":"zstd"}"#;
            [format!("{head}\n").into_bytes(), packed].concat()
        };
        assert!(decode(&bomb).unwrap_err().contains("cannot be unpacked"));
    }
}

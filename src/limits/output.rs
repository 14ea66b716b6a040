//! Bounds of what plugins hand to the gateway as JSON: outputs, and what they ask by `http_call`.

use super::{HEAD_FIELDS_CEILING, PLUGIN_BODY_BYTES_MAX, PLUGIN_CALL_BODY_BYTES_MAX};

/// Largest output of one call. A body of [`PLUGIN_BODY_BYTES_MAX`] in base64 or with most of its
/// bytes escaped fits.
pub const PLUGIN_OUTPUT_BYTES_MAX: usize = 8 * 1024 * 1024;
/// Deepest nesting of an output. The parser recurses; serde_json's limit.
pub const PLUGIN_JSON_DEPTH_MAX: usize = 128;
/// Most metadata of one exchange, as JSON. It is written into the input of every later plugin.
pub const PLUGIN_METADATA_BYTES_MAX: usize = 16 * 1024;
/// Largest output that is read at once: 0.2 ms at the worst, whatever stands in it. So much may
/// stand beside the headers of a larger one, whose bodies are read in pieces.
pub const PLUGIN_OUTPUT_WHOLE_BYTES: usize = 32 * 1024;
/// Bytes of a large output after which the worker serves others: 1 ms of dense escapes.
pub const PLUGIN_OUTPUT_PIECE_BYTES: usize = 256 * 1024;
/// Most names, and most values, in the `headers` of one output: what a plugin may add to a head of
/// the largest kind, and hand back of it.
pub const PLUGIN_HEADERS_MAX: usize = 2 * HEAD_FIELDS_CEILING;
/// Most fields of a head after plugins have added to it, whatever the operator's limits are.
pub const PLUGIN_HEAD_FIELDS_MAX: usize = 2 * HEAD_FIELDS_CEILING;
/// Names of `headers` from which on they are looked up in a table: held against each field of the
/// head, as is fastest for the few of most plugins, 2000 are some 20 ms.
pub const PLUGIN_HEADERS_HELD_EACH: usize = 64;
/// Largest JSON of an `http_call`: a body of the largest size in base64, or with every second byte
/// escaped, and its head.
pub const PLUGIN_CALL_BYTES_MAX: usize = 2 * PLUGIN_CALL_BODY_BYTES_MAX + 64 * 1024;

const _: () = assert!(PLUGIN_OUTPUT_BYTES_MAX >= 6 * PLUGIN_BODY_BYTES_MAX);

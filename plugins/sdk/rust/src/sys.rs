//! The imports themselves: numbers and addresses, on wasm32 only.
//!
//! What a host function returns stands in a buffer of the host's, packed as address and size, until
//! the next host function that returns memory. It is copied here and never freed.

#![expect(unsafe_code, reason = "imports of the host are foreign functions")]

use crate::abi::read;
use crate::host::Level;

mod env {
    #[link(wasm_import_module = "env")]
    unsafe extern "C" {
        pub(super) fn log(level: i32, text: *const u8, len: usize);
        pub(super) safe fn get_time() -> i64;
        pub(super) safe fn get_time_ms() -> i64;
        pub(super) fn get_config(key: *const u8, len: usize) -> u64;
        pub(super) fn read_file(path: *const u8, len: usize) -> u64;
        pub(super) fn http_call(request: *const u8, len: usize) -> u64;
        pub(super) fn metric_increment(name: *const u8, len: usize, delta: i64);
        pub(super) fn metric_record(name: *const u8, len: usize, value: i64);
        pub(super) fn kv_get(key: *const u8, len: usize) -> u64;
        pub(super) fn kv_set(
            key: *const u8,
            key_len: usize,
            value: *const u8,
            value_len: usize,
            ttl_ms: i64,
        ) -> i32;
        pub(super) fn kv_incr(key: *const u8, len: usize, delta: i64, ttl_ms: i64) -> i64;
        pub(super) fn kv_delete(key: *const u8, len: usize) -> i32;
        pub(super) fn kv_cas(
            key: *const u8,
            key_len: usize,
            expected: *const u8,
            expected_len: usize,
            value: *const u8,
            value_len: usize,
            ttl_ms: i64,
        ) -> i32;
    }
}

// SAFETY, for each call below: the host reads the bytes of slices that live until it returns, and
// keeps nothing of them.

pub(crate) fn log(level: Level, text: &str) {
    // SAFETY: see above.
    unsafe { env::log(level as i32, text.as_ptr(), text.len()) }
}

pub(crate) fn get_time() -> i64 {
    env::get_time()
}

pub(crate) fn get_time_ms() -> i64 {
    env::get_time_ms()
}

pub(crate) fn get_config(key: &str) -> Option<Vec<u8>> {
    // SAFETY: see above.
    read(unsafe { env::get_config(key.as_ptr(), key.len()) })
}

pub(crate) fn read_file(path: &str) -> Option<Vec<u8>> {
    // SAFETY: see above.
    read(unsafe { env::read_file(path.as_ptr(), path.len()) })
}

pub(crate) fn http_call(request: &[u8]) -> Option<Vec<u8>> {
    // SAFETY: see above.
    read(unsafe { env::http_call(request.as_ptr(), request.len()) })
}

pub(crate) fn metric_increment(name: &str, delta: i64) {
    // SAFETY: see above.
    unsafe { env::metric_increment(name.as_ptr(), name.len(), delta) }
}

pub(crate) fn metric_record(name: &str, value: i64) {
    // SAFETY: see above.
    unsafe { env::metric_record(name.as_ptr(), name.len(), value) }
}

/// `Err` if the host could not tell, `Ok(None)` if there is no such key.
pub(crate) fn kv_get(key: &[u8]) -> Result<Option<Vec<u8>>, ()> {
    // SAFETY: see above.
    let packed = unsafe { env::kv_get(key.as_ptr(), key.len()) };
    // Negative: a size has 31 bits.
    if packed.cast_signed() < 0 { Err(()) } else { Ok(read(packed)) }
}

pub(crate) fn kv_set(key: &[u8], value: &[u8], ttl_ms: i64) -> i32 {
    // SAFETY: see above.
    unsafe { env::kv_set(key.as_ptr(), key.len(), value.as_ptr(), value.len(), ttl_ms) }
}

pub(crate) fn kv_incr(key: &[u8], delta: i64, ttl_ms: i64) -> i64 {
    // SAFETY: see above.
    unsafe { env::kv_incr(key.as_ptr(), key.len(), delta, ttl_ms) }
}

pub(crate) fn kv_delete(key: &[u8]) -> i32 {
    // SAFETY: see above.
    unsafe { env::kv_delete(key.as_ptr(), key.len()) }
}

/// 1 swapped, 0 not, less than 0 failed.
pub(crate) fn kv_cas(key: &[u8], expected: Option<&[u8]>, value: &[u8], ttl_ms: i64) -> i32 {
    // A length of -1 says that no key is expected.
    let (expected, expected_len) =
        expected.map_or((std::ptr::null(), usize::MAX), |bytes| (bytes.as_ptr(), bytes.len()));
    // SAFETY: see above.
    unsafe {
        env::kv_cas(
            key.as_ptr(),
            key.len(),
            expected,
            expected_len,
            value.as_ptr(),
            value.len(),
            ttl_ms,
        )
    }
}

//! What the canaries share: the bare ABI without the SDK, since they must be able to break it.

/// A packed result, as `execute` returns it.
pub const fn pack(address: usize, len: usize) -> u64 {
    (len as u64) << 32 | (address as u64 & 0xffff_ffff)
}

/// A result that lies in this module for ever.
pub fn constant(text: &'static str) -> u64 {
    pack(text.as_ptr() as usize, text.len())
}

/// The outcome that changes nothing.
pub const UNCHANGED: &str = r#"{"modified":false,"continue":true}"#;

/// Exports a correct `alloc`. Buffers are never freed: a canary does not live long.
#[macro_export]
macro_rules! export_alloc {
    () => {
        #[unsafe(no_mangle)]
        extern "C" fn alloc(size: usize) -> usize {
            vec![0u8; size.max(1)].leak().as_mut_ptr().expose_provenance()
        }
    };
}

/// Exports an `execute` that changes nothing.
#[macro_export]
macro_rules! export_unchanged {
    () => {
        $crate::export_alloc!();

        #[unsafe(no_mangle)]
        extern "C" fn execute(_: usize, _: usize) -> u64 {
            $crate::constant($crate::UNCHANGED)
        }
    };
}

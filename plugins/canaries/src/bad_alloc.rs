//! A module whose `alloc` lies: the first buffer is sound, the next is an address outside of its
//! memory, then none, then an address so near to the end that the buffer does not fit.
//!
//! A host asks again when an input outgrows its buffer, so larger and larger bodies show them all.

#![cfg(target_arch = "wasm32")]
#![expect(unsafe_code, reason = "exported functions are unsafe attributes")]

use std::cell::Cell;

thread_local! {
    static CALLS: Cell<u32> = const { Cell::new(0) };
}

#[unsafe(no_mangle)]
extern "C" fn alloc(size: usize) -> usize {
    let call = CALLS.replace(CALLS.get() + 1);
    match call % 4 {
        0 => vec![0u8; size.max(1)].leak().as_mut_ptr().expose_provenance(),
        1 => 0xffff_fff0,
        2 => 0,
        _ => core::arch::wasm32::memory_size(0) * 65536 - 1,
    }
}

#[unsafe(no_mangle)]
extern "C" fn execute(_: usize, _: usize) -> u64 {
    canary::constant(canary::UNCHANGED)
}

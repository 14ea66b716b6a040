//! Whether the heap of a guest without an exported allocator leaves the host's pages alone.
//!
//! The host then keeps its input and its replies in pages that it grows behind the guest's memory.
//! A heap that goes by what its own `memory.grow` returns steps over them: those of Rust, of Zig
//! and of newer wasi-libcs do. One that goes by how large the memory is takes them for its own, and
//! overwrites the input while it is read: AssemblyScript's runtimes, wasi-libc before LLVM 15's
//! `__heap_end`, emscripten's `sbrk`, most that are written by hand. What a heap goes by shows in
//! the code, at no cost to a call.

use wasmparser::{Operator, Parser, Payload};

/// Says why, if the module's heap would take the host's pages for its own.
pub(super) fn claims_whole_memory(wasm: &[u8]) -> Result<(), &'static str> {
    let unreadable = |_| "its code cannot be read";
    let mut module = Uses::default();
    let mut measures_addresses = false;
    for payload in Parser::new(0).parse_all(wasm) {
        let Payload::CodeSectionEntry(body) = payload.map_err(unreadable)? else {
            continue;
        };
        let mut function = Uses::default();
        let mut before = [None, None];
        for operator in body.get_operators_reader().map_err(unreadable)? {
            let operator = operator.map_err(unreadable)?;
            function.note(&before, &operator);
            before = [before[1].take(), Some(operator)];
        }
        measures_addresses |= function.asks_size && function.scales;
        if function.ignores_place && function.scales {
            return Err("it grows its memory without looking where the new pages are");
        }
        module.asks_size |= function.asks_size;
        module.grows |= function.grows;
    }
    if measures_addresses || module.asks_size && module.grows {
        return Err("its heap takes all that memory.size tells for its own");
    }
    Ok(())
}

/// What a function does with the memory's size.
#[derive(Default)]
struct Uses {
    /// `memory.size`, or `memory.grow` by nothing, which tells the same.
    asks_size: bool,
    grows: bool,
    /// A `memory.grow` whose answer is dropped, or only compared.
    ignores_place: bool,
    /// Turns pages into addresses or addresses into pages.
    scales: bool,
}

impl Uses {
    /// `before` are the two operators in front of this one.
    fn note(&mut self, before: &[Option<Operator<'_>>; 2], operator: &Operator<'_>) {
        use Operator as Op;
        match (before, operator) {
            (_, Op::MemorySize { .. })
            | ([_, Some(Op::I32Const { value: 0 })], Op::MemoryGrow { .. }) => {
                self.asks_size = true;
            }
            (_, Op::MemoryGrow { .. }) => self.grows = true,
            ([_, Some(Op::MemoryGrow { .. })], Op::Drop | Op::I32Eqz)
            | (
                [Some(Op::MemoryGrow { .. }), Some(Op::I32Const { .. })],
                Op::I32Eq | Op::I32Ne | Op::I32LtS | Op::I32LeS | Op::I32GtS | Op::I32GeS,
            ) => self.ignores_place = true,
            ([_, Some(Op::I32Const { value: 16 })], Op::I32Shl | Op::I32ShrU | Op::I32ShrS)
            | (
                [_, Some(Op::I32Const { value: 65536 })],
                Op::I32Add | Op::I32Mul | Op::I32DivU | Op::I32DivS,
            ) => self.scales = true,
            _ => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The verdict on a module with these functions' bodies.
    fn verdict(bodies: &[&str]) -> Result<(), &'static str> {
        let functions = bodies.iter().map(|body| {
            format!("(func (param $n i32) (result i32) (local $at i32) (local $is i32) {body})")
        });
        let text = format!(
            r#"(module (memory (export "memory") 1) (global $end (mut i32) (i32.const 65536))
                {})"#,
            functions.collect::<String>()
        );
        claims_whole_memory(&wat::parse_str(text).unwrap())
    }

    const GROWS: &str = "(memory.grow (local.get $n))";

    #[test]
    fn heaps_that_go_by_what_growing_returns_are_let_be() {
        let rust = "(local.tee $at (memory.grow (local.get $n))) (i32.const -1) i32.eq
            (if (then unreachable)) (i32.shl (local.get $at) (i32.const 16))";
        for bodies in [&["(i32.const 0)"][..], &[GROWS], &[rust], &["(memory.size)"]] {
            assert_eq!(verdict(bodies), Ok(()), "{bodies:?}");
        }
        // A hog has no heap.
        let hog = "(loop $l (br_if $l (i32.ne (memory.grow (i32.const 16)) (i32.const -1))))";
        assert_eq!(
            verdict(&[&format!("{hog} (drop (memory.grow (local.get $n))) unreachable")]),
            Ok(())
        );
    }

    #[test]
    fn heaps_that_go_by_the_memorys_size_are_found() {
        let end = "(i32.shl (memory.size) (i32.const 16))";
        let end_by_growing = "(i32.mul (memory.grow (i32.const 0)) (i32.const 65536))";
        let counts = "(drop (memory.grow (local.get $n)))
            (global.set $end (i32.add (global.get $end) (i32.const 65536))) (global.get $end)";
        let compares = "(if (i32.eq (memory.grow (i32.shr_u (local.get $n) (i32.const 16)))
            (i32.const -1)) (then unreachable)) (i32.const 0)";
        for bodies in
            [&[end][..], &[end_by_growing], &["(memory.size)", GROWS], &[counts], &[compares]]
        {
            assert!(verdict(bodies).is_err(), "{bodies:?}");
        }
    }

    #[test]
    fn a_module_cut_anywhere_is_no_panic() {
        let text = format!(
            "(module (memory 1) (func (result i32) (i32.const 7) {}))",
            "(drop) (memory.size)"
        );
        let wasm = wat::parse_str(text).unwrap();
        for length in 0..wasm.len() {
            let _ = claims_whole_memory(&wasm[..length]);
        }
    }
}

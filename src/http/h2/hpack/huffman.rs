//! Huffman's code (RFC 7541 section 5.2, appendix B).
//!
//! The code is canonical: the lengths say all of it. A table made of them when this is compiled
//! takes four bits at a time.

use super::Broken;

/// Bits of the code of each byte, and of the end of a string, which never comes.
#[rustfmt::skip]
const LENGTHS: [u8; 257] = [
    13, 23, 28, 28, 28, 28, 28, 28, 28, 24, 30, 28, 28, 30, 28, 28, 28, 28, 28, 28,
    28, 28, 30, 28, 28, 28, 28, 28, 28, 28, 28, 28, 6, 10, 10, 12, 13, 6, 8, 11,
    10, 10, 8, 11, 8, 6, 6, 6, 5, 5, 5, 6, 6, 6, 6, 6, 6, 6, 7, 8,
    15, 6, 12, 10, 13, 6, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7,
    7, 7, 7, 7, 7, 7, 7, 7, 8, 7, 8, 13, 19, 13, 14, 6, 15, 5, 6, 5,
    6, 5, 6, 6, 6, 5, 7, 7, 6, 6, 6, 5, 6, 7, 6, 5, 5, 6, 7, 7,
    7, 7, 7, 15, 11, 14, 13, 28, 20, 22, 20, 20, 22, 22, 22, 23, 22, 23, 23, 23,
    23, 23, 24, 23, 24, 24, 22, 23, 24, 23, 23, 23, 23, 21, 22, 23, 22, 23, 23, 24,
    22, 21, 20, 22, 22, 23, 23, 21, 23, 22, 22, 24, 21, 22, 23, 23, 21, 21, 22, 21,
    23, 22, 23, 23, 20, 22, 22, 22, 23, 22, 22, 23, 26, 26, 20, 19, 22, 23, 22, 25,
    26, 26, 26, 27, 27, 26, 24, 25, 19, 21, 26, 27, 27, 26, 27, 24, 21, 21, 26, 26,
    28, 27, 27, 27, 20, 24, 20, 21, 22, 21, 21, 23, 22, 22, 25, 25, 24, 24, 26, 23,
    26, 27, 26, 26, 27, 27, 27, 27, 27, 28, 27, 27, 27, 27, 27, 26, 30,
];

/// A string's end as a symbol.
const END: u16 = 256;
/// Inner nodes of the code's tree: one less than its leaves.
const NODES: usize = 256;

/// What four bits do to a node.
#[derive(Clone, Copy)]
struct Step {
    next: u8,
    /// A byte is complete.
    emits: bool,
    byte: u8,
    /// The end of a string is in it.
    fails: bool,
}

struct Code {
    steps: [[Step; 16]; NODES],
    /// The string may end at this node: what is left are fewer than eight bits, all 1.
    may_end: [bool; NODES],
}

static CODE: Code = make();

/// A child of a node: another node, or a leaf: a symbol and 1000.
type Tree = [[u16; 2]; NODES];
const LEAF: u16 = 1000;

const fn tree() -> Tree {
    let mut tree: Tree = [[0; 2]; NODES];
    let (mut nodes, mut code, mut length) = (1_u16, 0_u32, 1_u8);
    while length <= 30 {
        let mut symbol = 0;
        while symbol < LENGTHS.len() {
            if LENGTHS[symbol] == length {
                let (mut node, mut left) = (0_usize, length);
                while left > 1 {
                    left -= 1;
                    let bit = (code >> left & 1) as usize;
                    if tree[node][bit] == 0 {
                        tree[node][bit] = nodes;
                        nodes += 1;
                    }
                    node = tree[node][bit] as usize;
                }
                tree[node][(code & 1) as usize] = symbol as u16 + LEAF;
                code += 1;
            }
            symbol += 1;
        }
        code <<= 1;
        length += 1;
    }
    tree
}

const fn make() -> Code {
    let tree = tree();
    let nothing = Step { next: 0, emits: false, byte: 0, fails: false };
    let mut code = Code { steps: [[nothing; 16]; NODES], may_end: [false; NODES] };
    let mut node = 0;
    while node < NODES {
        let mut bits = 0;
        while bits < 16 {
            code.steps[node][bits] = step(&tree, node, bits);
            bits += 1;
        }
        node += 1;
    }
    let (mut node, mut depth) = (0, 0);
    while depth < 8 {
        code.may_end[node] = true;
        node = tree[node][1] as usize;
        depth += 1;
    }
    code
}

const fn step(tree: &Tree, from: usize, bits: usize) -> Step {
    let mut step = Step { next: 0, emits: false, byte: 0, fails: false };
    let (mut node, mut left) = (from, 4);
    while left > 0 {
        left -= 1;
        let child = tree[node][bits >> left & 1];
        if child == END + LEAF {
            step.fails = true;
            node = 0;
        } else if child >= LEAF {
            step.emits = true;
            step.byte = (child - LEAF) as u8;
            node = 0;
        } else {
            node = child as usize;
        }
    }
    step.next = node as u8;
    step
}

/// Appends what `coded` says.
pub(super) fn decode(coded: &[u8], out: &mut Vec<u8>) -> Result<(), Broken> {
    // The shortest code has five bits.
    out.reserve(coded.len() + coded.len() / 2 + coded.len() / 8);
    let mut node = 0_usize;
    for &byte in coded {
        for bits in [byte >> 4, byte & 15] {
            let step = CODE.steps[node][usize::from(bits)];
            if step.fails {
                return Err(Broken("a literal has the end of a string in it"));
            }
            if step.emits {
                out.push(step.byte);
            }
            node = usize::from(step.next);
        }
    }
    if CODE.may_end[node] { Ok(()) } else { Err(Broken("a literal is padded wrongly")) }
}

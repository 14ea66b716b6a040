//! Header compression (RFC 7541).
//!
//! What is received may use all of it. What is sent uses the static table and plain literals: it
//! needs no state, so that a head can be encoded anywhere, in any order, and be taken back; and it
//! costs the least. (nginx does the same.)

mod huffman;
mod integer;
mod statics;
mod table;

pub use self::statics::STATIC;
use self::table::Table;

/// Size of a dynamic table that neither side has spoken of (RFC 9113 section 6.5.2).
pub const TABLE_BYTES_DEFAULT: usize = 4096;

/// A field block breaks the rules of RFC 7541: the connection has lost its state (RFC 9113 section
/// 4.3).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Broken(pub &'static str);

/// What a block has when few of its bytes stand for far more than anybody asks with.
pub const BLOWN_UP: Broken = Broken("a head is far larger than it may be, by its compression");

/// What an entry of a head counts beside its bytes (RFC 7541 section 4.1).
const ENTRY_BYTES: usize = 32;

/// What takes the fields of a block.
pub trait TakeField {
    /// Takes one. Whatever is wrong with it, the rest of the block is read.
    fn take(&mut self, name: &[u8], value: &[u8]);
}

/// Takes none: of a block that only keeps the table right.
impl TakeField for () {
    fn take(&mut self, _name: &[u8], _value: &[u8]) {}
}

/// The receiving end of a connection's compression.
#[derive(Debug)]
pub struct Decoder {
    table: Table,
    /// What we have announced: the largest size that the sender may choose.
    table_max: usize,
    /// A block that stands for more bytes than this is not read to its end.
    list_max: usize,
    /// Room for literals that come in Huffman's code.
    name: Vec<u8>,
    value: Vec<u8>,
}

/// Largest literal that keeps its room after the block.
const LITERAL_BYTES_KEPT: usize = 4096;

impl Decoder {
    /// One whose table may have so many bytes, which the sender has been told.
    pub fn new(table_max: usize) -> Self {
        Self::bounded(table_max, usize::MAX)
    }

    /// The same; a block that stands for more than so many bytes ([`BLOWN_UP`]) costs no more.
    pub fn bounded(table_max: usize, list_max: usize) -> Self {
        let table = Table::new(table_max);
        Self { table, table_max, list_max, name: Vec::new(), value: Vec::new() }
    }

    /// Reads a whole block.
    pub fn decode(&mut self, block: &[u8], into: &mut impl TakeField) -> Result<(), Broken> {
        let mut rest = block;
        let mut may_resize = true;
        let mut list_bytes = 0_usize;
        while let Some(&first) = rest.first() {
            if first & 0xe0 == 0x20 {
                if !may_resize {
                    return Err(Broken("a table size changes within a field block"));
                }
                let size = integer::read(&mut rest, 5)?;
                if size > self.table_max {
                    return Err(Broken("a table size is over what was announced"));
                }
                self.table.resize(size);
                continue;
            }
            may_resize = false;
            let field_bytes = match first {
                0x80.. => self.indexed(&mut rest, into)?,
                0x40..0x80 => self.literal(&mut rest, 6, true, into)?,
                _ => self.literal(&mut rest, 4, false, into)?,
            };
            list_bytes += field_bytes + ENTRY_BYTES;
            if list_bytes > self.list_max {
                return Err(BLOWN_UP);
            }
        }
        self.shrink();
        Ok(())
    }

    /// Reads one field; how many bytes it has.
    fn indexed(&self, rest: &mut &[u8], into: &mut impl TakeField) -> Result<usize, Broken> {
        let index = integer::read(rest, 7)?;
        let (name, value) = self.entry(index)?;
        into.take(name, value);
        Ok(name.len() + value.len())
    }

    fn entry(&self, index: usize) -> Result<(&[u8], &[u8]), Broken> {
        const UNKNOWN: Broken = Broken("an index is in no table");
        let index = index.checked_sub(1).ok_or(UNKNOWN)?;
        match STATIC.get(index) {
            Some((name, value)) => Ok((name, value)),
            None => self.table.get(index - STATIC.len()).ok_or(UNKNOWN),
        }
    }

    /// Reads one field; how many bytes it has.
    fn literal(
        &mut self,
        rest: &mut &[u8],
        prefix: u8,
        is_added: bool,
        into: &mut impl TakeField,
    ) -> Result<usize, Broken> {
        let index = integer::read(rest, prefix)?;
        let mut name_room = std::mem::take(&mut self.name);
        let mut value_room = std::mem::take(&mut self.value);
        let outcome = self.named(index, rest, (&mut name_room, &mut value_room), is_added, into);
        (self.name, self.value) = (name_room, value_room);
        outcome
    }

    fn named(
        &mut self,
        index: usize,
        rest: &mut &[u8],
        (name_room, value_room): (&mut Vec<u8>, &mut Vec<u8>),
        is_added: bool,
        into: &mut impl TakeField,
    ) -> Result<usize, Broken> {
        let literal = if index == 0 { string(rest, name_room)? } else { None };
        let value = string(rest, value_room)?.unwrap_or(value_room);
        let name = match literal {
            Some(name) => name,
            None if index == 0 => name_room,
            None => self.entry(index)?.0,
        };
        into.take(name, value);
        let field_bytes = name.len() + value.len();
        if is_added && index > STATIC.len() {
            // Its name may be in the entry that has to go for it (section 4.4).
            name_room.clear();
            name_room.extend_from_slice(self.entry(index)?.0);
            self.table.add(name_room, value);
        } else if is_added {
            let name = match index.checked_sub(1).and_then(|place| STATIC.get(place)) {
                Some((name, _)) => name,
                None => literal.unwrap_or(name_room),
            };
            self.table.add(name, value);
        }
        Ok(field_bytes)
    }

    fn shrink(&mut self) {
        for room in [&mut self.name, &mut self.value] {
            if room.capacity() > LITERAL_BYTES_KEPT {
                *room = Vec::new();
            }
        }
    }

    /// Bytes of its tables and rooms.
    pub fn held_bytes(&self) -> usize {
        self.table.held_bytes() + self.name.capacity() + self.value.capacity()
    }
}

/// Reads a string literal; `None`: it had to be decoded, and is in `room`.
fn string<'r>(rest: &mut &'r [u8], room: &mut Vec<u8>) -> Result<Option<&'r [u8]>, Broken> {
    let is_coded = rest.first().is_some_and(|byte| byte & 0x80 != 0);
    let length = integer::read(rest, 7)?;
    let Some((bytes, after)) = rest.split_at_checked(length) else {
        return Err(Broken("a literal is longer than its field block"));
    };
    *rest = after;
    if !is_coded {
        return Ok(Some(bytes));
    }
    room.clear();
    huffman::decode(bytes, room)?;
    Ok(None)
}

/// Appends an entry of the static table, counted from 1.
pub fn write_indexed(index: u8, out: &mut Vec<u8>) {
    out.push(0x80 | index);
}

/// Appends a field by its name's place in the static table.
pub fn write_named(index: u8, value: &[u8], out: &mut Vec<u8>) {
    integer::write(usize::from(index), 4, 0, out);
    write_string(value, out);
}

/// Appends a field. Its name is written in small letters; what could be guessed from a shared
/// compression state is marked as not to be put into one (section 7.1.3).
pub fn write_field(name: &[u8], value: &[u8], out: &mut Vec<u8>) {
    match statics::find(name) {
        Some(index) => {
            let is_secret = matches!(index, statics::AUTHORIZATION | statics::COOKIE);
            integer::write(usize::from(index), 4, if is_secret { 0x10 } else { 0 }, out);
        }
        None => {
            out.push(0);
            integer::write(name.len(), 7, 0, out);
            out.extend(name.iter().map(u8::to_ascii_lowercase));
        }
    }
    write_string(value, out);
}

/// Appends the size update that tells the peer that no dynamic table is used.
pub fn write_no_table(out: &mut Vec<u8>) {
    out.push(0x20);
}

fn write_string(value: &[u8], out: &mut Vec<u8>) {
    integer::write(value.len(), 7, 0, out);
    out.extend_from_slice(value);
}

#[cfg(test)]
mod tests;

//! A script: sections `on CALLBACK`, each with one call or step a line.

use std::collections::HashMap;
use std::hint::black_box;

use crate::abi;

/// The sections by their callbacks.
#[derive(Default)]
pub struct Script {
    sections: HashMap<String, Vec<String>>,
}

impl Script {
    /// Reads lines; a `;` parts them as well, empty ones and those that begin with `#` say nothing.
    pub fn read(text: &str) -> Self {
        let mut sections: HashMap<String, Vec<String>> = HashMap::new();
        let mut name = String::from("configure");
        for line in text.split(['\n', ';']).map(str::trim) {
            if line.is_empty() || line.starts_with('#') {
                continue;
            }
            match line.strip_prefix("on ") {
                Some(next) => next.trim().clone_into(&mut name),
                None => sections.entry(name.clone()).or_default().push(line.to_owned()),
            }
        }
        Self { sections }
    }
}

/// What a guest keeps.
#[derive(Default)]
pub struct State {
    script: Script,
    variables: HashMap<String, i64>,
    runs: HashMap<String, u32>,
}

/// What is written into a place that a script has asked for.
enum Out {
    /// A number of four or eight bytes, and the name under which it is kept.
    Number(Box<[u8; 8]>, usize, String),
    /// The address and length of bytes.
    Bytes(Box<[u32; 2]>),
}

impl State {
    /// Adds sections; those of a callback that is known are appended.
    pub fn add(&mut self, script: Script) {
        for (name, lines) in script.sections {
            self.script.sections.entry(name).or_default().extend(lines);
        }
    }

    /// Runs the section of a callback; what it returns, if it says so.
    pub fn run(&mut self, name: &str, args: &[i32]) -> Option<i32> {
        let runs = self.runs.entry(name.to_owned()).or_default();
        *runs += 1;
        let nth = *runs;
        for (index, arg) in args.iter().enumerate() {
            self.variables.insert(index.to_string(), i64::from(*arg));
        }
        let lines = self.script.sections.get(name).cloned().unwrap_or_default();
        let mut answer = None;
        for line in lines {
            let (word, rest) = line.split_once(' ').unwrap_or((&line, ""));
            match word {
                "return" => answer = self.number(rest).map(|number| number as i32),
                // What follows is for the first runs alone, or for later ones.
                "once" if nth > 1 => break,
                "first" if i64::from(nth) > self.number(rest).unwrap_or(0) => break,
                "after" if i64::from(nth) <= self.number(rest).unwrap_or(0) => break,
                "once" | "first" | "after" => {}
                // What follows is for this context alone.
                "only" if self.number(rest) != args.first().map(|&id| i64::from(id)) => break,
                "only" => {}
                "set" => {
                    let (name, value) = rest.split_once(' ').unwrap_or((rest, "0"));
                    let value = self.number(value).unwrap_or(0);
                    self.variables.insert(name.to_owned(), value);
                }
                "trap" => panic!("asked to"),
                "unreachable" => std::process::abort(),
                "spin" => loop {
                    black_box(());
                },
                "hog" => {
                    let mut all = Vec::new();
                    loop {
                        all.push(black_box(vec![1_u8; 1 << 20]));
                    }
                }
                "deep" => {
                    black_box(deep(black_box(1)));
                }
                "say" => log(rest),
                _ => self.call(word, rest),
            }
        }
        answer
    }

    fn number(&self, text: &str) -> Option<i64> {
        let text = text.trim();
        if let Some(name) = text.strip_prefix('$') {
            return self.variables.get(name).copied();
        }
        match text.strip_prefix("0x") {
            Some(digits) => i64::from_str_radix(digits, 16).ok(),
            None => text.parse().ok(),
        }
    }

    fn call(&mut self, name: &str, rest: &str) {
        let mut args = Vec::new();
        let mut outs = Vec::new();
        let mut kept = Vec::new();
        for word in words(rest) {
            if let Some(out) = word.strip_prefix(">>") {
                let _unnamed = out;
                let mut place = Box::new([0_u32; 2]);
                let at = place.as_mut_ptr() as i64;
                args.extend([at, at + 4]);
                outs.push(Out::Bytes(place));
            } else if let Some(out) = word.strip_prefix('>') {
                let (size, name) = out.strip_prefix("long").map_or((4, out), |name| (8, name));
                let mut place = Box::new([0_u8; 8]);
                args.push(place.as_mut_ptr() as i64);
                outs.push(Out::Number(place, size, name.to_owned()));
            } else if word.starts_with(['"', '[', '~']) {
                let bytes = self.bytes(&word);
                args.extend([bytes.as_ptr() as i64, bytes.len() as i64]);
                kept.push(bytes);
            } else if let Some(number) = self.number(&word) {
                args.push(number);
            } else {
                log(&format!("not understood: {word}"));
                return;
            }
        }
        let full =
            if name.starts_with("proxy_") { name.to_owned() } else { format!("proxy_{name}") };
        let Some(status) = abi::call(&full, &args) else {
            log(&format!("no such call: {full} with {} arguments", args.len()));
            return;
        };
        let mut text = format!("  {name} {rest} = {status}");
        for out in outs.iter().filter(|_| status == 0) {
            text.push(' ');
            match out {
                Out::Bytes(place) => text.push_str(&shown(bytes(place[0], place[1]))),
                Out::Number(place, size, name) => {
                    let mut number = **place;
                    number[*size..].fill(0);
                    let number = i64::from_le_bytes(number);
                    if !name.is_empty() {
                        self.variables.insert(name.clone(), number);
                    }
                    text.push_str(&number.to_string());
                }
            }
        }
        log(&text);
        drop(kept);
    }

    /// The bytes of `"a text"`, of `[name=value, ...]` as pairs, of `~N` (N times x).
    fn bytes(&self, word: &str) -> Vec<u8> {
        if let Some(count) = word.strip_prefix('~') {
            return vec![b'x'; self.number(count).unwrap_or(0) as usize];
        }
        if let Some(list) = word.strip_prefix('[') {
            let list = list.strip_suffix(']').unwrap_or(list);
            let pairs: Vec<_> = list
                .split(',')
                .filter(|pair| !pair.trim().is_empty())
                .map(|pair| pair.trim().split_once('=').unwrap_or((pair.trim(), "")))
                .map(|(name, value)| (unescaped(name), unescaped(value)))
                .collect();
            let mut out = (pairs.len() as u32).to_le_bytes().to_vec();
            for (name, value) in &pairs {
                out.extend((name.len() as u32).to_le_bytes());
                out.extend((value.len() as u32).to_le_bytes());
            }
            for (name, value) in &pairs {
                out.extend(name.iter().chain(&[0]).chain(value).chain(&[0]));
            }
            return out;
        }
        unescaped(word.trim_matches('"'))
    }
}

fn deep(n: u64) -> u64 {
    let room = black_box([n; 64]);
    // Never 0: it ends with the stack.
    if room[5] == 0 { 0 } else { black_box(deep(room[7] + 1)) + room[3] }
}

/// `\xNN` is a byte.
fn unescaped(text: &str) -> Vec<u8> {
    let mut out = Vec::new();
    let mut rest = text.as_bytes();
    while let Some((&byte, more)) = rest.split_first() {
        let hex = more.strip_prefix(b"x").and_then(|hex| std::str::from_utf8(hex.get(..2)?).ok());
        let number = hex.and_then(|hex| u8::from_str_radix(hex, 16).ok());
        match (byte, number) {
            (b'\\', Some(number)) => {
                out.push(number);
                rest = &more[3..];
            }
            _ => {
                out.push(byte);
                rest = more;
            }
        }
    }
    out
}

/// Words apart by spaces, but not within quotes and brackets.
fn words(text: &str) -> Vec<String> {
    let mut words = Vec::new();
    let mut word = String::new();
    let mut end = None;
    for letter in text.chars() {
        match (end, letter) {
            (None, ' ') => {
                if !word.is_empty() {
                    words.push(std::mem::take(&mut word));
                }
                continue;
            }
            (None, '"') => end = Some('"'),
            (None, '[') => end = Some(']'),
            (Some(wanted), letter) if letter == wanted => end = None,
            _ => {}
        }
        word.push(letter);
    }
    if !word.is_empty() {
        words.push(word);
    }
    words
}

/// Bytes in quotes, those that are not printable ASCII as `\xNN`.
fn shown(bytes: &[u8]) -> String {
    let mut out = String::from('"');
    for &byte in bytes {
        match byte {
            b' '..=b'~' if byte != b'\\' => out.push(byte as char),
            _ => out.push_str(&format!("\\x{byte:02x}")),
        }
    }
    out.push('"');
    out
}

/// The bytes at a place of the memory.
pub fn bytes(at: u32, size: u32) -> &'static [u8] {
    if size == 0 {
        return &[];
    }
    // SAFETY: the host has written them there, into memory that is never freed.
    unsafe { std::slice::from_raw_parts(at as *const u8, size as usize) }
}

/// A line of the log.
pub fn log(text: &str) {
    abi::call("proxy_log", &[2, text.as_ptr() as i64, text.len() as i64]);
}

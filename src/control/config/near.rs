//! The name that somebody most likely meant.

/// The one of `known` that `got` is most likely meant to be; `None` if none is near.
pub(super) fn nearest<'k>(got: &str, known: impl IntoIterator<Item = &'k str>) -> Option<&'k str> {
    let bare = |name: &str| -> Vec<u8> {
        let letters = name.bytes().filter(u8::is_ascii_alphanumeric);
        letters.map(|byte| byte.to_ascii_lowercase()).collect()
    };
    // The cost is quadratic; no key is near one of that length.
    if got.len() > 64 {
        return None;
    }
    let got = bare(got);
    let best = known
        .into_iter()
        .map(|name| (distance(&got, &bare(name)), name))
        .min_by_key(|(distance, _)| *distance)?;
    let (distance, name) = best;
    (distance <= name.len() / 3).then_some(name)
}

/// How many letters to put in, take out or change (Levenshtein) to get from `a` to `b`.
fn distance(a: &[u8], b: &[u8]) -> usize {
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, x) in a.iter().enumerate() {
        let mut diagonal = i;
        row[0] = i + 1;
        for (j, y) in b.iter().enumerate() {
            let replaced = diagonal + usize::from(x != y);
            diagonal = row[j + 1];
            row[j + 1] = replaced.min(row[j] + 1).min(diagonal + 1);
        }
    }
    row[b.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn near_keys_are_found_and_far_ones_are_not() {
        for (got, want) in [
            ("max_memory_pages", Some("maxMemoryPages")),
            ("maxmemorypages", Some("maxMemoryPages")),
            ("maxMemoryPage", Some("maxMemoryPages")),
            ("plugin", Some("plugins")),
            ("tiemout", Some("timeout")),
            ("colour", None),
            ("", None),
        ] {
            assert_eq!(nearest(got, super::super::keys::WASM.names()), want, "{got}");
        }
    }
}

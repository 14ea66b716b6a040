//! What has changed between two documents, line by line, as `diff -u` shows it.

use std::fmt::Write;

use crate::limits::FLEET_DIFF_EDITS_MAX;

/// Lines around a change that are shown with it.
const CONTEXT: usize = 3;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Edit {
    Keep,
    Remove,
    Add,
}

/// The change from `old` to `new`, with their names in front; empty if there is none.
pub fn unified(old_name: &str, old: &str, new_name: &str, new: &str) -> String {
    if old == new {
        return String::new();
    }
    let (old, new): (Vec<&str>, Vec<&str>) = (old.lines().collect(), new.lines().collect());
    let edits = edits(&old, &new);
    let mut text = format!("--- {old_name}\n+++ {new_name}\n");
    let changed: Vec<usize> = (0..edits.len()).filter(|&at| edits[at] != Edit::Keep).collect();
    // Which line of each stands before each edit.
    let mut places = Vec::with_capacity(edits.len() + 1);
    let (mut in_old, mut in_new) = (0, 0);
    for edit in &edits {
        places.push((in_old, in_new));
        in_old += usize::from(*edit != Edit::Add);
        in_new += usize::from(*edit != Edit::Remove);
    }
    places.push((in_old, in_new));
    let mut rest = changed.as_slice();
    while let Some(&first) = rest.first() {
        let mut end = first;
        while let Some(&next) = rest.first().filter(|&&next| next <= end + 2 * CONTEXT) {
            end = next + 1;
            rest = &rest[1..];
        }
        let (from, to) = (first.saturating_sub(CONTEXT), (end + CONTEXT).min(edits.len()));
        let ((old_from, new_from), (old_to, new_to)) = (places[from], places[to]);
        let span = |from: usize, to: usize| match to - from {
            0 => format!("{from},0"),
            1 => format!("{}", from + 1),
            count => format!("{},{count}", from + 1),
        };
        // Writing to a String does not fail.
        let _ = writeln!(text, "@@ -{} +{} @@", span(old_from, old_to), span(new_from, new_to));
        for at in from..to {
            let (in_old, in_new) = places[at];
            let _ = match edits[at] {
                Edit::Keep => writeln!(text, " {}", old[in_old]),
                Edit::Remove => writeln!(text, "-{}", old[in_old]),
                Edit::Add => writeln!(text, "+{}", new[in_new]),
            };
        }
    }
    text
}

/// From one to the other (Myers, "An O(ND) Difference Algorithm", greedy), what both begin and end
/// with apart.
fn edits(old: &[&str], new: &[&str]) -> Vec<Edit> {
    let begin = old.iter().zip(new).take_while(|(a, b)| a == b).count();
    let (old_rest, new_rest) = (&old[begin..], &new[begin..]);
    let backwards = old_rest.iter().rev().zip(new_rest.iter().rev());
    let end = backwards.take_while(|(a, b)| a == b).count();
    let (a, b) = (&old_rest[..old_rest.len() - end], &new_rest[..new_rest.len() - end]);
    let mut edits = vec![Edit::Keep; begin];
    edits.extend(middle(a, b).unwrap_or_else(|| {
        let all = [vec![Edit::Remove; a.len()], vec![Edit::Add; b.len()]];
        all.concat()
    }));
    edits.extend(vec![Edit::Keep; end]);
    edits
}

/// `None`: they have too little in common.
fn middle(a: &[&str], b: &[&str]) -> Option<Vec<Edit>> {
    let most = (a.len() + b.len()).min(FLEET_DIFF_EDITS_MAX);
    // Of each number of edits, how far into `a` each diagonal was followed: from -d to d.
    let mut rounds: Vec<Vec<u32>> = Vec::new();
    for d in 0..=most {
        let mut reached = vec![0_u32; 2 * d + 1];
        for index in (0..=2 * d).step_by(2) {
            let k = index as isize - d as isize;
            let mut x = match rounds.last() {
                None => 0,
                Some(before) => step(before, d, k).0,
            };
            let mut y = (x as isize - k) as usize;
            while x < a.len() && y < b.len() && a[x] == b[y] {
                (x, y) = (x + 1, y + 1);
            }
            reached[index] = x as u32;
            if x >= a.len() && y >= b.len() {
                rounds.push(reached);
                return Some(walk_back(&rounds, a.len(), b.len()));
            }
        }
        rounds.push(reached);
    }
    None
}

/// Where the round after `before` begins on diagonal `k`, and whether by an addition.
fn step(before: &[u32], d: usize, k: isize) -> (usize, bool) {
    let at = |k: isize| {
        let index = k + d as isize - 1;
        usize::try_from(index).ok().and_then(|index| before.get(index)).copied()
    };
    let (down, right) = (at(k + 1), at(k - 1));
    match (down, right) {
        (Some(down), Some(right)) if right >= down => (right as usize + 1, false),
        (Some(down), _) => (down as usize, true),
        (None, Some(right)) => (right as usize + 1, false),
        (None, None) => (0, true),
    }
}

fn walk_back(rounds: &[Vec<u32>], mut x: usize, mut y: usize) -> Vec<Edit> {
    let mut edits = Vec::new();
    for d in (1..rounds.len()).rev() {
        let k = x as isize - y as isize;
        let (begun, is_addition) = step(&rounds[d - 1], d, k);
        while x > begun {
            edits.push(Edit::Keep);
            (x, y) = (x - 1, y - 1);
        }
        if is_addition {
            edits.push(Edit::Add);
            y = y.saturating_sub(1);
        } else {
            edits.push(Edit::Remove);
            x = x.saturating_sub(1);
        }
    }
    edits.extend(vec![Edit::Keep; x]);
    edits.reverse();
    edits
}

#[cfg(test)]
mod tests {
    use super::*;

    fn applied(old: &[&str], new: &[&str], edits: &[Edit]) -> Vec<String> {
        let (mut old, mut new) = (old.iter(), new.iter());
        let mut result = Vec::new();
        for edit in edits {
            match edit {
                Edit::Keep => {
                    new.next();
                    result.push((*old.next().unwrap()).to_owned());
                }
                Edit::Remove => drop(old.next().unwrap()),
                Edit::Add => result.push((*new.next().unwrap()).to_owned()),
            }
        }
        assert!(old.next().is_none() && new.next().is_none());
        result
    }

    #[test]
    fn the_edits_lead_from_one_to_the_other_and_are_few() {
        let mut seed = 7_u64;
        let mut random = |most: u64| {
            seed = seed.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
            (seed >> 33) % most
        };
        for round in 0..500 {
            let words = ["a", "b", "c", "d"];
            let mut some = |most| -> Vec<&str> {
                let count = random(most);
                (0..count).map(|_| words[random(4) as usize]).collect()
            };
            let (old, new) = (some(12), some(12));
            let edits = edits(&old, &new);
            assert_eq!(applied(&old, &new, &edits), new, "round {round}: {old:?} {new:?}");
            let kept = edits.iter().filter(|edit| **edit == Edit::Keep).count();
            assert_eq!(kept, longest(&old, &new), "round {round}: {old:?} {new:?}");
        }
    }

    /// The longest common subsequence, the slow way.
    fn longest(a: &[&str], b: &[&str]) -> usize {
        let mut table = vec![vec![0; b.len() + 1]; a.len() + 1];
        for (i, x) in a.iter().enumerate() {
            for (j, y) in b.iter().enumerate() {
                let either = table[i][j + 1].max(table[i + 1][j]);
                table[i + 1][j + 1] = if x == y { table[i][j] + 1 } else { either };
            }
        }
        table[a.len()][b.len()]
    }

    #[test]
    fn a_change_is_shown_with_what_stands_around_it() {
        let old: String = (1..=20).map(|n| format!("line {n}\n")).collect();
        let new = old.replace("line 4\n", "").replace("line 18\n", "line 18\nnew\n");
        let want = "--- a\n+++ b\n@@ -1,7 +1,6 @@\n line 1\n line 2\n line 3\n-line 4\n line 5\n \
                    line 6\n line 7\n@@ -16,5 +15,6 @@\n line 16\n line 17\n line 18\n+new\n line \
                    19\n line 20\n";
        assert_eq!(unified("a", &old, "b", &new), want);
        assert_eq!(unified("a", &old, "b", &old), "");
        assert_eq!(unified("a", "", "b", "x\n"), "--- a\n+++ b\n@@ -0,0 +1 @@\n+x\n");
    }

    #[test]
    fn two_that_have_nothing_in_common_are_replaced_whole() {
        let count = FLEET_DIFF_EDITS_MAX;
        let old: String = (0..count).map(|n| format!("old {n}\n")).collect();
        let new: String = (0..count).map(|n| format!("new {n}\n")).collect();
        let text = unified("a", &old, "b", &new);
        assert_eq!(text.lines().count(), 3 + 2 * count);
    }
}

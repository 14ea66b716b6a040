//! config/odin.yaml: the comment above a key is what the table says of it. A key that the file
//! lacks is written into it, behind the one that stands before it in the table.

use std::collections::BTreeMap;
use std::path::Path;

use super::*;

/// The examples of these show their keys in comments of their own.
const EXAMPLES: &[&str] = &[
    "admin.listen.",
    "fleet.",
    "server.listen[",
    "services[].aggregation",
    "services[].compression",
    "services[].cors",
    "services[].healthCheck",
    "services[].hash",
    "services[].hosts",
    "services[].match",
    "services[].mirror",
    "services[].methods",
    "services[].redirect",
    "services[].requestHeaders",
    "services[].responseHeaders",
    "services[].retry",
    "services[].split",
    "services[].sticky",
    "services[].rewrite",
    "services[].targets",
    "services[].tls",
];

/// The keys that the file does not show, or not with what is said of them.
fn lacking(yaml: &str) -> Vec<(String, &'static Key)> {
    let comments: Vec<&str> = yaml
        .lines()
        .filter_map(|line| line.trim_start().strip_prefix('#'))
        .flat_map(str::split_whitespace)
        .collect();
    let comments = comments.join(" ");
    let is_lacking = |(path, key): &(String, &'static Key)| {
        let is_shown = yaml.lines().any(|line| {
            let bare = line.trim_start_matches([' ', '#', '-']);
            bare.contains(&format!("{}:", key.name))
        });
        let is_said = section_of(&key.kind).is_some()
            || EXAMPLES.iter().any(|prefix| path.starts_with(prefix))
            || comments.contains(key.about);
        !is_shown || !is_said
    };
    all().into_iter().filter(is_lacking).collect()
}

fn indent(line: &str) -> usize {
    line.len() - line.trim_start_matches(' ').len()
}

/// Where a key stands in these lines, commented out or not, and how far in.
fn place(lines: &[String], name: &str) -> Option<(usize, usize)> {
    lines.iter().enumerate().find_map(|(at, line)| {
        let bare = line.trim_start_matches(' ');
        let bare = bare.strip_prefix("- ").or_else(|| bare.strip_prefix("# ")).unwrap_or(bare);
        let is_key = bare.trim_start_matches(' ').strip_prefix(name)?.starts_with(':');
        let is_entry = line.trim_start_matches(' ').starts_with("- ");
        is_key.then(|| (at, indent(line) + if is_entry { 2 } else { 0 }))
    })
}

/// The lines of a section: those behind its own that are further in.
fn section(lines: &[String], path: &str) -> Option<(usize, usize)> {
    let (mut from, mut to) = (0, lines.len());
    for name in path.split(['.', '[']).filter(|name| !["", "]"].contains(name)) {
        let (at, depth) = place(&lines[from..to], name)?;
        let own = from + at;
        let is_out = |line: &String| {
            let bare = line.trim_start_matches(' ');
            !bare.is_empty() && !bare.starts_with('#') && indent(line) <= depth
        };
        let end = lines[own + 1..to].iter().position(is_out);
        (from, to) = (own + 1, end.map_or(to, |end| own + 1 + end));
    }
    Some((from, to))
}

/// The lines with one more key: what is said of it, then its default or an example, commented out.
fn with_key(lines: &mut Vec<String>, path: &str, key: &Key) -> Option<()> {
    let (parent, _) = path.rsplit_once('.').unwrap_or(("", path));
    let (from, to) = section(lines, parent)?;
    if place(&lines[from..to], key.name).is_some() {
        // What is said of it has changed: where that stands, only who reads it knows.
        return None;
    }
    let mut siblings = Vec::new();
    each_section(&mut |one, keys| {
        if one == parent {
            siblings = keys.allowed.iter().map(|key| key.name).collect();
        }
    });
    let before = siblings.iter().position(|name| *name == key.name)?;
    let mut before = siblings[..before].iter().rev();
    let (at, depth) = before.find_map(|name| place(&lines[from..to], name))?;
    // Behind all that belongs to it.
    let goes_on = |line: &&String| {
        let bare = line.trim_start_matches(' ');
        bare.starts_with("#   ") || (!bare.starts_with('#') && indent(line) > depth)
    };
    let rest = lines[from + at + 1..to].iter().take_while(goes_on).count();
    let behind = from + at + 1 + rest;
    let margin = " ".repeat(depth);
    let mut written = vec![format!("{margin}#")];
    for word in key.about.split(' ') {
        let last = written.last_mut()?;
        if last.len() + 1 + word.len() > 100 {
            written.push(format!("{margin}# {word}"));
        } else {
            *last += &format!(" {word}");
        }
    }
    let value = key.default.or(key.example).unwrap_or("...");
    written.push(format!("{margin}# {}: {value}", key.name));
    lines.splice(behind..behind, written);
    Some(())
}

/// The file with every key that it lacks and that has no example of its own.
fn completed(yaml: &str) -> String {
    let mut lines: Vec<String> = yaml.lines().map(str::to_owned).collect();
    for (path, key) in lacking(yaml) {
        let _has_to_be_written_by_hand = with_key(&mut lines, &path, key);
    }
    lines.join("\n") + "\n"
}

#[test]
fn odin_yaml_says_of_every_key_what_the_table_says() {
    let text = completed(ODIN_YAML);
    let lacking = lacking(&text).into_iter().map(|(path, key)| {
        let value = key.default.or(key.example).unwrap_or("...");
        format!("{path}:\n    # {}\n    {}: {value}", key.about, key.name)
    });
    let lacking: Vec<String> = lacking.collect();
    assert!(lacking.is_empty(), "config/odin.yaml lacks\n{}", lacking.join("\n"));
    written("config/odin.yaml", &text);
}

/// Without a key that it has, the file gets it back where it was, or near: as it would a new one.
#[test]
fn a_key_that_odin_yaml_lacks_is_written_into_it() {
    let env = |name: &str| (name != "ODIN_LISTEN").then(|| "secret".to_owned());
    let config = |text: &str| {
        let config = parse(text, "odin.yaml", &env).unwrap();
        format!("{:?}", config.without_places())
    };
    let original = config(ODIN_YAML);
    let line_of = |key: &'static Key| {
        let shown = format!("# {}: ", key.name);
        let is_once = ODIN_YAML.matches(&format!("{}:", key.name)).count() == 1;
        let at = ODIN_YAML.lines().position(|line| line.trim_start().starts_with(&shown));
        at.filter(|_| is_once && section_of(&key.kind).is_none())
    };
    let shown = all().into_iter().filter_map(|(path, key)| {
        let is_example = EXAMPLES.iter().any(|prefix| path.starts_with(prefix));
        line_of(key).filter(|_| !is_example).map(|at| (path, at))
    });
    let mut tried = 0;
    // Some of them, spread over the file.
    for (path, at) in shown.step_by(4) {
        let others = ODIN_YAML.lines().enumerate().filter(|(line, _)| *line != at);
        let without: Vec<&str> = others.map(|(_, line)| line).collect();
        let without = without.join("\n") + "\n";
        assert_eq!(lacking(&without).len(), 1, "{path}");
        let again = completed(&without);
        if again == without {
            // The first of a section, or in one that is a comment itself: by hand.
            continue;
        }
        assert!(lacking(&again).is_empty(), "{path} was not written:\n{again}");
        assert_eq!(config(&again), original, "{path}");
        tried += 1;
    }
    assert!(tried >= 5, "{tried}");
}

/// The files of the configuration, tests and what follows from the table left out.
#[expect(clippy::disallowed_methods, reason = "a test reads files")]
fn sources(folder: &Path, found: &mut BTreeMap<PathBuf, String>) {
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap().to_string_lossy().into_owned();
        if path.is_dir() {
            if name != "tests" {
                sources(&path, found);
            }
        } else if name.ends_with(".rs") && !name.ends_with("tests.rs") {
            let text = std::fs::read_to_string(&path).unwrap();
            found.insert(path, text);
        }
    }
}

/// Who adds a key to a service names it in three files: its row, who reads it, who shows it. A
/// fourth has its field. The schema, the pages and config/odin.yaml follow (`make keys`). Not
/// counted: the list of keys that a service which splits its requests has not, the two keys that
/// are a rule about others, and the one that is a type of plugins as well.
#[test]
fn a_key_of_a_service_is_named_in_three_files() {
    let mut files = BTreeMap::new();
    sources(&root("src/control/config"), &mut files);
    let mut names: Vec<&str> = all().iter().map(|(_, key)| key.name).collect();
    names.sort_unstable();
    let is_unique = |name: &str| names.iter().filter(|one| **one == name).count() == 1;
    let own = all().into_iter().filter(|(path, key)| {
        let is_own = path.strip_prefix("services[].") == Some(key.name);
        let is_more = ["redirect", "rewrite", "aggregation"].contains(&key.name);
        is_own && is_unique(key.name) && !is_more
    });
    let mut wide = Vec::new();
    let mut looked = 0;
    for (_, key) in own {
        let literal = format!("\"{}\"", key.name);
        let has = |(path, text): &(&PathBuf, &String)| {
            text.contains(&literal) && !path.ends_with("config/split.rs")
        };
        let naming: Vec<_> = files.iter().filter(has).map(|(path, _)| path.clone()).collect();
        looked += 1;
        if naming.len() > 3 {
            wide.push((key.name, naming));
        }
    }
    assert!(looked > 10, "{looked}");
    assert!(wide.is_empty(), "{wide:#?}");
}

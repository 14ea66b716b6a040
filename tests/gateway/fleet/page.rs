//! docs/fleet.md by itself: its first section, copied line by line, ends where it says.

use std::os::unix::process::CommandExt;
use std::process::{Child, Stdio};
use std::time::Instant;

use regex::Regex;
use rustix::process::{Pid, kill_process_group};

use super::*;
use crate::support::PATIENCE;

const PAGE: &str = include_str!("../../../docs/fleet.md");

/// The fenced blocks of the section, in order: what each is written in, and its text.
fn blocks() -> Vec<(&'static str, &'static str)> {
    let (_, section) = PAGE.split_once("\n## In ten minutes\n").unwrap();
    let section = section.split("\n## ").next().unwrap();
    section.split("```").skip(1).step_by(2).map(|text| text.split_once('\n').unwrap()).collect()
}

/// A command of a block, and the lines that it is said to answer with.
fn steps(block: &str) -> Vec<(String, Vec<String>)> {
    let mut steps: Vec<(String, Vec<String>)> = Vec::new();
    let mut goes_on = false;
    for line in block.lines() {
        match (line.strip_prefix("$ "), steps.last_mut()) {
            (Some(command), _) => steps.push((command.to_owned(), Vec::new())),
            (None, Some((command, _))) if goes_on => *command += &format!("\n{line}"),
            (None, Some((_, answer))) => answer.push(line.to_owned()),
            (None, None) => panic!("{line:?} is nobody's answer"),
        }
        goes_on = line.ends_with('\\');
    }
    steps
}

/// What a line of the page stands for: times, names and digests are others each time.
fn pattern(line: &str) -> Regex {
    let mut text = regex::escape(line.trim());
    for (from, to) in [
        (r"\d{4}\\-\d\d\\-\d\dT[\d:]+Z", r"\d{4}-\d\d-\d\dT[\d:]+Z"),
        (r"ann@host", r"\S+@\S+"),
        (r"\b[0-9a-f]{4}…", r"[0-9a-f]+"),
        (r"…", ".*"),
        (r" +", r"\s+"),
    ] {
        text = Regex::new(from).unwrap().replace_all(&text, regex::NoExpand(to)).into_owned();
    }
    Regex::new(&text).unwrap()
}

/// A newcomer's folder and shell.
struct Try {
    dir: TempDir,
    /// What the page says, what is here in its place.
    instead: Vec<(&'static str, String)>,
    background: Vec<Child>,
}

/// Ports that follow one another, of which members have the first three and so on.
fn free_ports(count: u16) -> u16 {
    let is_free = |port: u16| std::net::TcpListener::bind(("127.0.0.1", port)).is_ok();
    let start = 20_000 + (std::process::id() % 10_000) as u16;
    let mut bases = (start..32_000).step_by(usize::from(count));
    bases.find(|base| (*base..*base + count).all(is_free)).expect("ports are free")
}

impl Try {
    fn new() -> Self {
        let dir = TempDir::new();
        let base = free_ports(12);
        let port = |at: u16| (base + at).to_string();
        let mut instead = vec![
            ("2${n}79", format!("$(({base}+n))")),
            ("2${n}80", format!("$(({}+n))", base + 3)),
            ("/tmp/try", dir.path().join("try").display().to_string()),
        ];
        let ports =
            ["2179", "2279", "2379", "2180", "2280", "2380", "8080", "8081", "8082", "8083"];
        instead.extend(ports.iter().zip(1..).map(|(from, at)| (*from, port(at))));
        Self { dir, instead, background: Vec::new() }
    }

    fn here(&self, text: &str) -> String {
        let replace = |text: String, (from, to): &(&str, String)| text.replace(from, to);
        self.instead.iter().fold(text.to_owned(), replace)
    }

    fn write(&self, name: &str, text: &str) {
        self.dir.write(name, self.here(text));
    }

    fn shell(&self, command: &str) -> Command {
        let tools = Path::new(env!("CARGO_BIN_EXE_odin-cli")).parent().unwrap();
        let path = format!("{}:{}", tools.display(), std::env::var("PATH").unwrap());
        let mut shell = Command::new("bash");
        shell.args(["-c", &self.here(command)]).current_dir(self.dir.path());
        shell.env("PATH", path).env_remove("VERSION").stdin(Stdio::null());
        shell.env("ETCD_UNSUPPORTED_ARCH", std::env::consts::ARCH);
        shell
    }

    /// Runs each command of a block until it answers as the page says: who copies it types slower
    /// than servers start.
    fn follow(&mut self, block: &str) {
        for (command, answer) in steps(block) {
            if command.trim_end().ends_with('&') || command.contains("& done") {
                let mut shell = self.shell(&format!("{command}\nwait"));
                let shell = shell.stdout(Stdio::null()).stderr(Stdio::null()).process_group(0);
                self.background.push(shell.spawn().unwrap());
                continue;
            }
            let begun = Instant::now();
            loop {
                let output = self.shell(&command).output().unwrap();
                let said = told(&output);
                let lacks = answer.iter().find(|line| !pattern(line).is_match(&said));
                if lacks.is_none() && (output.status.success() || said.contains("refused")) {
                    break;
                }
                // A push that was taken says something else when it is done again.
                let is_once = command.contains("push") && said.contains("revision");
                let is_late = is_once || begun.elapsed() > PATIENCE;
                assert!(!is_late, "$ {command}\n{said}\nlacks {lacks:?}");
            }
        }
    }
}

impl Drop for Try {
    fn drop(&mut self) {
        for child in &mut self.background {
            let _ = kill_process_group(Pid::from_child(child), Signal::KILL);
            let _ = child.wait();
        }
    }
}

#[test]
fn the_page_alone_leads_to_a_fleet_a_push_a_bad_one_and_back() {
    let begun = Instant::now();
    let mut newcomer = Try::new();
    let page = blocks();
    let files: Vec<&str> =
        page.iter().filter(|(language, _)| *language == "yaml").map(|(_, text)| *text).collect();
    let [shared, a] = files[..] else { panic!("two files: {files:?}") };
    newcomer.write("shared.yaml", shared);
    newcomer.write("a.yaml", a);
    // As the page says in words.
    let mut b = a.to_owned();
    for (from, to) in [("8080", "8082"), ("8081", "8083"), ("node: a", "node: b"), ("/a\n", "/b\n")]
    {
        assert!(b.contains(from));
        b = b.replace(from, to);
    }
    newcomer.write("b.yaml", &b);
    let consoles = page.iter().filter(|(language, _)| *language == "console");
    let consoles: Vec<&str> = consoles.map(|(_, text)| *text).collect();
    let [etcd, first, push, bad, back] = consoles[..] else { panic!("five: {consoles:?}") };
    newcomer.follow(etcd);
    newcomer.follow(first);
    newcomer.write("shared.yaml", &shared.replace("X-Version: one", "X-Version: two"));
    newcomer.follow(push);
    newcomer.write("shared.yaml", &shared.replace("X-Version: one", "X-Version: ${VERSION}"));
    newcomer.follow(bad);
    newcomer.follow(back);
    let shown = newcomer.shell("curl -s http://127.0.0.1:8080/; curl -s http://127.0.0.1:8082/");
    let shown = { shown }.output().unwrap();
    let words = out(&shown).matches("\"two\"").count();
    assert_eq!(words, 2, "{}", told(&shown));
    eprintln!("the page took {:.1?}", begun.elapsed());
}

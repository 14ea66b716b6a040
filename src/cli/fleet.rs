//! `odin-cli fleet`: writes a fleet's document, tells how its nodes stand, takes a revision back.

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::{Duration, UNIX_EPOCH};

use clap::Subcommand;
use odin::control::check;
use odin::control::config::{self, Etcd, EtcdTls, Secret};
use odin::control::fleet::operator::{Operator, Order, Pushed, Status};
use odin::control::fleet::rollout::Bar;
use odin::control::fleet::store::{Entry, Report};
use odin::control::fleet::{self, diff};
use odin::control::terminal::{err, out};
use odin::limits::{FLEET_CANARY_HOLD, FLEET_NODES_MAX, FLEET_PUSH_WAIT};
use odin::text::rfc_3339;

#[derive(clap::Args)]
pub(crate) struct Arguments {
    #[command(flatten)]
    access: Access,
    #[command(subcommand)]
    command: Command,
}

/// Where the fleet's etcd is.
#[derive(clap::Args)]
struct Access {
    /// A node's configuration file, whose fleet is meant
    #[arg(long, value_name = "NODE.yaml", global = true, conflicts_with = "etcd")]
    config: Option<PathBuf>,
    /// Members of its etcd, in the place of a node's file
    #[arg(
        long,
        value_name = "URL[,URL]",
        global = true,
        value_delimiter = ',',
        env = "ODIN_FLEET_ETCD"
    )]
    etcd: Vec<String>,
    /// What the fleet's keys begin with
    #[arg(long, global = true, default_value = "/odin", env = "ODIN_FLEET_PREFIX")]
    prefix: String,
    /// The user of etcd; the password is $ODIN_ETCD_PASSWORD, or in a file
    #[arg(long, value_name = "NAME", global = true, env = "ODIN_ETCD_USER")]
    user: Option<String>,
    /// The file that holds the user's password
    #[arg(long, value_name = "FILE", global = true)]
    password_file: Option<PathBuf>,
    /// Who signs etcd's certificates; without: whom the system trusts
    #[arg(long, value_name = "FILE", global = true, env = "ODIN_ETCD_CA")]
    ca: Option<PathBuf>,
    /// The certificate to show to etcd
    #[arg(long, value_name = "FILE", global = true, env = "ODIN_ETCD_CERT", requires = "key")]
    cert: Option<PathBuf>,
    /// The key of that certificate
    #[arg(long, value_name = "FILE", global = true, env = "ODIN_ETCD_KEY")]
    key: Option<PathBuf>,
    /// The name in etcd's certificates, if it is not the URL's
    #[arg(long, value_name = "NAME", global = true)]
    server_name: Option<String>,
}

#[derive(Subcommand)]
enum Command {
    /// Check a document, compile it here, and make it the fleet's next revision
    Push {
        /// The document: tracing, kv, wasm and services
        file: PathBuf,
        /// Refuse unless the fleet is at this revision, which the file was made from
        #[arg(long, value_name = "REV")]
        from: Option<u64>,
        /// What the history says of it
        #[arg(long, short, default_value = "")]
        message: String,
        /// Do not read and compile plugins here, nor look names up: only nodes can
        #[arg(long)]
        no_compile: bool,
        #[command(flatten)]
        rollout: Rollout,
    },
    /// Tell what each node runs or refused, and why
    Status {
        /// As JSON
        #[arg(long)]
        json: bool,
    },
    /// List the last revisions
    History,
    /// Print a revision's document; without one, the current
    Show {
        /// The revision
        revision: Option<u64>,
    },
    /// Show what a file, or a revision, changes of the current revision; or of another one
    Diff {
        /// A file, or the number of a revision
        what: String,
        /// The number of a second revision, in the place of the current
        other: Option<u64>,
    },
    /// Make the document of an earlier revision the next one
    Rollback {
        /// The earlier revision
        revision: u64,
        #[command(flatten)]
        rollout: Rollout,
    },
}

#[derive(clap::Args)]
struct Rollout {
    /// Let so many nodes go first; the others follow when these do well
    #[arg(long, value_name = "N",
          value_parser = clap::value_parser!(u32).range(1..=FLEET_NODES_MAX as i64))]
    canary: Option<u32>,
    /// How long they must do well
    #[arg(long, value_name = "TIME", value_parser = config::duration)]
    hold: Option<Duration>,
    /// The share of 5xx, in percent, with which they do not
    #[arg(long, value_name = "PERCENT", default_value_t = 10,
          value_parser = clap::value_parser!(u64).range(0..=100))]
    max_errors: u64,
    /// How long nodes may take to apply the revision; with --no-wait nobody waits
    #[arg(long, value_name = "TIME", value_parser = config::duration)]
    wait: Option<Duration>,
    /// Do not wait for nodes to follow
    #[arg(long, conflicts_with_all = ["wait", "canary"])]
    no_wait: bool,
}

impl Rollout {
    fn order(&self, text: String, note: String, from: Option<u64>) -> Order {
        let wait = if self.no_wait { Duration::ZERO } else { self.wait.unwrap_or(FLEET_PUSH_WAIT) };
        let hold = self.hold.unwrap_or(FLEET_CANARY_HOLD);
        let bar = Bar { wait, hold, errors_percent: self.max_errors };
        Order { text, note, from, canary: self.canary.map(|count| count as usize), bar }
    }
}

/// Does what is asked for. The error is one of usage; what failed otherwise is told here.
pub(crate) fn run(arguments: &Arguments) -> Result<ExitCode, String> {
    let etcd = arguments.access.etcd()?;
    let done = match &arguments.command {
        Command::Push { file, from, message, no_compile, rollout } => {
            let text = super::read_text(file)?;
            let name = file.display().to_string();
            return Ok(push(
                etcd,
                &name,
                *no_compile,
                &rollout.order(text, message.clone(), *from),
            ));
        }
        Command::Status { json } => status(etcd, *json),
        Command::History => history(etcd),
        Command::Show { revision } => Operator::connect(etcd)
            .and_then(|mut fleet| fleet.document(*revision))
            .map(|document| {
                out(document.text.trim_end());
                ExitCode::SUCCESS
            }),
        Command::Diff { what, other } => difference(etcd, what, *other),
        Command::Rollback { revision, rollout } => rollback(etcd, *revision, rollout),
    };
    Ok(done.unwrap_or_else(|reason| failed(&reason)))
}

fn failed(reason: &str) -> ExitCode {
    err(format_args!("odin-cli: {reason}"));
    ExitCode::FAILURE
}

impl Access {
    fn etcd(&self) -> Result<Etcd, String> {
        if let Some(path) = &self.config {
            let config = config::load(path).map_err(|errors| errors.to_string())?;
            let fleet = config.fleet;
            return fleet.map(|fleet| fleet.etcd).ok_or_else(|| {
                format!("{}: fleet: missing, so it is in no fleet; give --etcd", path.display())
            });
        }
        if self.etcd.is_empty() {
            return Err("which fleet? give --config NODE.yaml, or --etcd URL and --prefix PREFIX"
                .to_owned());
        }
        config::check_prefix(&self.prefix)
            .map_err(|form| format!("--prefix: got {:?}, expected {form}", self.prefix))?;
        let endpoints = self.etcd.iter().map(|text| {
            config::etcd_endpoint(text)
                .map_err(|form| format!("--etcd: got {text:?}, expected {form}"))
        });
        let own = self.cert.clone().zip(self.key.clone());
        let tls = EtcdTls { ca: self.ca.clone(), own, server_name: self.server_name.clone() };
        Ok(Etcd {
            endpoints: endpoints.collect::<Result<_, _>>()?,
            prefix: self.prefix.clone(),
            user: self.user()?,
            tls,
        })
    }

    fn user(&self) -> Result<Option<(String, Secret)>, String> {
        let Some(name) = &self.user else { return Ok(None) };
        let password = match &self.password_file {
            Some(file) => super::read_text(file)?.trim_end_matches(['\r', '\n']).to_owned(),
            None => std::env::var("ODIN_ETCD_PASSWORD").map_err(|_| {
                "--user needs a password: $ODIN_ETCD_PASSWORD or --password-file".to_owned()
            })?,
        };
        Ok(Some((name.clone(), Secret::new(password))))
    }
}

fn push(etcd: Etcd, name: &str, no_compile: bool, order: &Order) -> ExitCode {
    let shared = match config::document(&order.text, name, false) {
        Ok(shared) => shared,
        Err(errors) => {
            err(&errors);
            return super::EXIT_USAGE.into();
        }
    };
    if let Some(reason) = shared.config.lacks_services() {
        err(reason);
        return super::EXIT_USAGE.into();
    }
    for found in config::secrets(&order.text) {
        err(format_args!("{name}:{found}"));
    }
    if !shared.unset.is_empty() {
        err(format_args!(
            "{name}: not set here, so what depends on it is checked by nodes alone: {}",
            shared.unset.join(", ")
        ));
    }
    let pushed = Operator::connect(etcd).and_then(|mut fleet| {
        // What is live now is what it is made from: who pushes meanwhile comes first.
        let base = fleet.live()?;
        if !no_compile {
            compiles(name, &shared.config)?;
        }
        fleet.push(&base, order, &out)
    });
    match pushed {
        Ok(pushed) => told(&pushed),
        Err(reason) => failed(&reason),
    }
}

/// Compiles it as a node would.
fn compiles(name: &str, config: &config::Config) -> Result<(), String> {
    let findings = check::deep(config)?;
    findings.warnings.iter().for_each(|warning| err(format_args!("{name}: warning: {warning}")));
    let failures = findings.failures.iter().map(|failure| format!("{name}: {failure}"));
    let wrong: Vec<String> = findings.refusals.iter().cloned().chain(failures).collect();
    if wrong.is_empty() {
        return Ok(());
    }
    Err(format!(
        "{}\nnothing was pushed; if nodes have what is missing here, push --no-compile",
        wrong.join("\n")
    ))
}

fn told(pushed: &Pushed) -> ExitCode {
    match pushed {
        Pushed::Same(revision) => {
            out(format_args!("revision {revision} says the same already; nothing was pushed"));
            ExitCode::SUCCESS
        }
        Pushed::Stopped(revision, why) => {
            err(format_args!(
                "odin-cli: revision {revision} was stopped, all nodes run what they ran before: \
                 {why}"
            ));
            ExitCode::FAILURE
        }
        Pushed::Current(revision, progress) => {
            let fleet::rollout::Progress { applied, refused, pending } = progress;
            let all = applied.len() + refused.len() + pending.len();
            out(format_args!("revision {revision}: {} of {all} nodes serve it", applied.len()));
            for (node, reason) in refused {
                err(format_args!("{node} refused it: {reason}"));
            }
            for (node, serves) in pending {
                err(format_args!("{node} has not said anything of it yet, and serves {serves}"));
            }
            match refused.is_empty() && pending.is_empty() {
                true => ExitCode::SUCCESS,
                false => ExitCode::FAILURE,
            }
        }
    }
}

fn rollback(etcd: Etcd, revision: u64, rollout: &Rollout) -> Result<ExitCode, String> {
    let mut fleet = Operator::connect(etcd)?;
    let base = fleet.live()?;
    let document = fleet.document(Some(revision))?;
    let note = format!("rollback to revision {revision}");
    let order = rollout.order(document.text.to_string(), note, None);
    fleet.push(&base, &order, &out).map(|pushed| told(&pushed))
}

fn at(seconds: u64) -> String {
    let mut text = Vec::new();
    rfc_3339(UNIX_EPOCH + Duration::from_secs(seconds), &mut text);
    let text = String::from_utf8_lossy(&text).into_owned();
    // To the second: nobody pushes twice in one.
    text.split_once('.').map_or_else(|| text.clone(), |(whole, _)| format!("{whole}Z"))
}

fn pushed_by(entry: &Entry) -> String {
    let note = if entry.note.is_empty() { String::new() } else { format!(": {}", entry.note) };
    format!("{} by {}{note}", at(entry.at), entry.by)
}

fn history(etcd: Etcd) -> Result<ExitCode, String> {
    let (entries, current) = Operator::connect(etcd)?.history()?;
    for entry in &entries {
        let mark = if entry.revision == current { "*" } else { " " };
        let (revision, bytes, from) = (entry.revision, entry.bytes, entry.from);
        let digest = entry.sha256.get(..12).unwrap_or_default();
        out(format_args!(
            "{mark} {revision:>5}  {}  ({bytes} bytes, {digest}, from {from})",
            pushed_by(entry)
        ));
    }
    if entries.is_empty() {
        out("no revision yet");
    }
    Ok(ExitCode::SUCCESS)
}

fn difference(etcd: Etcd, what: &str, other: Option<u64>) -> Result<ExitCode, String> {
    let mut fleet = Operator::connect(etcd)?;
    let name = |revision: u64| format!("revision {revision}");
    let (old, new) = match (what.parse::<u64>(), other) {
        (Ok(first), Some(second)) => (fleet.document(Some(first))?, fleet.document(Some(second))?),
        (Ok(first), None) => (fleet.document(Some(first))?, fleet.document(None)?),
        (Err(_), Some(second)) => {
            let old = fleet.document(Some(second))?;
            return file_difference(&name(old.revision), &old.text, what);
        }
        (Err(_), None) => {
            let old = fleet.document(None)?;
            return file_difference(&name(old.revision), &old.text, what);
        }
    };
    out(diff::unified(&name(old.revision), &old.text, &name(new.revision), &new.text).trim_end());
    Ok(ExitCode::SUCCESS)
}

fn file_difference(name: &str, old: &str, file: &str) -> Result<ExitCode, String> {
    let new = super::read_text(std::path::Path::new(file))?;
    out(diff::unified(name, old, file, &new).trim_end());
    Ok(ExitCode::SUCCESS)
}

fn status(etcd: Etcd, json: bool) -> Result<ExitCode, String> {
    let status = Operator::connect(etcd)?.status()?;
    if json {
        out(format_args!("{:#}", as_json(&status)));
        return Ok(ExitCode::SUCCESS);
    }
    let Status { live, entry, nodes } = &status;
    let current = live.revision();
    let entry = entry.as_ref().map(|entry| format!(", pushed {}", pushed_by(entry)));
    match current {
        0 => out("no revision yet; write one: odin-cli fleet push FILE"),
        _ => out(format_args!("revision {current}{}", entry.unwrap_or_default())),
    }
    if let Some((canary, _)) = &live.canary {
        let nodes = canary.nodes.join(", ");
        out(format_args!("revision {} is being tried by {nodes}", canary.revision));
    }
    let serving = nodes.iter().filter(|node| node.applied == current).count();
    out(format_args!("{serving} of {} nodes serve revision {current}", nodes.len()));
    let width = nodes.iter().map(|node| node.node.len()).max().unwrap_or(0);
    for node in nodes {
        out(format_args!("  {:width$}  {:>5}  {}", node.node, node.applied, state(node)));
    }
    Ok(ExitCode::SUCCESS)
}

fn state(node: &Report) -> String {
    let mut words = format!("{} since {}", node.health, at(node.applied_at));
    if let Some(refused) = node.refused {
        let reason = node.reason.as_deref().unwrap_or_default();
        words.push_str(&format!("; refused {refused}: {reason}"));
    }
    for problem in &node.problems {
        words.push_str(&format!("; {problem}"));
    }
    words
}

fn as_json(status: &Status) -> serde_json::Value {
    let canary = status.live.canary.as_ref();
    serde_json::json!({
        "revision": status.live.revision(),
        "pushed": status.entry,
        "canary": canary.map(|(canary, _)| serde_json::json!({
            "revision": canary.revision,
            "nodes": canary.nodes,
        })),
        "nodes": status.nodes,
    })
}

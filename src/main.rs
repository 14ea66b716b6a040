//! The gateway: arguments, configuration, then everything else in `control::process`.

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::{CommandFactory, Parser, Subcommand};
use odin::control::config::{self, Located, NotLoaded};
use odin::control::fleet::{self, NoStart};
use odin::control::process::{self, Options};
use odin::control::terminal::{err, out};
use odin::control::upgrade::Inheritance;
use odin::control::{check, descriptors, healthcheck, log, manual};
use odin::limits::LOG_END_TIMEOUT;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// EX_USAGE of sysexits.h: the command line or the configuration is wrong.
const USAGE: u8 = 64;

/// An API gateway that runs WebAssembly plugins on every request.
#[derive(Parser)]
#[command(version, args_conflicts_with_subcommands = true)]
struct Arguments {
    #[command(flatten)]
    run: Run,
    #[command(subcommand)]
    command: Option<Command>,
}

#[derive(Subcommand)]
enum Command {
    /// Run the gateway (what happens without a command, too)
    Run(Run),
    /// Check a configuration file and report all its errors
    Check {
        /// The file. Without: the one that would be run
        file: Option<PathBuf>,
        /// Read and compile plugins, look names up too: what does not work is told, and the status
        /// is 1 then
        #[arg(long)]
        deep: bool,
    },
    /// Ask the gateway that runs here whether it is well (status 0)
    Healthcheck {
        /// Its configuration file. Without: the one that would be run
        #[arg(long, value_name = "FILE")]
        config: Option<PathBuf>,
        /// Whether it is ready: every plugin and service that must work does
        #[arg(long)]
        ready: bool,
    },
    /// Print the script that completes this command line in a shell
    Completions {
        /// Which shell
        shell: manual::Shell,
    },
    /// Write the manual pages
    #[command(hide = true)]
    Man {
        /// The folder that they go to
        folder: PathBuf,
    },
}

#[derive(clap::Args)]
struct Run {
    /// The configuration file. Without: $ODIN_CONFIG, ./config/odin.yaml, /etc/odin/config.yaml,
    /// else an embedded default
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Read the configuration again whenever it, or the file of a plugin, changes on disk
    #[arg(long)]
    watch: bool,
    /// Write the process's id to this file once it serves; after a binary upgrade (SIGUSR2) that
    /// of the new process
    #[arg(long, value_name = "FILE")]
    pid_file: Option<PathBuf>,
}

fn main() -> ExitCode {
    let arguments = match Arguments::try_parse() {
        Ok(arguments) => arguments,
        Err(error) => {
            let _ = error.print();
            return if error.use_stderr() { ExitCode::from(USAGE) } else { ExitCode::SUCCESS };
        }
    };
    match arguments.command {
        Some(Command::Check { file, deep }) => check(file.as_deref(), deep),
        Some(Command::Healthcheck { config, ready }) => healthcheck(config.as_deref(), ready),
        Some(Command::Completions { shell }) => {
            out(manual::completions(shell, Arguments::command()).trim_end());
            ExitCode::SUCCESS
        }
        Some(Command::Man { folder }) => {
            written(manual::write_pages(Arguments::command(), &folder))
        }
        Some(Command::Run(run)) => start(&run),
        None => start(&arguments.run),
    }
}

fn written(result: Result<(), String>) -> ExitCode {
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(reason) => {
            err(format_args!("odin: {reason}"));
            ExitCode::FAILURE
        }
    }
}

fn check(file: Option<&Path>, is_deep: bool) -> ExitCode {
    let file = locate(file);
    let config = match file.load() {
        Ok(config) => config,
        Err(errors) => {
            err(&errors);
            return ExitCode::from(USAGE);
        }
    };
    if config.fleet.is_none() && config.lacks_services().is_some() {
        err(format_args!(
            "{file}: it has no services: every request gets 404, and a gateway that serves some \
             does not take it; write services: [] if this is meant"
        ));
    }
    if is_deep && let Err(code) = check_deeply(&file, &config) {
        return code;
    }
    out(format_args!("{file}: ok"));
    ExitCode::SUCCESS
}

/// Says all that a start would find out; what does not work is a failure.
fn check_deeply(file: &Located, config: &config::Config) -> Result<(), ExitCode> {
    // Of a node of a fleet with what it would start by.
    let kept = fleet::kept(config).map_err(|reason| {
        err(format_args!("{file}: {reason}"));
        ExitCode::FAILURE
    })?;
    if config.fleet.is_some() && kept.is_none() {
        err(format_args!("{file}: no revision of the fleet was ever applied here: not checked"));
    }
    let config = kept.as_ref().unwrap_or(config);
    let findings = check::deep(config).map_err(|reason| {
        err(format_args!("odin: {reason}"));
        ExitCode::FAILURE
    })?;
    findings.warnings.iter().for_each(|warning| err(format_args!("{file}: warning: {warning}")));
    // A start does not begin with the first, and goes on with the second.
    findings.refusals.iter().for_each(|refusal| err(format_args!("{file}: {refusal}")));
    findings.failures.iter().for_each(|failure| err(format_args!("{file}: {failure}")));
    let is_well = findings.refusals.is_empty() && findings.failures.is_empty();
    if is_well { Ok(()) } else { Err(ExitCode::FAILURE) }
}

fn healthcheck(file: Option<&Path>, is_ready: bool) -> ExitCode {
    match locate(file).load() {
        Ok(config) => written(healthcheck::ask(&config, is_ready)),
        Err(errors) => {
            err(&errors);
            ExitCode::from(USAGE)
        }
    }
}

fn start(run: &Run) -> ExitCode {
    // In a huge page one buffer in use holds 2 MiB. Measured with 8,000 busy connections: 194 MB
    // resident with them, 36 without, and no request cheaper (docs/operations.md). The allocator
    // asks for none (`no_thp`); this is for a kernel that gives them unasked ("always"). One that
    // refuses leaves them as they are, which costs memory only.
    let _ = rustix::thread::disable_transparent_huge_pages(true);
    let inheritance = match Inheritance::from_env() {
        Ok(inheritance) => inheritance,
        Err(reason) => {
            err(format_args!("odin: {reason}"));
            return ExitCode::from(USAGE);
        }
    };
    let located = locate(run.config.as_deref());
    // In the place of a process that serves, nothing of a file that is being written is taken; else
    // there is nothing to go on with.
    let loaded = match inheritance.predecessor {
        Some(_) => located.load_settled().map_err(|not_loaded| match not_loaded {
            NotLoaded::Unsettled(errors) | NotLoaded::Wrong(errors) => errors,
        }),
        None => located.load(),
    };
    let config = match loaded {
        Ok(config) => config,
        Err(errors) => {
            return refused(inheritance, &errors.to_string());
        }
    };
    let config = match fleet::begin(config) {
        Ok(config) => config,
        Err(NoStart::Wrong(reason)) => return refused(inheritance, &reason),
        Err(NoStart::Nothing(reason)) => {
            refused(inheritance, &format!("odin: {reason}"));
            return ExitCode::FAILURE;
        }
    };
    if let (Some(_), Some(reason)) = (&inheritance.predecessor, config.lacks_services()) {
        return refused(inheritance, &reason);
    }
    log::init(&config.logging);
    descriptors::raise();
    let pid_file = run.pid_file.clone();
    let options = Options { located, watches: run.watch, pid_file, inheritance };
    let code = match process::run(config, options) {
        Ok(()) => ExitCode::SUCCESS,
        Err(reason) => {
            log::say(&format!("odin: {reason}"));
            ExitCode::FAILURE
        }
    };
    log::flush(LOG_END_TIMEOUT);
    code
}

/// The configuration is not one to run by: says so, to the process that was to be replaced as well.
fn refused(inheritance: Inheritance, reason: &str) -> ExitCode {
    err(reason);
    if let Some(predecessor) = inheritance.predecessor {
        predecessor.refuse(reason);
    }
    ExitCode::from(USAGE)
}

fn locate(explicit: Option<&Path>) -> Located {
    let located = config::locate(explicit);
    if located == Located::Embedded {
        err(format_args!(
            "odin: no configuration file found (looked at $ODIN_CONFIG, {}); using the embedded \
             default: 127.0.0.1:8080 answers with builtin:echo, no plugins",
            config::FILES.join(", ")
        ));
    }
    located
}

//! `odin-cli run`: a gateway of one plugin. It is the real one, from a configuration that is made
//! here; the plugin is loaded again whenever its file changes.

use std::path::PathBuf;
use std::process::ExitCode;

use odin::control::config::Located;
use odin::control::log;
use odin::control::process::{self, Options};
use odin::control::upgrade::Inheritance;
use serde_json::json;

use super::build::Builder;
use super::certificates::Certificates;
use super::keys::Keys;

#[derive(clap::Args)]
pub(crate) struct Arguments {
    /// The module
    plugin: PathBuf,
    /// What stands behind it: http://host:port, https://host:port, or an echo
    #[arg(long, value_name = "URL", default_value = "builtin:echo")]
    to: String,
    /// Where to listen
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1:8080")]
    listen: String,
    /// Speaks TLS, and HTTP/2 with it, with a certificate that is made for this run
    #[arg(long)]
    tls: bool,
    /// What becomes of a request whose plugin fails; if not said, auth, ratelimit and aggregation
    /// plugins refuse it
    #[arg(long, value_name = "open|closed", value_parser = ["open", "closed"])]
    failure_mode: Option<String>,
    /// Builds it first, and again whenever a source in this folder changes: --build make
    #[arg(long, value_name = "COMMAND")]
    build: Option<String>,
    #[command(flatten)]
    keys: Keys,
}

/// Serves until a signal ends it; the error is one of usage.
pub(crate) fn run(arguments: &Arguments) -> Result<ExitCode, String> {
    let path = std::path::absolute(&arguments.plugin)
        .map_err(|error| format!("cannot find {}: {error}", arguments.plugin.display()))?;
    let builder = match &arguments.build {
        Some(command) => {
            let mut builder = Builder::new(command, &path)?;
            // What was built before is served until the sources are mended.
            if !builder.build()? && !path.exists() {
                return Ok(ExitCode::FAILURE);
            }
            Some(builder)
        }
        None => None,
    };
    // A typing error must not become a gateway that waits for the file.
    super::read(&path).map_err(|reason| match builder {
        Some(_) => format!("{reason}; --build has made no such file"),
        None => reason,
    })?;
    let mut entry = arguments.keys.entry(&path);
    if let Some(mode) = &arguments.failure_mode {
        entry["failureMode"] = mode.as_str().into();
    }
    let to = if arguments.to == "echo" { "builtin:echo" } else { &arguments.to };
    let (made, listen) = match arguments.tls {
        true => {
            let made = Certificates::make(&arguments.listen)?;
            made.tell(&arguments.listen);
            let listen = made.listener(&arguments.listen);
            (Some(made), listen)
        }
        false => (None, json!(arguments.listen)),
    };
    // JSON is YAML.
    let text = json!({
        "server": { "listen": listen, "workers": 1 },
        "admin": { "listen": "off" },
        "logging": { "level": "debug" },
        "wasm": { "plugins": [entry] },
        "services": [{ "name": "service", "basePath": "/", "targets": [to] }],
    });
    let located = Located::Given { text: text.to_string(), name: "the command line".to_owned() };
    let config = located.load().map_err(|errors| errors.to_string())?;
    log::init(&config.logging);
    let inheritance = Inheritance::from_env()?;
    if let Some(builder) = builder {
        // It ends with the process.
        let thread = std::thread::Builder::new().name("builder".to_owned());
        thread.spawn(|| builder.watch()).map_err(|error| format!("no thread to build: {error}"))?;
    }
    let options = Options { located, watches: true, pid_file: None, inheritance };
    let ended = process::run(config, options);
    drop(made);
    ended.map(|()| ExitCode::SUCCESS).map_err(|reason| {
        let way_out = match reason.contains("cannot listen") {
            true => "; --listen 127.0.0.1:PORT chooses another address",
            false => "",
        };
        format!("the gateway did not run: {reason}{way_out}")
    })
}

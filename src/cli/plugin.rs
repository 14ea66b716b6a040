//! `odin-cli plugin`: modules into registries and out of them, and their signatures.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::Subcommand;
use odin::control::config::{Located, Login, Modules, Reference, Remote, Secret, Shown};
use odin::control::modules::{Registries, digest, is_signed, sign, with_line};
use odin::control::terminal::out;
use odin::plugin::{PluginSpec, PluginType};
use odin::text::hex;

/// What `odin-cli plugin` does.
#[derive(Subcommand)]
pub(super) enum Action {
    /// Put a module into a registry and print the lines of a configuration that names it
    Push {
        /// The module
        file: PathBuf,
        /// Where: oci://registry/repository:tag
        to: String,
        /// The version of the module, for people. Default: the tag
        #[arg(long)]
        version: Option<String>,
        /// A JSON Schema of the plugin's config, which is kept with it
        #[arg(long, value_name = "FILE")]
        config_schema: Option<PathBuf>,
        /// Sign it with this private key (Ed25519, PEM)
        #[arg(long, value_name = "KEY")]
        sign: Option<PathBuf>,
        #[command(flatten)]
        registry: Registry,
    },
    /// Fetch a module from a registry
    Pull {
        /// From where: oci://registry/repository:tag, or @sha256:... in place of the tag
        from: String,
        /// The file that it becomes. Default: the repository's last part, with .wasm
        #[arg(long, short, value_name = "FILE")]
        output: Option<PathBuf>,
        #[command(flatten)]
        registry: Registry,
    },
    /// Say what a registry has there: digests, facts, signatures
    Inspect {
        /// Where: oci://registry/repository:tag
        from: String,
        #[command(flatten)]
        registry: Registry,
    },
    /// Sign a module: FILE.sig beside a file, or in the registry that has it
    Sign {
        /// The module: a file, or oci://registry/repository:tag
        module: String,
        /// The private key (Ed25519, PEM): openssl genpkey -algorithm ed25519
        #[arg(long, value_name = "KEY")]
        key: PathBuf,
        #[command(flatten)]
        registry: Registry,
    },
}

/// How a registry is asked.
#[derive(clap::Args)]
pub(super) struct Registry {
    /// A gateway's configuration, whose `modules` says how registries are asked
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Certificates of who signs the registry's, in PEM
    #[arg(long, value_name = "FILE")]
    ca: Option<PathBuf>,
    /// Ask without TLS
    #[arg(long)]
    plain_http: bool,
    /// A file of logins as docker login writes it. Default: ~/.docker/config.json, if there is one
    #[arg(long, value_name = "FILE")]
    docker_config: Option<PathBuf>,
    /// The user, with --password-file
    #[arg(long, value_name = "NAME", requires = "password_file")]
    username: Option<String>,
    /// A file with the password
    #[arg(long, value_name = "FILE", requires = "username")]
    password_file: Option<PathBuf>,
}

/// Does it; the error is one of usage.
pub(super) fn run(action: &Action) -> Result<ExitCode, String> {
    match action {
        Action::Push { file, to, version, config_schema, sign, registry } => {
            let to = reference(to)?;
            let facts = Facts { version: version.as_deref(), schema: config_schema.as_deref() };
            push(file, &to, &facts, sign.as_deref(), registry)
        }
        Action::Pull { from, output, registry } => {
            pull(&reference(from)?, output.as_deref(), registry)
        }
        Action::Inspect { from, registry } => inspect(&reference(from)?, registry),
        Action::Sign { module, key, registry } => sign_module(module, key, registry),
    }
}

struct Facts<'a> {
    version: Option<&'a str>,
    schema: Option<&'a Path>,
}

fn reference(text: &str) -> Result<Reference, String> {
    match Remote::of(text) {
        Some(Ok(Remote::Registry(reference))) => Ok(reference),
        Some(Err(form)) => Err(format!("got {text}, expected {form}")),
        _ => Err(format!("got {text}, expected oci://registry/repository:tag")),
    }
}

fn push(
    file: &Path,
    to: &Reference,
    facts: &Facts<'_>,
    key: Option<&Path>,
    registry: &Registry,
) -> Result<ExitCode, String> {
    if to.manifest.is_some() {
        return Err(format!("{to}: a digest is what a push makes; give a tag in its place"));
    }
    let wasm = super::read(file)?;
    let abi = abi(&wasm)
        .map_err(|why| format!("{}: a gateway would refuse it: {why}", file.display()))?;
    let line = key.map(|key| signature(key, &wasm)).transpose()?;
    let mut said = BTreeMap::from([("odin.module.abi".to_owned(), abi)]);
    if let Some(name) = file.file_name() {
        let name = name.to_string_lossy().into_owned();
        said.insert("org.opencontainers.image.title".to_owned(), name);
    }
    let version = facts.version.or(to.tag.as_deref()).unwrap_or("latest");
    said.insert("org.opencontainers.image.version".to_owned(), version.to_owned());
    if let Some(path) = facts.schema {
        let schema: serde_json::Value = serde_json::from_str(&super::read_text(path)?)
            .map_err(|error| format!("{}: is no JSON: {error}", path.display()))?;
        said.insert("odin.module.config-schema".to_owned(), schema.to_string());
    }
    let registries = registry.open(to)?;
    let pushed = registries.push(to, wasm, said)?;
    if let Some(line) = line {
        registries.add_signature(to, &pushed.module, &line)?;
    }
    let tag = to.tag.as_deref().unwrap_or("latest");
    let Reference { registry, repository, .. } = to;
    out(format_args!("# manifest: sha256:{}", hex(&pushed.manifest)));
    out(format_args!("path: oci://{registry}/{repository}:{tag}"));
    out(format_args!("sha256: {}", hex(&pushed.module)));
    Ok(ExitCode::SUCCESS)
}

fn pull(from: &Reference, output: Option<&Path>, registry: &Registry) -> Result<ExitCode, String> {
    let registries = registry.open(from)?;
    let artifact = registries.look(from)?;
    let wasm = registries.pull(from, &artifact)?;
    let last = from.repository.rsplit('/').next().unwrap_or("module");
    let file = output.map_or_else(|| PathBuf::from(format!("{last}.wasm")), Path::to_owned);
    super::write_bytes(&file, &wasm)?;
    out(format_args!("{}  {}", hex(&artifact.module), file.display()));
    Ok(ExitCode::SUCCESS)
}

fn inspect(from: &Reference, registry: &Registry) -> Result<ExitCode, String> {
    let registries = registry.open(from)?;
    let artifact = registries.look(from)?;
    out(format_args!("manifest: sha256:{}", hex(&artifact.manifest)));
    out(format_args!("sha256: {}", hex(&artifact.module)));
    artifact.facts.iter().for_each(|(name, value)| {
        out(format_args!("{}: {}", name.escape_default(), value.escape_default()));
    });
    let signatures = registries.signatures(from, &artifact.module)?;
    let lines = String::from_utf8_lossy(&signatures);
    let lines = lines.lines().filter(|line| !line.trim().is_empty()).count();
    let keys = &registry.modules(from)?.signed_by;
    let told = match (lines, keys.is_empty()) {
        (0, _) => "none".to_owned(),
        (count, true) => format!("{count}, held against no key"),
        (count, false) => match is_signed(keys, &artifact.module, &signatures)? {
            true => format!("{count}, one of them by a key of modules.signedBy"),
            false => format!("{count}, none of them by a key of modules.signedBy"),
        },
    };
    out(format_args!("signatures: {told}"));
    super::describe(&from.to_string(), &registries.pull(from, &artifact)?)
}

fn sign_module(module: &str, key: &Path, registry: &Registry) -> Result<ExitCode, String> {
    if Remote::of(module).is_some() {
        let at = reference(module)?;
        let registries = registry.open(&at)?;
        let artifact = registries.look(&at)?;
        let line = sign(&super::read(key)?, &artifact.module)
            .map_err(|why| format!("{}: {why}", key.display()))?;
        registries.add_signature(&at, &artifact.module, &line)?;
        out(format_args!("signed sha256:{} of {at}", hex(&artifact.module)));
        return Ok(ExitCode::SUCCESS);
    }
    let line = signature(key, &super::read(Path::new(module))?)?;
    let place = PathBuf::from(format!("{module}.sig"));
    let earlier = if place.exists() { super::read_text(&place)? } else { String::new() };
    super::write(&place, &with_line(&earlier, &line)?)?;
    out(format_args!("signed {module}: {}", place.display()));
    Ok(ExitCode::SUCCESS)
}

fn signature(key: &Path, wasm: &[u8]) -> Result<String, String> {
    sign(&super::read(key)?, &digest(wasm)).map_err(|why| format!("{}: {why}", key.display()))
}

/// By which ABI a gateway would run it.
fn abi(wasm: &[u8]) -> Result<String, String> {
    let spec = PluginSpec::new("pushed", PluginType::Middleware);
    let (sink, _lines) = odin::plugin::trial::collect_lines();
    odin::plugin::inspect::inspect(wasm, spec, sink)?.verdict
}

impl Registry {
    /// The configuration that asks as the command line says.
    fn modules(&self, of: &Reference) -> Result<Modules, String> {
        let mut modules = match &self.config {
            None => Modules::default(),
            Some(file) => {
                let config = Located::File(file.clone()).load();
                config.map_err(|errors| errors.to_string())?.modules
            }
        };
        if let Some(ca) = &self.ca {
            modules.ca = Some(ca.clone());
        }
        if self.plain_http {
            modules.plain_http.push(of.registry.clone());
        }
        if let (Some(name), Some(file)) = (&self.username, &self.password_file) {
            let password = super::read_text(file)?;
            let password = Secret::new(password.trim_end_matches(['\r', '\n']).to_owned());
            let shown = Some(Shown::Password(name.clone(), password));
            modules.auth.insert(0, Login { host: of.registry.clone(), shown });
        }
        let given = self.docker_config.clone().or(modules.docker_config.take());
        modules.docker_config = given.or_else(|| {
            let own = std::env::var_os("DOCKER_CONFIG").map(PathBuf::from);
            let own =
                own.or_else(|| Some(PathBuf::from(std::env::var_os("HOME")?).join(".docker")));
            own.map(|folder| folder.join("config.json")).filter(|file| file.is_file())
        });
        Ok(modules)
    }

    fn open(&self, of: &Reference) -> Result<Registries, String> {
        Registries::new(self.modules(of)?)
    }
}

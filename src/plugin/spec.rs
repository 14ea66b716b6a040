//! What the configuration says of one plugin, in the form that the workers use.
//!
//! Built by the control thread when it compiles a snapshot, immutable from then on.

mod body;

use std::fmt;
use std::time::Duration;

use serde_json::Value;

pub use self::body::BodyMode;
use super::reach::Reach;
use crate::limits;

/// What a plugin is for. The type decides when it runs, what it is given and what happens when it
/// fails (the table in docs/plugin-abi.md).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PluginType {
    /// Lets a request pass or refuses it. Fails closed.
    Auth,
    /// Counts requests and refuses what is too much. Fails closed.
    RateLimit,
    /// Changes or refuses a request.
    Request,
    /// Changes or refuses a response.
    Response,
    /// Runs in both phases.
    Middleware,
    /// Joins the responses of several calls to one.
    Aggregation,
}

impl PluginType {
    /// The type that the configuration names so.
    pub fn from_name(name: &str) -> Option<Self> {
        Some(match name {
            "auth" => Self::Auth,
            "ratelimit" => Self::RateLimit,
            "request" => Self::Request,
            "response" => Self::Response,
            "middleware" => Self::Middleware,
            "aggregation" => Self::Aggregation,
            _ => return None,
        })
    }

    /// The name in the configuration.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Auth => "auth",
            Self::RateLimit => "ratelimit",
            Self::Request => "request",
            Self::Response => "response",
            Self::Middleware => "middleware",
            Self::Aggregation => "aggregation",
        }
    }

    /// What happens to a request when the plugin fails and the configuration does not say.
    pub fn default_failure_mode(self) -> FailureMode {
        match self {
            Self::Auth | Self::RateLimit | Self::Aggregation => FailureMode::Closed,
            Self::Request | Self::Response | Self::Middleware => FailureMode::Open,
        }
    }

    /// The status of a refusal for which the plugin gave none.
    pub fn default_refusal(self) -> u16 {
        match self {
            Self::Auth => 401,
            Self::RateLimit => 429,
            Self::Request | Self::Response | Self::Middleware => 403,
            Self::Aggregation => 502,
        }
    }

    /// The status with which a plugin that fails closed answers.
    pub fn failure_status(self) -> u16 {
        match self {
            Self::Aggregation => 502,
            Self::Auth | Self::RateLimit | Self::Request | Self::Response | Self::Middleware => 503,
        }
    }

    /// Whether a plugin of this type is called in `phase`. (A `response` plugin that exports
    /// `on_request` is called in the request phase too; see [`super::Plugin::runs_in`].)
    pub fn runs_in(self, phase: Phase) -> bool {
        match self {
            Self::Auth | Self::RateLimit | Self::Request => phase == Phase::Request,
            Self::Response => phase == Phase::Response,
            Self::Middleware => phase != Phase::Aggregation,
            Self::Aggregation => phase == Phase::Aggregation,
        }
    }

    /// Whether it says who may come, and how often.
    pub fn is_guard(self) -> bool {
        match self {
            Self::Auth | Self::RateLimit => true,
            Self::Request | Self::Response | Self::Middleware | Self::Aggregation => false,
        }
    }

    /// How the plugin is given bodies when the configuration does not say.
    pub fn default_body(self) -> BodyMode {
        match self {
            Self::Auth | Self::RateLimit => BodyMode::None,
            Self::Request | Self::Response | Self::Middleware | Self::Aggregation => {
                BodyMode::Whole
            }
        }
    }

    /// Whether a missing `continue` in the output means "go on". Where it guards something, it is
    /// an error instead: a plugin must say yes to let a request pass.
    pub fn continues_by_default(self) -> bool {
        match self {
            Self::Auth | Self::RateLimit => false,
            Self::Request | Self::Response | Self::Middleware | Self::Aggregation => true,
        }
    }
}

impl fmt::Display for PluginType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// What a failed plugin does to the request: nothing, or it stops it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FailureMode {
    /// The request goes on as if the plugin were not there.
    Open,
    /// The client gets 503 (aggregation: 502).
    Closed,
}

impl FailureMode {
    /// The name in the configuration.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Open => "open",
            Self::Closed => "closed",
        }
    }
}

/// Which instances a tick calls: each of each worker, or one in the process.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[expect(missing_docs, reason = "said above")]
pub enum TickOn {
    #[default]
    Each,
    One,
}

/// Whether calls share instances.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Isolation {
    /// Instances are reused; a plugin's state lives as long as its instance.
    #[default]
    Shared,
    /// Every call gets a fresh instance.
    Request,
}

/// What a plugin that reads bodies makes of their content codings. Ordered: where several plugins
/// read a body, the last of this order holds for all.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub enum Encoding {
    /// It is given them as they are, and the other side is asked for whatever the client takes.
    Raw,
    /// It is given plain bytes, and plain bytes go on.
    #[default]
    Decode,
    /// The other side is asked for plain bytes, and what is coded all the same is refused.
    Identity,
}

impl Encoding {
    /// The name in the configuration.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Raw => "raw",
            Self::Decode => "decode",
            Self::Identity => "identity",
        }
    }
}

/// What becomes of values of fields that are not UTF-8, which some filters cannot bear.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum NonUtf8 {
    /// A request that has one is answered with 400, a response with 502; the plugin is not asked.
    #[default]
    Reject,
    /// The plugin is not told of them; they go on.
    Hide,
    /// They are given as they are.
    Pass,
}

impl NonUtf8 {
    /// The name in the configuration.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Reject => "reject",
            Self::Hide => "hide",
            Self::Pass => "pass",
        }
    }

    /// Whether a plugin is shown this value. (What is rejected is not shown either: answers to its
    /// own calls have such values too.)
    pub(super) fn shows(self, value: &[u8]) -> bool {
        self == Self::Pass || value.is_ascii() || simdutf8::basic::from_utf8(value).is_ok()
    }
}

/// What only foreign filters are told.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct FilterSpec {
    /// Which of the roots of a module it is: `plugin_root_id`.
    pub root_id: String,
    /// Whose shared data and queues it shares.
    pub vm_id: String,
    /// What `proxy_on_vm_start` reads.
    pub vm_config: String,
}

/// When a chain runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Phase {
    /// Before the request goes upstream.
    Request,
    /// When the response's head has come.
    Response,
    /// When the calls of an aggregation have been answered: before the response phase.
    Aggregation,
}

impl Phase {
    /// The name in `context.phase`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Request => "request",
            Self::Response => "response",
            Self::Aggregation => "aggregation",
        }
    }
}

/// How grave a log line is; ordered, `Trace` the least.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum LogLevel {
    /// Level 0 of `log(level, ptr, len)`.
    Trace,
    /// Level 1.
    Debug,
    /// Level 2, and `log(ptr, len)`.
    Info,
    /// Level 3.
    Warn,
    /// Level 4 and above.
    Error,
}

impl LogLevel {
    /// The level that a configuration names so.
    pub fn from_name(name: &str) -> Option<Self> {
        Some(match name {
            "trace" => Self::Trace,
            "debug" => Self::Debug,
            "info" => Self::Info,
            "warn" | "warning" => Self::Warn,
            "error" => Self::Error,
            _ => return None,
        })
    }

    /// The name in a log.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Trace => "trace",
            Self::Debug => "debug",
            Self::Info => "info",
            Self::Warn => "warn",
            Self::Error => "error",
        }
    }
}

/// One plugin as configured.
#[derive(Debug, Clone)]
pub struct PluginSpec {
    /// Its unique name.
    pub name: String,
    /// Its type.
    pub kind: PluginType,
    /// Lower runs first.
    pub priority: i64,
    /// Wall time of one call, waiting for an instance and for host functions included.
    pub timeout: Duration,
    /// What happens when it fails.
    pub failure_mode: FailureMode,
    /// Whether the configuration says so; else it goes by the type, and by the ABI.
    pub failure_mode_is_given: bool,
    /// How it is given bodies.
    pub body: BodyMode,
    /// Whether the configuration says so.
    pub body_is_given: bool,
    /// What becomes of values that are not UTF-8; `None`: by the ABI.
    pub non_utf8: Option<NonUtf8>,
    /// What only foreign filters are told.
    pub filter: FilterSpec,
    /// Whether a body that is too large to collect streams past it instead of being refused.
    pub passes_large_bodies: bool,
    /// What becomes of the content codings of bodies that it is given.
    pub encoding: Encoding,
    /// Most memory of one instance, in pages of 64 KiB.
    pub max_memory_pages: u32,
    /// Most instances over all workers; each worker may have its share, at least one.
    pub instances_max: u32,
    /// How many workers share `instances_max`.
    pub workers: u32,
    /// Instances that each worker makes before the first request; cut to its share.
    pub premade: u32,
    /// Whether calls share instances.
    pub isolation: Isolation,
    /// Between two ticks of a plugin of the JSON ABI.
    pub tick: Option<Duration>,
    /// Who ticks.
    pub tick_on: TickOn,
    /// The normalised paths that it applies to; `None`: every path.
    pub allowed_urls: Option<regex::RegexSet>,
    /// Log lines below this level are dropped.
    pub log_level: LogLevel,
    /// What it may reach outside of its memory.
    pub reach: Reach,
    config: Value,
    config_json: String,
    /// The configuration as the text that it was given as.
    verbatim: Option<String>,
}

impl PluginSpec {
    /// A plugin with every default of its type and the configuration's defaults else.
    pub fn new(name: impl Into<String>, kind: PluginType) -> Self {
        Self {
            name: name.into(),
            kind,
            priority: 100,
            timeout: limits::PLUGIN_TIMEOUT,
            failure_mode: kind.default_failure_mode(),
            failure_mode_is_given: false,
            body: kind.default_body(),
            body_is_given: false,
            non_utf8: None,
            filter: FilterSpec::default(),
            passes_large_bodies: false,
            encoding: Encoding::default(),
            max_memory_pages: limits::PLUGIN_MEMORY_PAGES_MAX,
            instances_max: limits::PLUGIN_INSTANCES_MAX,
            workers: 1,
            premade: limits::PLUGIN_INSTANCES_PREMADE,
            isolation: Isolation::default(),
            tick: None,
            tick_on: TickOn::default(),
            allowed_urls: None,
            log_level: LogLevel::Info,
            reach: Reach::default(),
            config: Value::Object(serde_json::Map::new()),
            config_json: "{}".to_owned(),
            verbatim: None,
        }
    }

    /// Sets the plugin's own `config`: an object, or a text, which a foreign filter is given as it
    /// is (what it says counts where it is an object as JSON). Anything else counts as an empty
    /// object.
    ///
    /// Its `logLevel` (or `debug: true`) also sets the level from which the plugin's lines are
    /// logged: to find out what one plugin does, nobody has to turn the whole gateway's log up.
    pub fn set_config(&mut self, config: Value) {
        let (config, verbatim) = match config {
            Value::String(text) => (serde_json::from_str(&text).unwrap_or_default(), Some(text)),
            config => (config, None),
        };
        self.verbatim = verbatim;
        self.config = match config {
            Value::Object(_) => config,
            _ => Value::Object(serde_json::Map::new()),
        };
        self.config_json = self.config.to_string();
        let named = self.config.get("logLevel").and_then(Value::as_str);
        if let Some(level) = named.and_then(LogLevel::from_name) {
            self.log_level = level;
        } else if self.config.get("debug") == Some(&Value::Bool(true)) {
            self.log_level = self.log_level.min(LogLevel::Debug);
        }
    }

    /// The plugin's own `config`, always an object.
    pub fn config(&self) -> &Value {
        &self.config
    }

    /// `config` as JSON text, made once.
    pub fn config_json(&self) -> &str {
        &self.config_json
    }

    /// The configuration as the text that it was given as; `None`: it was given as an object.
    pub fn verbatim_config(&self) -> Option<&str> {
        self.verbatim.as_deref()
    }

    /// What `proxy_on_configure` reads: the text, or the object as JSON; nothing of an empty one.
    pub fn filter_config(&self) -> &str {
        match (&self.verbatim, self.config_json.as_str()) {
            (Some(text), _) => text,
            (None, "{}") => "",
            (None, json) => json,
        }
    }

    /// How many instances one worker may have at a time; at least one.
    pub fn instances_per_worker(&self) -> u32 {
        (self.instances_max / self.workers.max(1)).max(1)
    }

    /// Whether a plugin made with `other` behaves as one made with this: a reload keeps it then,
    /// with its instances.
    pub fn is_same_as(&self, other: &Self) -> bool {
        // Taken apart, so that a new field cannot be forgotten here.
        let Self {
            name,
            kind,
            priority,
            timeout,
            failure_mode,
            failure_mode_is_given: _,
            body,
            body_is_given: _,
            non_utf8,
            filter,
            passes_large_bodies,
            encoding,
            max_memory_pages,
            instances_max,
            workers,
            premade,
            isolation,
            tick,
            tick_on,
            allowed_urls,
            log_level,
            reach,
            config: _,
            config_json,
            verbatim,
        } = self;
        let patterns =
            |set: &Option<regex::RegexSet>| set.as_ref().map(|set| set.patterns().to_vec());
        let numbers = (priority, timeout, max_memory_pages, instances_max, workers, premade);
        let bodies = (body, passes_large_bodies, encoding);
        let modes = (kind, failure_mode, bodies, isolation, log_level);
        *name == other.name
            && numbers
                == (
                    &other.priority,
                    &other.timeout,
                    &other.max_memory_pages,
                    &other.instances_max,
                    &other.workers,
                    &other.premade,
                )
            && modes
                == (
                    &other.kind,
                    &other.failure_mode,
                    (&other.body, &other.passes_large_bodies, &other.encoding),
                    &other.isolation,
                    &other.log_level,
                )
            && patterns(allowed_urls) == patterns(&other.allowed_urls)
            && *config_json == other.config_json
            && (non_utf8, filter, verbatim) == (&other.non_utf8, &other.filter, &other.verbatim)
            && (tick, tick_on) == (&other.tick, &other.tick_on)
            && reach.is_same_as(&other.reach)
    }

    /// Whether it applies to `path` (normalised, without query).
    pub fn applies_to(&self, path: &str) -> bool {
        self.allowed_urls.as_ref().is_none_or(|patterns| patterns.is_match(path))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_plugins_own_config_sets_the_level_of_its_log() {
        for (config, level) in [
            (r#"{"debug":true,"logLevel":"trace"}"#, LogLevel::Trace),
            (r#"{"debug":true}"#, LogLevel::Debug),
            (r#"{"logLevel":"error"}"#, LogLevel::Error),
            (r#"{"logLevel":"loud","debug":"yes"}"#, LogLevel::Info),
            ("[]", LogLevel::Info),
        ] {
            let mut spec = PluginSpec::new("p", PluginType::Auth);
            spec.set_config(serde_json::from_str(config).unwrap());
            assert_eq!(spec.log_level, level, "{config}");
        }
    }

    #[test]
    fn a_worker_has_its_share_of_the_instances_and_never_less_than_one() {
        let mut spec = PluginSpec::new("p", PluginType::Auth);
        for (instances_max, workers, share) in [(10, 1, 10), (10, 4, 2), (1, 8, 1), (0, 0, 1)] {
            (spec.instances_max, spec.workers) = (instances_max, workers);
            assert_eq!(spec.instances_per_worker(), share);
        }
    }
}

//! Validates JSON bodies against a JSON Schema: the decision, from the body to the answer. The
//! schema is compiled in [`schema`], applied in [`check`]; [`format`] knows the formats.
//!
//! As a `request` plugin it refuses bodies that don't fit with 400 and all that is wrong with them;
//! as a `response` plugin it keeps a service's answer that doesn't fit from the client, with 502.

mod check;
mod format;
mod instance;
mod schema;

use odin_plugin::{Context, Error, Outcome, Plugin, Request, Response, host};
use serde::Deserialize;
use serde_json::{Value, json};

use check::Mistake;
use schema::Schema;

/// The plugin's `config` block.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Config {
    /// The path of the schema's file.
    schema_path: Option<String>,
    /// The schema itself, in the place of a path.
    schema: Option<Value>,
    /// Whether properties that the schema does not name are mistakes, bodies must say that they are
    /// JSON, and keywords that this plugin does not know are refused.
    #[serde(default)]
    strict: bool,
    /// The methods whose requests must have a body that fits.
    #[serde(default = "Config::default_methods")]
    methods: Vec<String>,
    /// How many mistakes are told at most.
    #[serde(default = "Config::default_mistakes_max")]
    max_errors: usize,
    /// Whether requests that don't fit are only logged and counted: to try a schema out.
    #[serde(default)]
    report_only: bool,
}

impl Config {
    fn default_methods() -> Vec<String> {
        ["POST", "PUT", "PATCH"].map(str::to_owned).to_vec()
    }

    const fn default_mistakes_max() -> usize {
        20
    }
}

struct Validator {
    schema: Schema,
    strict: bool,
    methods: Vec<String>,
    mistakes_max: usize,
    report_only: bool,
}

impl Plugin for Validator {
    type Config = Config;

    fn new(config: Config) -> Result<Self, Error> {
        let schema = match (config.schema, config.schema_path) {
            (Some(schema), None) => schema,
            (None, Some(path)) => serde_json::from_slice(&host::read_file(&path)?)
                .map_err(|cause| Error::new(format!("{path}: {cause}")))?,
            (None, None) => return Err(Error::new("there is neither schemaPath nor schema")),
            (Some(_), Some(_)) => return Err(Error::new("there are both schemaPath and schema")),
        };
        Ok(Self {
            schema: Schema::compile(&schema, config.strict)?,
            strict: config.strict,
            methods: config.methods,
            mistakes_max: config.max_errors.max(1),
            report_only: config.report_only,
        })
    }

    fn on_request(&mut self, _: &Context, request: &Request) -> Result<Outcome, Error> {
        if !self.methods.iter().any(|method| method.eq_ignore_ascii_case(request.method())) {
            return Ok(Outcome::next());
        }
        let types: Vec<&str> = request.headers().get_all("content-type").collect();
        if types.len() > 1 || types.iter().any(|kind| !is_utf8(kind)) {
            // What is judged here would be read otherwise by the service.
            let text = "the body must have one Content-Type, and be UTF-8";
            return self.answer(415, text, &[]);
        }
        if self.strict && !is_json(request.header("content-type")) {
            let text = "the body must be JSON (Content-Type: application/json)";
            return self.answer(415, text, &[]);
        }
        let mistakes = self.mistakes(&request.body()?);
        if mistakes.is_empty() {
            return Ok(Outcome::next());
        }
        self.answer(400, "the request does not fit its schema", &mistakes)
    }

    fn on_response(&mut self, _: &Context, response: &Response) -> Result<Outcome, Error> {
        // Errors of the service have their own shape, and what is no JSON is not meant; when strict,
        // what does not say what it is, is.
        let kind = response.header("content-type");
        let is_meant = is_json(kind) || (self.strict && kind.is_none());
        let has_body =
            response.request().method() != "HEAD" && !matches!(response.status(), 204 | 205);
        if !(200..300).contains(&response.status()) || !is_meant || !has_body {
            return Ok(Outcome::next());
        }
        let mistakes = self.mistakes(&response.body()?);
        if mistakes.is_empty() {
            return Ok(Outcome::next());
        }
        for mistake in &mistakes {
            host::warn(&format!("response: {}: {}", mistake.at, mistake.text));
        }
        // What the service's data look like is not the client's business.
        self.answer(502, "the service's response does not fit its schema", &[])
    }
}

impl Validator {
    fn mistakes(&self, body: &[u8]) -> Vec<Mistake> {
        if body.iter().all(u8::is_ascii_whitespace) {
            return vec![Mistake::new("", "there is no body")];
        }
        match instance::read(body) {
            Ok(instance) => self.schema.check(&instance, self.mistakes_max),
            Err(cause) => vec![Mistake::new("", format!("not JSON: {cause}"))],
        }
    }

    fn answer(&self, status: u16, text: &str, mistakes: &[Mistake]) -> Result<Outcome, Error> {
        host::count("refused_total", 1);
        if self.report_only {
            for mistake in mistakes {
                host::info(&format!("{}: {}", mistake.at, mistake.text));
            }
            return Ok(Outcome::next());
        }
        let mut body = json!({"error": text});
        if !mistakes.is_empty() {
            let all = mistakes.iter().map(|one| json!({"path": one.at, "message": one.text}));
            body["details"] = all.collect();
        }
        Outcome::respond(status).json(&body)
    }
}

/// Whether a type names no charset, or that of JSON.
fn is_utf8(content_type: &str) -> bool {
    content_type.split(';').skip(1).all(|parameter| {
        let (name, value) = parameter.split_once('=').unwrap_or((parameter, ""));
        let value = value.trim().trim_matches('"');
        let is = |charset: &str| value.eq_ignore_ascii_case(charset);
        !name.trim().eq_ignore_ascii_case("charset") || is("utf-8") || is("utf8") || is("us-ascii")
    })
}

/// `application/json` and its kin (RFC 6839), whatever parameters follow.
fn is_json(content_type: Option<&str>) -> bool {
    let essence = content_type.unwrap_or_default().split(';').next().unwrap_or_default().trim();
    essence.eq_ignore_ascii_case("application/json")
        || essence
            .get(essence.len().saturating_sub(5)..)
            .is_some_and(|tail| essence.contains('/') && tail.eq_ignore_ascii_case("+json"))
}

odin_plugin::export!(Validator);

#[cfg(test)]
mod tests;

//! Budgets for live answers: counts what passes of a stream of server-sent events, as a language
//! model sends them, per user, and ends the stream where the budget is spent.
//!
//! All counting happens in the gateway's shared state, by its atomic operations, so a budget holds
//! over all workers and over all streams of a user that are open at once; with a Redis over all
//! gateways.

mod usage;

use odin_plugin::stream::{Body, Chunk, Passed};
use odin_plugin::{Context, Error, Outcome, Period, Plugin, Request, Response, host, kv};
use serde::{Deserialize, Serialize};

/// The plugin's `config` block.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Config {
    /// What a user may have in a window.
    budget: i64,
    #[serde(default = "Config::default_window")]
    window: Period,
    #[serde(default)]
    unit: Unit,
    #[serde(default)]
    at_budget: AtBudget,
    /// The metadata that names the user, which an auth plugin has left.
    #[serde(default = "Config::default_subject")]
    subject_metadata: String,
}

impl Config {
    const fn default_window() -> Period {
        Period::from_seconds(24 * 60 * 60)
    }

    fn default_subject() -> String {
        "subject".to_owned()
    }
}

/// What is counted.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
enum Unit {
    /// Events that bring some text, corrected by the usage that the answer tells of itself.
    #[default]
    Tokens,
    /// Bytes of the body.
    Bytes,
}

/// What becomes of a stream whose budget is spent.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
enum AtBudget {
    /// It ends whole, with an event that says why.
    #[default]
    End,
    /// It is cut off visibly.
    Cut,
}

struct Meter {
    config: Config,
}

impl Meter {
    fn key(&self, context: &Context) -> Vec<u8> {
        let subject: Option<String> = context.metadata(&self.config.subject_metadata);
        let user = match subject {
            Some(subject) => format!("user:{subject}"),
            None => format!("address:{}", context.client_ip()),
        };
        format!("meter:{user}").into_bytes()
    }
}

impl Plugin for Meter {
    type Config = Config;

    fn new(config: Config) -> Result<Self, Error> {
        if config.budget < 1 {
            return Err(Error::new(format!("budget is {}, must be at least 1", config.budget)));
        }
        if config.window.millis() < 1 {
            return Err(Error::new("window is 0, must be at least 1ms"));
        }
        Ok(Self { config })
    }

    /// Who has spent it all gets no new answer.
    fn on_request(&mut self, context: &Context, _: &Request) -> Result<Outcome, Error> {
        // By adding nothing: a budget that is not there begins with the first request.
        let spent = kv::increment(&self.key(context), 0, self.config.window.millis())?;
        if spent < self.config.budget {
            return Ok(Outcome::next());
        }
        host::count("refused_total", 1);
        Outcome::respond(429).json(&refusal(self.config.budget))
    }
}

/// What says that there is no more: `{"error": {"type": "budget_exceeded", "budget": 3}}`.
#[derive(Serialize)]
struct Refusal {
    error: Exceeded,
}

#[derive(Serialize)]
struct Exceeded {
    #[serde(rename = "type")]
    kind: &'static str,
    budget: i64,
}

fn refusal(budget: i64) -> Refusal {
    Refusal { error: Exceeded { kind: "budget_exceeded", budget } }
}

/// A live answer.
struct Answer {
    key: Vec<u8>,
    /// What was counted of it.
    counted: i64,
    /// Bytes of a body that is no stream of events, for which four are a token.
    bytes: i64,
}

impl Body for Answer {
    type Plugin = Meter;

    fn of_response(
        meter: &mut Meter,
        context: &Context,
        _: &Response,
    ) -> Result<Option<Self>, Error> {
        Ok(Some(Self { key: meter.key(context), counted: 0, bytes: 0 }))
    }

    fn chunk(&mut self, meter: &mut Meter, chunk: Chunk) -> Result<Passed, Error> {
        let is_event = chunk.event().is_some();
        let by = self.cost(meter.config.unit, &chunk);
        if by == 0 {
            return Ok(Passed::pass());
        }
        self.counted += by;
        host::count("counted_total", by);
        let spent = kv::increment(&self.key, by, meter.config.window.millis())?;
        if spent <= meter.config.budget {
            return Ok(Passed::pass());
        }
        host::count("ended_total", 1);
        Ok(match meter.config.at_budget {
            AtBudget::Cut => Passed::cut("the budget is spent"),
            // In the middle of anything else there is no way to say why.
            AtBudget::End if !is_event => Passed::cut("the budget is spent"),
            AtBudget::End => {
                let data = serde_json::to_string(&refusal(meter.config.budget))?;
                let event = format!("event: error\ndata: {data}\n\n");
                Passed::end(event)
            }
        })
    }
}

impl Answer {
    /// What a piece costs.
    fn cost(&mut self, unit: Unit, chunk: &Chunk) -> i64 {
        let length = i64::try_from(chunk.bytes().len()).unwrap_or(i64::MAX);
        match (unit, chunk.event()) {
            (Unit::Bytes, _) => length,
            (Unit::Tokens, Some(event)) => match usage::of(&event.data) {
                usage::Usage::Told(tokens) => (tokens - self.counted).max(0),
                usage::Usage::Text => 1,
                usage::Usage::None => 0,
            },
            (Unit::Tokens, None) => {
                let before = (self.bytes + 3) / 4;
                self.bytes += length;
                (self.bytes + 3) / 4 - before
            }
        }
    }
}

odin_plugin::export!(Meter, response_body Answer);

#[cfg(test)]
mod tests;

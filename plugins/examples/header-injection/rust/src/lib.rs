//! Adds and removes headers, as its configuration says: `addHeaders` is a map of names to values
//! (or lists of values), `removeHeaders` a list of names.
//!
//! As a `request` plugin it changes what the service sees, as a `response` plugin what the client
//! sees, as `middleware` both. A header that stands in both lists is set.

use odin_plugin::{Context, Error, Outcome, Plugin, Request, Response};
use serde::Deserialize;

/// The plugin's `config` block.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct Config {
    add_headers: std::collections::BTreeMap<String, OneOrMany>,
    remove_headers: Vec<String>,
}

#[derive(Debug, Deserialize)]
#[serde(untagged)]
enum OneOrMany {
    One(String),
    Many(Vec<String>),
}

/// Headers of a response that say whether it may be stored, or make it one client's.
const OF_STORING: [&str; 5] = ["cache-control", "expires", "pragma", "set-cookie", "vary"];
/// Of those, what is put in the place of a service's says nothing of what it had said.
const NOT_REPLACED: [&str; 2] = ["set-cookie", "vary"];
/// Under this, plugins tell a cache behind them that what it sees is not to be stored.
const UNCACHEABLE: &str = "odin.uncacheable";

/// The outcome of every call: it depends on the configuration alone.
struct HeaderInjection {
    outcome: Outcome,
    /// What it takes off a response that a cache has to know.
    hides: Vec<String>,
}

impl Plugin for HeaderInjection {
    type Config = Config;

    fn new(config: Config) -> Result<Self, Error> {
        let mut outcome = Outcome::next();
        let is_one_of =
            |list: &[&str], name: &str| list.iter().any(|one| name.eq_ignore_ascii_case(one));
        let removed = config.remove_headers.iter().filter(|name| is_one_of(&OF_STORING, name));
        let set = config.add_headers.keys().filter(|name| is_one_of(&NOT_REPLACED, name));
        let hides = removed.chain(set).cloned().collect();
        for name in config.remove_headers {
            outcome = outcome.remove_header(name);
        }
        for (name, values) in config.add_headers {
            outcome = match values {
                OneOrMany::One(value) => outcome.set_header(name, value),
                OneOrMany::Many(values) => outcome.set_header_values(name, values),
            };
        }
        Ok(Self { outcome, hides })
    }

    fn on_request(&mut self, _: &Context, _: &Request) -> Result<Outcome, Error> {
        Ok(self.outcome.clone())
    }

    fn on_response(&mut self, _: &Context, response: &Response) -> Result<Outcome, Error> {
        let outcome = self.outcome.clone();
        let is_hidden = self.hides.iter().any(|name| response.header(name).is_some());
        Ok(if is_hidden { outcome.set_metadata(UNCACHEABLE, &true) } else { outcome })
    }
}

odin_plugin::export!(HeaderInjection);

#[cfg(test)]
mod tests {
    use super::*;
    use odin_plugin::testing::Gateway;
    use serde_json::{Value, json};

    fn headers_after(config: Value) -> Value {
        let mut gateway = Gateway::<HeaderInjection>::new(config);
        let output = gateway.request("GET", "http://host/api", &[("Cookie", "a=b")], "");
        output["response"]["headers"].clone()
    }

    #[test]
    fn headers_are_added_and_removed() {
        let config = json!({
            "addHeaders": {"X-Gateway": "Odin", "Via": ["1.1 a", "1.1 b"]},
            "removeHeaders": ["Cookie"],
        });
        let expected = json!({"X-Gateway": ["Odin"], "Via": ["1.1 a", "1.1 b"], "Cookie": []});
        assert_eq!(headers_after(config), expected);
    }

    #[test]
    fn a_header_in_both_lists_is_set() {
        let config = json!({"addHeaders": {"X-A": "new"}, "removeHeaders": ["x-a"]});
        assert_eq!(headers_after(config), json!({"X-A": ["new"]}));
    }

    #[test]
    fn an_empty_configuration_changes_nothing() {
        assert_eq!(headers_after(json!({})), Value::Null);
    }

    #[test]
    fn a_value_that_is_no_string_is_refused_with_its_place() {
        let mut gateway = Gateway::<HeaderInjection>::new(json!({"addHeaders": {"X-A": 1}}));
        let output = gateway.request("GET", "http://host/", &[], "");
        let error = output["error"].as_str().unwrap_or_default().to_owned();
        assert!(error.starts_with("config: "), "{error}");
    }
}

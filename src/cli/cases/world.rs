//! What stands for the world in a case: files, shared state, the answers to `http_call`. A plugin
//! reaches of it what a gateway would let it reach.

use std::cell::RefCell;
use std::rc::Rc;
use std::time::Instant;

use odin::control::reach;
use odin::http::message::{BodyLength, Fields, ResponseHead};
use odin::kv::{self, Backends};
use odin::plugin::trial::Answers;
use odin::plugin::{GivenFile, Plugin, Reach, Url};
use odin::upstream::call::Answer;
use serde_json::{Value, json};

use super::{Content, Ground, Stub, body_of, lists, text_of};

impl Ground<'_> {
    pub(super) fn files(&self) -> Result<Vec<GivenFile>, String> {
        let config = Value::Object(self.config.clone());
        let given = self.host.files.iter().flatten();
        // A gateway reads no others.
        let given = given.filter(|(path, _)| reach::names_file(&config, path));
        let given = given.map(|(path, content)| {
            let bytes = match content {
                Content::Text(text) => text.clone().into_bytes(),
                Content::File { from } => super::super::read(&self.folder.join(from))?,
            };
            Ok(GivenFile { path: path.clone(), contents: Ok(bytes.into()) })
        });
        given.collect()
    }

    pub(super) fn reach(&self, plugin: &Plugin, files: Vec<GivenFile>) -> Result<Reach, String> {
        let mut reach = Reach { files, ..Reach::default() };
        if plugin.uses().state {
            // What the config says of it must be right, though the case's store is used. (Where the
            // gateway's own Redis is asked for, it has one.)
            let redis = kv::config::RedisConfig::at("127.0.0.1").ok();
            let with_redis = kv::config::Config { redis, ..kv::config::Config::default() };
            kv::config::Selection::from_plugin_config(plugin.spec.config(), &with_redis)?;
            let gateway = kv::config::Config::default();
            // Nobody listens on port 1.
            let config = match self.host.kv_is_down.unwrap_or(false) {
                true => json!({ "backend": "redis", "redis": { "host": "127.0.0.1:1" } }),
                false => json!({ "backend": "memory" }),
            };
            let selection = kv::config::Selection::from_plugin_config(&config, &gateway)?;
            let mut backends = Backends::new(&gateway, Instant::now());
            let tls = |_: &str| Err("a case's state is never behind TLS".to_owned());
            reach.state = Some(backends.bind(&selection, "under-test", &tls)?);
        }
        Ok(reach)
    }

    pub(super) fn answers(&self, calls: Rc<RefCell<Vec<String>>>) -> Answers {
        let stubs = self.host.http.clone().unwrap_or_default();
        let services = self.host.services.clone().unwrap_or_default();
        let config = Value::Object(self.config.clone());
        Box::new(move |method, url| {
            check_reach(url, &config, &services)?;
            calls.borrow_mut().push(url.to_owned());
            let is_it =
                |stub: &&Stub| stub.url == url && stub.method.as_deref().unwrap_or("GET") == method;
            let Some(stub) = stubs.iter().find(is_it) else {
                return Err(format!(
                    "the case has no answer for {method} {url}; give it one under host.http"
                ));
            };
            if let Some(error) = &stub.error {
                return Err(error.clone());
            }
            let mut fields = Fields::new();
            for (name, values) in lists(&stub.headers) {
                for value in values.as_array().into_iter().flatten() {
                    fields.push(name.as_bytes(), text_of(value).as_bytes());
                }
            }
            let body = body_of(stub.body.as_deref(), stub.json.as_ref()).into_bytes();
            let length = BodyLength::Known(body.len() as u64);
            let status = stub.status.unwrap_or(200);
            let head = ResponseHead { status, fields, body: length, upgrade: None };
            Ok(Answer { head, body, held: None })
        })
    }
}

/// A gateway answers no call elsewhere.
fn check_reach(url: &str, config: &Value, services: &[String]) -> Result<(), String> {
    let url = Url::parse(url)?;
    if services.contains(&url.host) || reach::names_url(config, &url) {
        return Ok(());
    }
    let host = &url.host;
    Err(format!(
        "{host} is not allowed: the plugin's config names it neither as a URL nor in allowedHosts; \
         if it is a service of the gateway, say so in the case: host: {{services: [{host}]}}"
    ))
}

//! An Envoy filter by the Rust SDK of proxy-wasm, unmodified: what the SDK's public examples do,
//! chosen by the first word of its configuration.
#![allow(missing_docs, unsafe_code, reason = "the SDK's macro")]

use std::time::Duration;

use proxy_wasm::hostcalls;
use proxy_wasm::traits::{Context, HttpContext, RootContext};
use proxy_wasm::types::{Action, ContextType, LogLevel, MetricType};

proxy_wasm::main! {{
    proxy_wasm::set_log_level(LogLevel::Trace);
    proxy_wasm::set_root_context(|_| Box::new(Root::default()));
}}

#[derive(Default)]
struct Root {
    mode: String,
    rest: String,
    queue: Option<u32>,
}

impl Context for Root {}

impl RootContext for Root {
    fn on_configure(&mut self, size: usize) -> bool {
        let bytes = self.get_plugin_configuration().unwrap_or_default();
        if bytes.len() != size {
            return false;
        }
        let text = String::from_utf8(bytes).unwrap_or_default();
        let (mode, rest) = text.split_once(' ').unwrap_or((&text, ""));
        (self.mode, self.rest) = (mode.to_owned(), rest.to_owned());
        match mode {
            "refuse" => return false,
            "tick" => self.set_tick_period(Duration::from_millis(10)),
            "queue" => self.queue = Some(self.register_shared_queue("jobs")),
            "trap" if rest == "configure" => panic!("asked to"),
            _ => {}
        }
        true
    }

    fn on_tick(&mut self) {
        count(self, "ticks");
    }

    fn on_queue_ready(&mut self, queue: u32) {
        while let Ok(Some(job)) = self.dequeue_shared_queue(queue) {
            let _ = self.set_shared_data("job", Some(&job), None);
            count(self, "jobs");
        }
    }

    fn create_http_context(&self, id: u32) -> Option<Box<dyn HttpContext>> {
        let (mode, rest) = (self.mode.clone(), self.rest.clone());
        Some(Box::new(Exchange { id, mode, rest, queue: self.queue, counted: 0 }))
    }

    fn get_type(&self) -> Option<ContextType> {
        Some(ContextType::HttpContext)
    }
}

/// Adds one to a number of the shared data, whoever else does.
fn count(context: &dyn Context, key: &str) -> u64 {
    loop {
        let (value, cas) = context.get_shared_data(key);
        let number = value.and_then(|bytes| bytes.try_into().ok()).map_or(0, u64::from_le_bytes);
        let more = number + 1;
        if context.set_shared_data(key, Some(&more.to_le_bytes()), cas).is_ok() {
            return more;
        }
    }
}

fn number(context: &dyn Context, key: &str) -> u64 {
    let (value, _) = context.get_shared_data(key);
    value.and_then(|bytes| bytes.try_into().ok()).map_or(0, u64::from_le_bytes)
}

struct Exchange {
    id: u32,
    mode: String,
    rest: String,
    queue: Option<u32>,
    /// Bytes of bodies that it was given.
    counted: usize,
}

fn contains(bytes: &[u8], word: &str) -> bool {
    bytes.windows(word.len().max(1)).any(|part| part == word.as_bytes())
}

impl Exchange {
    fn number(&self) -> usize {
        self.rest.parse().unwrap_or(usize::MAX)
    }

    fn traps(&self, at: &str) {
        assert!(self.mode != "trap" || self.rest != at, "asked to");
    }

    fn call(&self) {
        let headers = vec![
            (":method", "GET"),
            (":path", "/check?who=filter"),
            (":authority", "auth.test"),
            ("x-asks", "filter"),
        ];
        let timeout = Duration::from_secs(2);
        let called = self.dispatch_http_call(&self.rest, headers, None, vec![], timeout);
        if let Err(status) = called {
            let body = format!("no call: {status:?}");
            self.send_http_response(500, vec![], Some(body.as_bytes()));
        }
    }
}

impl Context for Exchange {
    fn on_http_call_response(&mut self, _: u32, headers: usize, size: usize, _: usize) {
        self.traps("call");
        let status = self.get_http_call_response_header(":status").unwrap_or_default();
        let body = self.get_http_call_response_body(0, size).unwrap_or_default();
        if status == "200" && body.starts_with(b"yes") {
            if self.mode == "hold" {
                self.set_http_request_body(0, 0, b"allowed: ");
                return self.resume_http_request();
            }
            self.set_http_request_header("x-allowed", Some("1"));
            self.resume_http_request();
        } else {
            let told = format!("status {status:?}, {headers} headers, {size} bytes");
            self.send_http_response(403, vec![("x-why", "filter")], Some(told.as_bytes()));
        }
    }

    fn on_done(&mut self) -> bool {
        self.traps("done");
        true
    }
}

impl Drop for Exchange {
    fn drop(&mut self) {
        count(self, "dropped");
    }
}

impl HttpContext for Exchange {
    fn on_http_request_headers(&mut self, count_of: usize, is_all: bool) -> Action {
        self.traps("request");
        match self.mode.as_str() {
            "headers" => {
                let all = self.get_http_request_headers();
                assert_eq!(all.len(), count_of);
                for (name, value) in &all {
                    let _ = hostcalls::log(LogLevel::Debug, &format!("{name}: {value}"));
                }
                let path = self.get_http_request_header(":path").unwrap_or_default();
                self.set_http_request_header("x-path", Some(&path));
                self.set_http_request_header("x-end", Some(if is_all { "yes" } else { "no" }));
                self.set_http_request_header("x-remove", None);
                self.add_http_request_header("x-many", "1");
                self.add_http_request_header("x-many", "2");
                if path == "/old" {
                    self.set_http_request_header(":path", Some("/new?by=filter"));
                }
            }
            "auth" => {
                self.call();
                return Action::Pause;
            }
            "pause" => return Action::Pause,
            "deny" => {
                self.send_http_response(418, vec![("x-deny", "1")], Some(b"no tea"));
                self.send_http_response(200, vec![], Some(b"second"));
                return Action::Pause;
            }
            "queue" => {
                if let Some(queue) = self.queue {
                    let _ = self.enqueue_shared_queue(queue, Some(b"a job"));
                }
            }
            "spin" => loop {
                std::hint::black_box(0);
            },
            "hog" => {
                let mut all = Vec::new();
                loop {
                    all.push(vec![1_u8; 1024 * 1024]);
                    std::hint::black_box(&all);
                }
            }
            "property" => {
                self.set_property(vec!["mine"], Some(b"set"));
            }
            _ => {}
        }
        Action::Continue
    }

    fn on_http_request_body(&mut self, size: usize, is_end: bool) -> Action {
        self.traps("request-body");
        let body = |this: &Self| this.get_http_request_body(0, size).unwrap_or_default();
        match self.mode.as_str() {
            "body" => {
                if !is_end {
                    return Action::Pause;
                }
                let text = String::from_utf8_lossy(&body(self)).replace("secret", "******!");
                self.set_http_request_body(0, size, text.as_bytes());
            }
            "upper" => {
                self.counted += size;
                self.set_http_request_body(0, size, &body(self).to_ascii_uppercase());
            }
            "gather" if !is_end && size < self.number() => return Action::Pause,
            "hold" if is_end => {
                self.call();
                return Action::Pause;
            }
            "refuse-at" if contains(&body(self), &self.rest) => {
                self.send_http_response(422, vec![("x-refused", "1")], Some(b"refused"));
                return Action::Pause;
            }
            "trap-at" => assert!(!contains(&body(self), &self.rest), "asked to"),
            _ => {}
        }
        Action::Continue
    }

    fn on_http_request_trailers(&mut self, _: usize) -> Action {
        if self.mode == "upper" {
            let sum = self.get_http_request_trailer("x-sum").unwrap_or_default();
            self.set_http_request_trailer("x-sum", Some(&format!("{sum}/{}", self.counted)));
            self.set_http_request_trailer("x-gone", None);
        }
        Action::Continue
    }

    fn on_http_response_headers(&mut self, _: usize, _: bool) -> Action {
        self.traps("response");
        match self.mode.as_str() {
            "headers" => {
                let status = self.get_http_response_header(":status").unwrap_or_default();
                self.set_http_response_header("x-status", Some(&status));
                let path = self.get_http_request_header(":path").unwrap_or_default();
                self.set_http_response_header("x-asked", Some(&path));
            }
            "config" => self.set_http_response_header("x-config", Some(&self.rest)),
            "body" => self.set_http_response_header("content-length", None),
            "tick" => {
                let ticks = number(self, "ticks").to_string();
                self.set_http_response_header("x-ticks", Some(&ticks));
            }
            "queue" => {
                let jobs = number(self, "jobs").to_string();
                self.set_http_response_header("x-jobs", Some(&jobs));
            }
            "shared" => {
                let count = count(self, "requests").to_string();
                self.set_http_response_header("x-count", Some(&count));
                let dropped = number(self, "dropped").to_string();
                self.set_http_response_header("x-dropped", Some(&dropped));
            }
            "metric" => {
                let id = hostcalls::define_metric(MetricType::Counter, "seen").unwrap_or(0);
                let _ = hostcalls::increment_metric(id, 2);
                let gauge = hostcalls::define_metric(MetricType::Gauge, "level").unwrap_or(0);
                let _ = hostcalls::record_metric(gauge, 41);
                let times = hostcalls::define_metric(MetricType::Histogram, "times").unwrap_or(0);
                let _ = hostcalls::record_metric(times, 5);
                let seen = hostcalls::get_metric(id).unwrap_or(0).to_string();
                self.set_http_response_header("x-seen", Some(&seen));
            }
            "property" => {
                for (name, path) in [
                    ("x-mine", vec!["mine"]),
                    ("x-name", vec!["plugin_name"]),
                    ("x-method", vec!["request", "method"]),
                    ("x-agent", vec!["request", "headers", "user-agent"]),
                ] {
                    let value = self.get_property(path).unwrap_or_default();
                    let value = String::from_utf8_lossy(&value).into_owned();
                    self.set_http_response_header(name, Some(&value));
                }
                let code = self.get_property(vec!["response", "code"]).unwrap_or_default();
                let code = code.try_into().map_or(0, i64::from_le_bytes).to_string();
                self.set_http_response_header("x-code", Some(&code));
            }
            "late" => {
                // The request has gone: nothing happens, and nothing traps.
                self.set_http_request_header("x-late", Some("1"));
                self.set_http_response_header("x-id", Some(&self.id.to_string()));
            }
            "redeny" => self.send_http_response(503, vec![], Some(b"from the response")),
            _ => {}
        }
        Action::Continue
    }

    fn on_http_response_body(&mut self, size: usize, is_end: bool) -> Action {
        self.traps("response-body");
        let body = |this: &Self| this.get_http_response_body(0, size).unwrap_or_default();
        match self.mode.as_str() {
            "body" => {
                if !is_end {
                    return Action::Pause;
                }
                let text = String::from_utf8_lossy(&body(self)).replace("secret", "[hidden]");
                self.set_http_response_body(0, size, text.as_bytes());
            }
            "upper" => {
                self.counted += size;
                self.set_http_response_body(0, size, &body(self).to_ascii_uppercase());
            }
            "gather" if !is_end && size < self.number() => return Action::Pause,
            "refuse-at" if contains(&body(self), &self.rest) => {
                self.send_http_response(422, vec![("x-refused", "1")], Some(b"refused"));
                return Action::Pause;
            }
            "trap-at" => assert!(!contains(&body(self), &self.rest), "asked to"),
            _ => {}
        }
        Action::Continue
    }

    fn on_http_response_trailers(&mut self, _: usize) -> Action {
        if self.mode == "upper" {
            self.set_http_response_trailer("x-counted", Some(&self.counted.to_string()));
        }
        Action::Continue
    }

    fn on_log(&mut self) {
        self.traps("log");
        let path = self.get_http_request_header(":path").unwrap_or_default();
        let status = self.get_http_response_header(":status").unwrap_or_default();
        let _ = hostcalls::log(LogLevel::Info, &format!("logged {path} {status}"));
    }
}

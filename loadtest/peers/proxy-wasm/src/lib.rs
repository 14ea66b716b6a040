//! A proxy-wasm filter that sets one request header, and reads the request body if its
//! configuration is `body`. Name and value are constants and nothing is read of the headers: the least that such
//! a filter can do, so what Envoy takes for it is Envoy's.

use proxy_wasm::traits::{Context, HttpContext, RootContext};
use proxy_wasm::types::{Action, ContextType, LogLevel};

proxy_wasm::main! {{
    proxy_wasm::set_log_level(LogLevel::Warn);
    proxy_wasm::set_root_context(|_| Box::new(Root { reads_body: false }));
}}

struct Root {
    reads_body: bool,
}

impl Context for Root {}

impl RootContext for Root {
    fn on_configure(&mut self, _: usize) -> bool {
        self.reads_body = self.get_plugin_configuration().as_deref() == Some(b"body");
        true
    }

    fn get_type(&self) -> Option<ContextType> {
        Some(ContextType::HttpContext)
    }

    fn create_http_context(&self, _: u32) -> Option<Box<dyn HttpContext>> {
        Some(Box::new(Filter { reads_body: self.reads_body }))
    }
}

struct Filter {
    reads_body: bool,
}

impl Context for Filter {}

impl HttpContext for Filter {
    fn on_http_request_headers(&mut self, _: usize, _: bool) -> Action {
        self.set_http_request_header("X-Gateway", Some("Odin"));
        Action::Continue
    }

    fn on_http_request_body(&mut self, body_bytes: usize, is_whole: bool) -> Action {
        if !self.reads_body {
            return Action::Continue;
        }
        if !is_whole {
            // What follows is buffered, and comes again with what is here.
            return Action::Pause;
        }
        std::hint::black_box(self.get_http_request_body(0, body_bytes));
        Action::Continue
    }
}

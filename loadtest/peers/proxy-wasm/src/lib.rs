//! A proxy-wasm filter that reads two request headers and sets one. By its configuration it also
//! waits for the whole request body and reads it (`body`), or reads each piece and lets it go on
//! (`pieces`). The least that such a filter does, so what a host takes for it is the host's.

use proxy_wasm::traits::{Context, HttpContext, RootContext};
use proxy_wasm::types::{Action, ContextType, LogLevel};

proxy_wasm::main! {{
    proxy_wasm::set_log_level(LogLevel::Warn);
    proxy_wasm::set_root_context(|_| Box::new(Root { reads: Reads::Headers }));
}}

#[derive(Clone, Copy, PartialEq)]
enum Reads {
    Headers,
    Body,
    Pieces,
}

struct Root {
    reads: Reads,
}

impl Context for Root {}

impl RootContext for Root {
    fn on_configure(&mut self, _: usize) -> bool {
        self.reads = match self.get_plugin_configuration().as_deref() {
            Some(b"body") => Reads::Body,
            Some(b"pieces") => Reads::Pieces,
            _ => Reads::Headers,
        };
        true
    }

    fn get_type(&self) -> Option<ContextType> {
        Some(ContextType::HttpContext)
    }

    fn create_http_context(&self, _: u32) -> Option<Box<dyn HttpContext>> {
        Some(Box::new(Filter { reads: self.reads }))
    }
}

struct Filter {
    reads: Reads,
}

impl Context for Filter {}

impl HttpContext for Filter {
    fn on_http_request_headers(&mut self, _: usize, _: bool) -> Action {
        std::hint::black_box(self.get_http_request_header("user-agent"));
        std::hint::black_box(self.get_http_request_header("accept"));
        self.set_http_request_header("X-Gateway", Some("Odin"));
        Action::Continue
    }

    fn on_http_request_body(&mut self, body_bytes: usize, is_whole: bool) -> Action {
        if self.reads == Reads::Headers {
            return Action::Continue;
        }
        if !is_whole && self.reads == Reads::Body {
            // What follows is buffered, and comes again with what is here.
            return Action::Pause;
        }
        std::hint::black_box(self.get_http_request_body(0, body_bytes));
        Action::Continue
    }
}

//! Adds a header with the method of each request.

use odin_plugin::{Context, Error, NoConfig, Outcome, Plugin, Request};

struct Hello;

impl Plugin for Hello {
    type Config = NoConfig;

    fn new(_: NoConfig) -> Result<Self, Error> {
        Ok(Self)
    }

    fn on_request(&mut self, _: &Context, request: &Request) -> Result<Outcome, Error> {
        Ok(Outcome::next().set_header("X-Hello", request.method()))
    }
}

odin_plugin::export!(Hello);

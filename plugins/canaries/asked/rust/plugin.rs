//! Says in `X-Asked` what it was told of the request's target: `path limit`. The same in both
//! phases. For tests of the SDKs.

use odin_plugin::{Context, Error, NoConfig, Outcome, Plugin, Request, Response};

struct Asked;

fn asked(request: &Request) -> Result<Outcome, Error> {
    let limit = request.query("limit").unwrap_or_default();
    Ok(Outcome::next().set_header("X-Asked", format!("{} {limit}", request.path())))
}

impl Plugin for Asked {
    type Config = NoConfig;

    fn new(_: NoConfig) -> Result<Self, Error> {
        Ok(Self)
    }

    fn on_request(&mut self, _: &Context, request: &Request) -> Result<Outcome, Error> {
        asked(request)
    }

    fn on_response(&mut self, _: &Context, response: &Response) -> Result<Outcome, Error> {
        asked(response.request())
    }
}

odin_plugin::export!(Asked);

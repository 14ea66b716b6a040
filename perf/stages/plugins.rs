//! What plugins cost: their selection, the two halves of a call that are the host's, and whole
//! calls of real modules through [`run_request`], as an exchange makes them.

use std::hint::black_box;
use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;
use std::time::UNIX_EPOCH;

use odin::http::connection::{Connection, Scheme};
use odin::http::message::RequestHead;
use odin::plugin::{
    BodySlot, Carried, Chain, Facts, MessageBounds, Part, Plugin, PluginSpec, PluginType, Pools,
    Runtime, Selected, Verdict, halves, run_request,
};

use super::{Stage, parsed_request};
use crate::messages::json;
use crate::setting::{self, header_plugins};

/// A guest that answers `{}` and looks at nothing: what remains is what a call costs.
const EMPTY: &str = r#"(module
    (memory (export "memory") 4)
    (global $at (mut i32) (i32.const 1024))
    (data (i32.const 16) "{}")
    (func (export "alloc") (param $bytes i32) (result i32) (local $place i32)
        (local.set $place (global.get $at))
        (global.set $at (i32.add (global.get $at) (local.get $bytes)))
        (local.get $place))
    (func (export "execute") (param i32 i32) (result i64)
        (i64.or (i64.const 16) (i64.shl (i64.const 2) (i64.const 32)))))"#;

/// What a guest answers that sets a header.
const OUTPUT: &[u8] = concat!(
    r#"{"modified":true,"continue":true,"request":{"headers":"#,
    r#"{"X-Gateway":"Odin","X-Request-Start":["t=1704067200"]}}}"#
)
.as_bytes();

const FACTS: Facts<'static> = Facts {
    trace: None,
    passed: &[],
    upstreams: None,
    asked: odin::plugin::Asked(None),
    request_id: "0123456789abcdef0123456789abcdef",
    service: "users-service",
    route_path: "/api/users",
    scheme: Scheme::Http,
    connection: Connection::NONE,
    client_ip: IpAddr::V4(Ipv4Addr::new(192, 0, 2, 7)),
    received: UNIX_EPOCH,
    bounds: MessageBounds::DEFAULT,
};

const LIMITER: &str = "    - { name: limiter, path: rate-limiter.wasm, type: ratelimit, \
    instances: 1, config: { limit: 1000000000, window: 1h } }\n";

pub fn all(runtime: &Arc<Runtime>) -> Vec<Stage> {
    let empty = empty(runtime);
    let chain = |plugins: &str| {
        let config = setting::parse(plugins, "http://127.0.0.1:9");
        setting::compile(runtime, &config).services.remove(0).chain
    };
    let header = chain(&header_plugins("rust", 1, false));
    let with_body = chain(&header_plugins("rust", 1, true));
    let three = chain(&header_plugins("rust", 3, false));
    let ten = chain(&header_plugins("rust", 10, false));
    let three_with_body = chain(&header_plugins("rust", 3, true));
    let (bodies, limiter) = ([json(4096), json(65536)], chain(LIMITER));
    let [small, large] = bodies;
    vec![
        select(ten.clone()),
        input("plugin/input", empty.clone(), None),
        input("plugin/input-4k", empty.clone(), Some(small.clone())),
        input("plugin/input-64k", empty.clone(), Some(large.clone())),
        output(empty.clone()),
        call("plugin/call-empty", Chain::new(vec![empty]), None),
        call("plugin/call-header", header, None),
        call("plugin/call-body-4k", with_body.clone(), Some(small)),
        call("plugin/call-body-64k", with_body, Some(large.clone())),
        call("plugin/chain-3", three, None),
        call("plugin/chain-10", ten, None),
        call("plugin/chain-3-body-64k", three_with_body, Some(large)),
        call("plugin/call-limiter", limiter, None),
    ]
}

fn empty(runtime: &Runtime) -> Arc<Plugin> {
    let wasm = wat::parse_str(EMPTY).expect("it is a module");
    let plugin = runtime.load(PluginSpec::new("empty", PluginType::Request), &wasm);
    assert_eq!(plugin.load_error(), None);
    Arc::new(plugin)
}

fn select(chain: Chain) -> Stage {
    let mut selected = Selected::new();
    Stage::new("plugin/select-10", move || {
        chain.select(black_box("/api/users/1234"), &mut selected);
        black_box(&selected);
    })
}

/// The document that a guest is given.
fn input(name: &'static str, plugin: Arc<Plugin>, body: Option<Vec<u8>>) -> Stage {
    let request = parsed_request();
    let mut out = Vec::new();
    Stage::new(name, move || {
        out.clear();
        halves::write_input(&mut out, &plugin, &FACTS, black_box(&request), body.as_deref());
        black_box(&out);
    })
}

/// What becomes of a guest's answer.
fn output(plugin: Arc<Plugin>) -> Stage {
    let original = parsed_request();
    let mut request = RequestHead::default();
    let mut output = Vec::new();
    let mut buffers = simd_json::Buffers::default();
    let (mut slot, mut carried) = (BodySlot::default(), Carried::new());
    Stage::new("plugin/output", move || {
        copy(&original, &mut request);
        output.clear();
        output.extend_from_slice(black_box(OUTPUT));
        let verdict = halves::act_on_output(
            &mut output,
            &mut buffers,
            &plugin,
            &FACTS,
            &mut request,
            &mut slot,
            &mut carried,
        );
        assert!(black_box(verdict).is_ok());
    })
}

/// The request phase of a chain, from the head to the changed head.
fn call(name: &'static str, chain: Chain, body: Option<Vec<u8>>) -> Stage {
    let mut runtime = odin::io::runtime::local().expect("epoll");
    let pools = Pools::new();
    let original = parsed_request();
    let mut selected = Selected::new();
    chain.select(&original.path, &mut selected);
    assert!(selected.has_request_phase(), "{name}");
    let mut request = RequestHead::default();
    let mut slot = BodySlot { given: body, replaced: false };
    let mut carried = Carried::new();
    Stage::new(name, move || {
        copy(&original, &mut request);
        carried.clear();
        let verdict = runtime.block_on(run_request(
            &chain,
            &selected,
            Part::All,
            &pools,
            &FACTS,
            &mut request,
            &mut slot,
            &mut carried,
        ));
        assert!(matches!(black_box(verdict), Verdict::Continue), "{name}");
    })
}

/// Makes `to` a copy in its own memory, as a parser does.
fn copy(from: &RequestHead, to: &mut RequestHead) {
    to.clear();
    to.method = from.method.clone();
    to.authority.push_str(&from.authority);
    to.path.push_str(&from.path);
    to.query.push_str(&from.query);
    for (name, value) in from.fields.iter() {
        to.fields.push(name, value);
    }
}

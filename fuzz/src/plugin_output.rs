//! Outputs of plugins: whatever a plugin of any type says in any phase, an output that is refused
//! has changed nothing, and one that is taken leaves messages that are one message on the wire.
//!
//! The first byte gives type and phase, the rest is the output.

use std::sync::Arc;

use odin::http::h1::encode::{self, ResponseForm};
use odin::http::message::{BodyLength, Fields, LocalResponse, RequestHead, ResponseHead};
use odin::limits::{HEAD_FIELDS_MAX, PLUGIN_METADATA_BYTES_MAX};
use odin::plugin::{
    BodySlot, CallAnswer, Carried, Chain, FailureMode, Part, Phase, Plugin, PluginSpec, PluginType,
    Selected, Verdict, run_aggregation, run_request, run_response,
};
use odin::route::path::{Rules, normalise};

use super::guest::{self, TAKE, Worker};
use super::http1_head::{assert_one_head, check_fields, without_own_via};

const TYPES: [PluginType; 6] = [
    PluginType::Auth,
    PluginType::RateLimit,
    PluginType::Request,
    PluginType::Response,
    PluginType::Middleware,
    PluginType::Aggregation,
];

/// A worker with one plugin of each type, all of which answer with the bytes that they are given.
struct Bench {
    worker: &'static Worker,
    plugins: Vec<Arc<Plugin>>,
}

thread_local! {
    static BENCH: Bench = Bench::new();
}

impl Bench {
    fn new() -> Self {
        let worker = Worker::new();
        let guest = format!(
            r#"(module (memory (export "memory") 2) {TAKE}
                (func (export "execute") (param i32 i32) (result i64)
                  (call $pack (i32.const 65536) (call $take (local.get 0) (local.get 1)))))"#
        );
        let plugin = |kind: PluginType| {
            let mut spec = PluginSpec::new(kind.as_str(), kind);
            spec.failure_mode = FailureMode::Open;
            worker.load(spec, &guest)
        };
        Self { worker, plugins: TYPES.map(plugin).into() }
    }
}

/// The messages of one exchange.
struct Exchange {
    request: RequestHead,
    response: ResponseHead,
    body: BodySlot,
    carried: Carried,
}

/// One input.
pub fn run(input: &[u8]) {
    let [kind, output @ ..] = input else {
        return;
    };
    BENCH.with(|bench| {
        let plugin = &bench.plugins[usize::from(*kind) % TYPES.len()];
        let phase = match plugin.spec.kind {
            PluginType::Response => Phase::Response,
            PluginType::Aggregation => Phase::Aggregation,
            PluginType::Middleware if *kind >= b'@' => Phase::Response,
            _ => Phase::Request,
        };
        check(bench, plugin, phase, output);
    });
}

fn check(bench: &Bench, plugin: &Arc<Plugin>, phase: Phase, output: &[u8]) {
    let mut exchange = Exchange {
        request: guest::request(output),
        response: ResponseHead { status: 200, ..ResponseHead::default() },
        body: BodySlot { given: Some(b"before".to_vec()), ..BodySlot::default() },
        carried: Carried::new(),
    };
    exchange.response.fields.push(b"Content-Type", b"text/plain");
    let before = format!("{:?} {:?}", exchange.request, exchange.response);
    let failed = bench.worker.errors_of(plugin);
    let verdict = bench.worker.run(call(bench, plugin, phase, &mut exchange));
    if bench.worker.errors_of(plugin) > failed {
        assert!(matches!(verdict, Verdict::Continue), "it fails open");
        assert_eq!(format!("{:?} {:?}", exchange.request, exchange.response), before);
        assert!(!exchange.body.replaced && exchange.body.given.as_deref() == Some(b"before"));
        assert_eq!(exchange.carried.metadata_json(), "{}");
        return;
    }
    let metadata = exchange.carried.metadata_json();
    assert!(metadata.len() <= PLUGIN_METADATA_BYTES_MAX);
    assert!(serde_json::from_str::<serde_json::Value>(metadata).is_ok(), "{metadata}");
    match verdict {
        Verdict::Respond(local) => check_local(&local),
        Verdict::Close => panic!("no plugin of the JSON ABI cuts a client off"),
        Verdict::Continue if phase == Phase::Request => check_request(&exchange.request),
        Verdict::Continue => check_response(&exchange.response),
    }
}

async fn call(
    bench: &Bench,
    plugin: &Arc<Plugin>,
    phase: Phase,
    exchange: &mut Exchange,
) -> Verdict {
    let chain = Chain::new(vec![Arc::clone(plugin)]);
    let mut selected = Selected::new();
    chain.select("/api/users", &mut selected);
    let Exchange { request, response, body, carried } = exchange;
    let (facts, pools) = (guest::facts(), &bench.worker.pools);
    match phase {
        Phase::Request => {
            run_request(&chain, &selected, Part::All, pools, &facts, request, body, carried).await
        }
        Phase::Response => {
            run_response(&chain, &selected, pools, &facts, request, response, body, carried).await
        }
        Phase::Aggregation => {
            let answer = CallAnswer {
                name: "users",
                service: "users-service",
                status: 200,
                fields: &Fields::new(),
                body: b"{}",
                error: None,
            };
            run_aggregation(
                &chain,
                &selected,
                pools,
                &facts,
                request,
                &[answer],
                response,
                body,
                carried,
            )
            .await
        }
    }
}

fn check_request(request: &RequestHead) {
    check_fields(&request.fields);
    assert!(request.fields.len() <= HEAD_FIELDS_MAX + 1);
    let mut path = String::new();
    if normalise(&request.path, Rules::default(), &mut path).is_err() {
        return;
    }
    let mut written = Vec::new();
    encode::request_head(request, &request.authority, &path, &Fields::new(), &mut written);
    assert_one_head(&written);
    // What is added (Host, CDN-Loop, framing) may be one field too many for a reader.
    if request.fields.len() + 3 > HEAD_FIELDS_MAX {
        return;
    }
    let mut again = RequestHead::default();
    odin::http::h1::head::parse_request(&written, usize::MAX, HEAD_FIELDS_MAX, &mut again)
        .unwrap_or_else(|error| panic!("{error}: {}", String::from_utf8_lossy(&written)));
    assert_eq!((&again.method, &again.authority), (&request.method, &request.authority));
    assert!(without_own_via(&again.fields).eq(request.fields.iter()));
}

fn check_local(local: &LocalResponse) {
    check_response(&ResponseHead {
        status: local.status,
        fields: local.fields.clone(),
        body: BodyLength::Known(local.body.len() as u64),
        upgrade: None,
    });
}

fn check_response(response: &ResponseHead) {
    assert!((200..600).contains(&response.status), "{}", response.status);
    check_fields(&response.fields);
    let form = ResponseForm { is_http10: false, keep_alive: true, has_body: true };
    let mut written = Vec::new();
    encode::response_head(response, form, &mut written);
    assert_one_head(&written);
    if response.fields.len() + 2 > HEAD_FIELDS_MAX {
        return;
    }
    let mut again = ResponseHead::default();
    odin::http::h1::head::parse_response(&written, &mut again).expect("what we write can be read");
    assert_eq!(again.status, response.status);
}

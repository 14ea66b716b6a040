//! The support is tested too: a client that misreads or a guest that is not what it says would
//! make tests pass for the wrong reason.

use super::{Client, Origin, wasm};
use crate::support::wire::{Framing, WireError};
use wasmtime::{Caller, Engine, Linker, Module, Store};

#[test]
fn client_and_origin_understand_each_other() {
    let origin = Origin::naming_targets();
    let mut client = Client::connect(origin.addr());
    assert_eq!(client.get("/a").text(), "/a");
    let chunked = "POST /b HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n\
                   5\r\nhello\r\n0\r\nX-T: u\r\n\r\n";
    client.send_bytewise(chunked);
    assert_eq!(client.response().text(), "/b");
    let received = origin.requests().remove(1);
    assert_eq!((received.framing, received.text()), (Framing::Chunked, "hello".into()));
    assert_eq!(received.trailers, [("X-T".to_owned(), b"u".to_vec())]);
    assert_eq!(origin.connections(), 1);
    drop(client);
    origin.wait_all_closed();
}

#[test]
fn the_client_refuses_what_is_ambiguous() {
    for answer in [
        "HTTP/1.1 200 OK\r\nContent-Length: 2\r\nContent-Length: 2\r\n\r\nok",
        "HTTP/1.1 200 OK\r\nContent-Length: 2\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        "HTTP/1.1 200 OK\r\nX-A: b\n\r\nContent-Length: 2\r\n\r\nok",
        "HTTP/1.1 200 OK\r\nX-A: b\r\n c\r\nContent-Length: 2\r\n\r\nok",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nokX\r\n0\r\n\r\n",
        "HTTP/1.1 2000 OK\r\nContent-Length: 0\r\n\r\n",
    ] {
        let origin = Origin::raw_then_close(answer);
        let mut client = Client::connect(origin.addr());
        client.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n");
        let got = client.try_response();
        assert!(matches!(got, Err(WireError::Malformed(_))), "{answer:?}: {got:?}");
    }
}

#[test]
fn the_origin_records_what_is_cut_short_as_malformed() {
    let origin = Origin::ok();
    let mut client = Client::connect(origin.addr());
    client.send("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 10\r\n\r\nhello");
    drop(client);
    origin.wait_all_closed();
    assert_eq!(origin.only_request().method, "MALFORMED");
}

/// Calls `execute` once with an input that stands at 60,000, and returns the output.
fn call(module: &[u8], input: &str) -> wasmtime::Result<String> {
    let engine = Engine::default();
    let module = Module::new(&engine, module)?;
    let mut linker = Linker::new(&engine);
    linker.func_wrap("env", "log", |_: Caller<'_, ()>, _: i32, _: i32| {})?;
    let mut store = Store::new(&engine, ());
    let instance = linker.instantiate(&mut store, &module)?;
    let memory = instance.get_memory(&mut store, "memory").expect("a guest exports its memory");
    memory.write(&mut store, 60_000, input.as_bytes())?;
    let execute = instance.get_typed_func::<(i32, i32), i64>(&mut store, "execute")?;
    let packed = execute.call(&mut store, (60_000, input.len().try_into()?))?.cast_unsigned();
    let (at, len) = ((packed & 0xffff_ffff) as usize, (packed >> 32) as usize);
    Ok(String::from_utf8(memory.data(&store)[at..at + len].to_vec())?)
}

#[test]
fn guests_do_what_they_say() {
    assert_eq!(call(&wasm::passing(), "{}").unwrap(), r#"{"modified":false,"continue":true}"#);
    let input = r#"{"a":"q\"\\","b":1}"#;
    let shown: serde_json::Value =
        serde_json::from_str(&call(&wasm::showing_input(), input).unwrap()).unwrap();
    assert_eq!(shown["response"]["body"], input);

    let obeying = wasm::obeying();
    let told = |word: &str| call(&obeying, &format!(r#"{{"headers":{{"X-Do":["{word}"]}}}}"#));
    let pass = r#"{"modified":false,"continue":true}"#;
    assert_eq!(told("nothing").unwrap(), pass);
    assert_eq!(told("do-tra").unwrap(), pass);
    assert_eq!(told("do-garbage").unwrap(), "this is not JSON");
    assert!(told("do-error").unwrap().contains(r#""error":"the guest gave up""#));
    assert!(told("do-refuse").unwrap().contains(r#""continue":false"#));
    assert!(told("do-trap").is_err());
    assert!(call(&wasm::counting(), "").unwrap().contains(r#""X-Calls":["1"]"#));
}

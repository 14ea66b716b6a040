// Unit tests of the parts below the API. Each export is a test; test/assemblyscript.test.mjs runs
// them.

import { decode, encode } from "../assembly/base64";
import { Json } from "../assembly/json";
import { Request, Exchange } from "../assembly/input";
import { Result } from "../assembly/result";
import * as writer from "../assembly/writer";

function same(got: string, wanted: string): void {
  if (got != wanted) throw new Error(`got ${got}, wanted ${wanted}`);
}

function written(text: string): string {
  writer.begin();
  writer.str(text);
  return writer.written();
}

export function values_are_found_whatever_stands_around_them(): void {
  const root = Json.of(' { "a" : [1, {"b":"}"}] , "c\\u0064" : "x\\"y" , "n":null, "t" : true, "f":-1.5e2 } ');
  same(root.get("a").text, '[1, {"b":"}"}]');
  same(root.get("cd").toString(), 'x"y');
  assert(root.get("n").exists && root.get("n").isNull);
  assert(root.get("t").bool(false));
  assert(root.get("f").number(0) == -150);
  assert(!root.get("none").exists);
  assert(root.get("none").number(7) == 7);
  same(root.get("a").items()[1].get("b").toString(), "}");
}

export function malformed_text_is_no_value(): void {
  const texts = ["", "{", "[", '{"a"}', '{"a":}', '{"a":1', "[1,", "[1 2]", '"open', "tru", "{]", "1 2",
    "{a:1}", "[".repeat(100000)];
  for (let i = 0; i < texts.length; i++) assert(!Json.of(texts[i]).exists, texts[i].substring(0, 20));
}

export function strings_read_back_as_they_were(): void {
  const texts = ["", "plain", 'a"b\\c\n\r\t\x00\x1f', "ü€𝄞", "\x7f"];
  for (let i = 0; i < texts.length; i++) same(Json.of(written(texts[i])).toString(), texts[i]);
}

export function escapes_are_decoded(): void {
  same(Json.of('"\\b\\f\\n\\r\\t\\"\\\\\\/"').toString(), '\b\f\n\r\t"\\/');
  same(Json.of('"\\u00e4\\u20ac"').toString(), "ä€");
  same(Json.of('"\\ud834\\udd1e"').toString(), "𝄞");
}

export function half_a_surrogate_pair_is_replaced(): void {
  same(Json.of('"\\ud834x"').toString(), "\ufffdx");
  same(Json.of('"\\udd1e"').toString(), "\ufffd");
  same(written(String.fromCharCode(0xd834) + "x"), '"\ufffdx"');
}

export function base64_is_that_of_the_rfc(): void {
  const plain = ["", "f", "fo", "foo", "foob", "fooba", "foobar"];
  const coded = ["", "Zg==", "Zm8=", "Zm9v", "Zm9vYg==", "Zm9vYmE=", "Zm9vYmFy"];
  for (let i = 0; i < plain.length; i++) {
    const bytes = Uint8Array.wrap(String.UTF8.encode(plain[i]));
    same(encode(bytes), coded[i]);
    same(String.UTF8.decode(decode(coded[i]).slice().buffer), plain[i]);
  }
}

export function headers_are_found_in_any_case(): void {
  const json = Json.of('{"url":"http://h/a/b?c#d","headers":{"X-A":["1","2"],"x-b":"3","X-C":[]},"query":{"q":["v"]}}');
  const request = new Request(new Exchange(Json.NONE, Json.NONE), json);
  same(request.header("x-a")!, "1");
  same(request.headerValues("X-a").join(","), "1,2");
  same(request.header("X-B")!, "3");
  assert(request.header("x-c") === null);
  assert(request.header("x-d") === null);
  same(request.path, "/a/b");
  same(request.query("q")!, "v");
  assert(request.query("r") === null);
}

function output(result: Result): string {
  result.write();
  return writer.written();
}

export function a_result_says_only_what_changes(): void {
  same(output(Result.next()), '{"modified":false,"continue":true}');
  same(output(Result.refuse("no")), '{"modified":false,"continue":false,"error":"no"}');
  same(output(Result.fail("no")), '{"error":"no"}');
  same(output(Result.next().setHeader("X-A", "1").removeHeader("x-a")),
    '{"modified":true,"continue":true,"response":{"headers":{"x-a":[]}}}');
  same(output(Result.next().url("/b").body("x")),
    '{"modified":true,"continue":true,"request":{"url":"/b","body":"x"}}');
  same(output(Result.respond(204)), '{"modified":true,"continue":false,"response":{"statusCode":204}}');
  same(output(Result.next().metadata("a", "b").metadataJson("c", '{"ü":1}')),
    '{"modified":false,"continue":true,"metadata":{"a":"b","c":{"ü":1}}}');
}

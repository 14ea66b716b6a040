// Calls over HTTP. The plugin waits, the worker does not: it serves other requests meanwhile.
//
// Reached are the gateway's services and the hosts that stand in the plugin's config as URLs, or in
// its allowedHosts.

import { Message } from "./input";
import { Json } from "./json";
import { read } from "./host";
import * as writer from "./writer";

@external("env", "http_call")
declare function envHttpCall(address: usize, size: usize): u64;

/** A call that is being put together. */
export class Call {
  private names: string[] = [];
  private values: string[] = [];
  private text: string | null = null;
  private timeoutMs: i32 = 0;

  constructor(private method: string, private url: string) {}

  /** Sets a header. */
  header(name: string, value: string): Call {
    this.names.push(name);
    this.values.push(value);
    return this;
  }

  /** Sets the body. */
  body(text: string): Call {
    this.text = text;
    return this;
  }

  /** Sets how long to wait, in milliseconds; the plugin's own timeout bounds it in any case. */
  timeout(milliseconds: i32): Call {
    this.timeoutMs = milliseconds;
    return this;
  }

  /** Makes the call. */
  send(): Answered {
    this.write();
    const packed = writer.packed();
    const answer = read(envHttpCall(<usize>(packed & 0xffffffff), <usize>(packed >> 32)));
    if (answer === null) {
      return new Answered(Json.NONE, "http_call gave nothing (the gateway's log says why)");
    }
    const json = Json.of(answer);
    const reason = json.get("error").toString();
    return new Answered(json, reason.length > 0 ? this.url + ": " + reason : null);
  }

  private write(): void {
    writer.begin();
    writer.raw('{"method":');
    writer.str(this.method);
    writer.raw(',"url":');
    writer.str(this.url);
    writer.raw(',"headers":{');
    for (let i = 0; i < this.names.length; i++) {
      if (i > 0) writer.raw(",");
      writer.str(this.names[i]);
      writer.raw(":[");
      writer.str(this.values[i]);
      writer.raw("]");
    }
    writer.raw("}");
    const text = this.text;
    if (text !== null) {
      writer.raw(',"body":');
      writer.str(text);
    }
    if (this.timeoutMs > 0) writer.raw(',"timeoutMs":' + this.timeoutMs.toString());
    writer.raw("}");
  }
}

/** What came back. An answer of any status is one; `error` is that there is none: refused by the
 * gateway, not connected, timed out. */
export class Answered extends Message {
  constructor(json: Json, public error: string | null) {
    super(json);
  }

  get status(): i32 {
    return <i32>this.json.get("statusCode").number(0);
  }
}

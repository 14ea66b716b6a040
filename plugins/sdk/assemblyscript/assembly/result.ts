// What a call returns: go on, go on with changes, or stop and answer. Only what was said is
// written.

import { encode } from "./base64";
import * as writer from "./writer";

const enum Verdict { Next, Stop, Failed }

class HeaderChange {
  constructor(public name: string, public values: string[]) {}
}

class MetadataEntry {
  constructor(public key: string, public json: string) {}
}

/** What the gateway shall do. Begin with next, refuse, respond or fail; then say what changes. */
export class Result {
  private error: string = "";
  private statusCode: i32 = 0;
  private headers: HeaderChange[] = [];
  private text: string | null = null;
  private isBase64: bool = false;
  private newMethod: string | null = null;
  private newUrl: string | null = null;
  private left: MetadataEntry[] = [];

  private constructor(private verdict: Verdict) {}

  /** The exchange goes on; what is not changed stays as it is. */
  static next(): Result {
    return new Result(Verdict.Next);
  }

  /** The chain stops; the client gets a refusal (by default 401 from an auth plugin, 429 from a
   * rate limit, else 403) with {"error": reason} as its body. */
  static refuse(reason: string): Result {
    const result = new Result(Verdict.Stop);
    result.error = reason;
    return result;
  }

  /** The chain stops; the client gets a response of this status. */
  static respond(status: i32): Result {
    return new Result(Verdict.Stop).status(status);
  }

  /** The plugin could not decide. The gateway then acts as the plugin's failureMode says (auth and
   * ratelimit: refuse; the other types: go on as if the plugin were not there). */
  static fail(error: string): Result {
    const result = new Result(Verdict.Failed);
    result.error = error;
    return result;
  }

  /** Sets a header to one value in the place of all it had. */
  setHeader(name: string, value: string): Result {
    return this.setHeaderValues(name, [value]);
  }

  /** Sets a header to several values in the place of all it had. */
  setHeaderValues(name: string, values: string[]): Result {
    const lower = name.toLowerCase();
    for (let i = 0; i < this.headers.length; i++) {
      if (this.headers[i].name.toLowerCase() == lower) {
        this.headers[i] = new HeaderChange(name, values);
        return this;
      }
    }
    this.headers.push(new HeaderChange(name, values));
    return this;
  }

  /** Removes a header, with all its values. */
  removeHeader(name: string): Result {
    return this.setHeaderValues(name, []);
  }

  /** Sets the status, where this is about a response. */
  status(status: i32): Result {
    this.statusCode = status;
    return this;
  }

  /** Replaces the body by text. */
  body(text: string): Result {
    this.text = text;
    this.isBase64 = false;
    return this;
  }

  /** Replaces the body by bytes of any kind. */
  bodyBytes(bytes: Uint8Array): Result {
    this.text = encode(bytes);
    this.isBase64 = true;
    return this;
  }

  /** Replaces the body by JSON text, and says so in Content-Type. */
  json(text: string): Result {
    return this.setHeader("Content-Type", "application/json").body(text);
  }

  /** Replaces the method, in the request phase. */
  method(method: string): Result {
    this.newMethod = method;
    return this;
  }

  /** Replaces the URL (path and query; the route has been chosen already), in the request phase. */
  url(url: string): Result {
    this.newUrl = url;
    return this;
  }

  /** Leaves a text for the later plugins of this exchange, both phases. */
  metadata(key: string, text: string): Result {
    return this.metadataJson(key, quoted(text));
  }

  /** Leaves a value that is JSON already. */
  metadataJson(key: string, json: string): Result {
    this.left.push(new MetadataEntry(key, json));
    return this;
  }

  /** Whether anything of the message changes. */
  get isModified(): bool {
    return this.statusCode != 0 || this.headers.length > 0 || this.text !== null ||
      this.newMethod !== null || this.newUrl !== null;
  }

  /** Writes the output's JSON. */
  write(): void {
    writer.begin();
    if (this.verdict == Verdict.Failed) {
      // No word on whether to go on: that is for the failure mode to say.
      writer.raw('{"error":');
      writer.str(this.error);
      writer.raw("}");
      return;
    }
    writer.raw(this.isModified ? '{"modified":true' : '{"modified":false');
    writer.raw(this.verdict == Verdict.Next ? ',"continue":true' : ',"continue":false');
    if (this.error.length > 0) {
      writer.raw(',"error":');
      writer.str(this.error);
    }
    if (this.isModified) this.writeMessage();
    for (let i = 0; i < this.left.length; i++) {
      writer.raw(i == 0 ? ',"metadata":{' : ",");
      writer.str(this.left[i].key);
      writer.raw(":");
      writer.json(this.left[i].json);
    }
    writer.raw(this.left.length > 0 ? "}}" : "}");
  }

  /** The object with the changes: request where method or URL are among them, else response. */
  private writeMessage(): void {
    const method = this.newMethod;
    const url = this.newUrl;
    const text = this.text;
    writer.raw(method !== null || url !== null ? ',"request":{' : ',"response":{');
    let comma = "";
    if (method !== null) comma = key(comma, '"method":', method);
    if (url !== null) comma = key(comma, '"url":', url);
    if (this.statusCode != 0) {
      writer.raw(comma + '"statusCode":' + this.statusCode.toString());
      comma = ",";
    }
    if (this.headers.length > 0) {
      writer.raw(comma + '"headers":{');
      this.writeHeaders();
      writer.raw("}");
      comma = ",";
    }
    if (text !== null) {
      key(comma, '"body":', text);
      if (this.isBase64) writer.raw(',"bodyEncoding":"base64"');
    }
    writer.raw("}");
  }

  private writeHeaders(): void {
    for (let i = 0; i < this.headers.length; i++) {
      const header = this.headers[i];
      if (i > 0) writer.raw(",");
      writer.str(header.name);
      writer.raw(":[");
      for (let v = 0; v < header.values.length; v++) {
        if (v > 0) writer.raw(",");
        writer.str(header.values[v]);
      }
      writer.raw("]");
    }
  }
}

function key(comma: string, name: string, value: string): string {
  writer.raw(comma);
  writer.raw(name);
  writer.str(value);
  return ",";
}

function quoted(text: string): string {
  writer.begin();
  writer.str(text);
  return writer.written();
}

// What a call brings: where the exchange stands, and the request, the response or the answers of an
// aggregation. All of it is valid until the plugin's function returns.

import { decode } from "./base64";
import { Cursor, Json } from "./json";

/** Where the exchange stands, the same for a request and its response. */
export class Exchange {
  constructor(private context: Json, public config: Json) {}

  /** The exchange's identifier, the same in the gateway's log and in X-Request-Id. */
  get requestId(): string {
    return this.context.get("requestId").toString();
  }

  /** The name of the service that the request was routed to. */
  get serviceId(): string {
    return this.context.get("serviceId").toString();
  }

  /** That service's basePath. */
  get routePath(): string {
    return this.context.get("routePath").toString();
  }

  /** When the exchange began, RFC 3339 in UTC. */
  get timestamp(): string {
    return this.context.get("timestamp").toString();
  }

  /** "request", "response" or "aggregation". */
  get phase(): string {
    return this.context.get("phase").toString();
  }

  get isResponsePhase(): bool {
    return this.context.get("phase").is("response");
  }

  get isAggregation(): bool {
    return this.context.get("phase").is("aggregation");
  }

  /** The name under which this plugin is configured. */
  get plugin(): string {
    return this.context.get("plugin").toString();
  }

  /** The client's address, without a port. */
  get clientIp(): string {
    return this.context.get("clientIp").toString();
  }

  /** What an earlier plugin of this exchange (or this one, in the request phase) left there. */
  metadata(key: string): Json {
    return this.context.get("metadata").get(key);
  }
}

/** A header with all its values. */
export class Header {
  constructor(public name: string, public values: string[]) {}
}

/** What requests, responses and answers have in common. */
export class Message {
  constructor(protected json: Json) {}

  /** The first value of a header, its name in any case; null if there is none. */
  header(name: string): string | null {
    const values = this.find(name);
    if (values.isString) return values.toString();
    const cursor = new Cursor(values, 0x5b);
    return cursor.next() ? cursor.value(values).toString() : null;
  }

  /** All values of a header, its name in any case. */
  headerValues(name: string): string[] {
    return this.find(name).strings();
  }

  /** Every header. */
  headers(): Header[] {
    const headers: Header[] = [];
    const entries = this.json.get("headers").entries();
    for (let i = 0; i < entries.length; i++) {
      headers.push(new Header(entries[i].name, entries[i].value.strings()));
    }
    return headers;
  }

  private find(name: string): Json {
    const headers = this.json.get("headers");
    const cursor = new Cursor(headers, 0x7b);
    while (cursor.next()) {
      if (cursor.nameIsIgnoringCase(name)) return cursor.value(headers);
    }
    return Json.NONE;
  }

  /** Whether the body is bytes that are no UTF-8; body is then "". */
  get isBinary(): bool {
    return this.json.get("bodyEncoding").is("base64");
  }

  /** The body as text; "" if there is none, or if this type of plugin is not given it. */
  get body(): string {
    return this.isBinary ? "" : this.json.get("body").toString();
  }

  /** The body's bytes. */
  get bodyBytes(): Uint8Array {
    const text = this.json.get("body").toString();
    return this.isBinary ? decode(text) : Uint8Array.wrap(String.UTF8.encode(text));
  }
}

// The path of a URL, for inputs that do not name it. A scheme is what stands before the first "/",
// "?" or "#": a "://" behind that is the client's, and must not move where the path begins.
export function pathOf(url: string): string {
  let start = 0;
  const scheme = endOfPart(url, 0);
  if (scheme > 1 && url.substr(scheme - 1, 3) == "://") start = endOfPart(url, scheme + 2);
  for (let i = start; i < url.length; i++) {
    const char = url.charCodeAt(i);
    if (char == 0x3f || char == 0x23) return url.substring(start, i);
  }
  return url.substring(start);
}

// Where the first "/", "?" or "#" stands, from a place on.
function endOfPart(url: string, from: i32): i32 {
  for (let i = from; i < url.length; i++) {
    const char = url.charCodeAt(i);
    if (char == 0x2f || char == 0x3f || char == 0x23) return i;
  }
  return url.length;
}

/** The request as the client sent it and earlier plugins changed it. */
export class Request extends Message {
  constructor(public exchange: Exchange, json: Json) {
    super(json);
  }

  /** The method, as in GET. */
  get method(): string {
    return this.json.get("method").toString();
  }

  /** The whole URL, with scheme, host, normalised path and query. */
  get url(): string {
    return this.json.get("url").toString();
  }

  /** The normalised path, without the query. */
  get path(): string {
    const path = this.json.get("path").toString();
    return path.length > 0 ? path : pathOf(this.url);
  }

  /** All values of a query parameter, decoded. */
  queryValues(name: string): string[] {
    return this.json.get("query").get(name).strings();
  }

  /** The first value of a query parameter, decoded; null if there is none. */
  query(name: string): string | null {
    const values = this.json.get("query").get(name).strings();
    return values.length > 0 ? values[0] : null;
  }
}

/** The response as the service sent it and earlier plugins changed it. */
export class Response extends Message {
  /** The request that this answers: its head, without a body. */
  request: Request;

  constructor(public exchange: Exchange, json: Json) {
    super(json);
    const request = json.get("request");
    this.request = new Request(exchange, request.isObject ? request : json);
  }

  /** The status, as in 200. */
  get status(): i32 {
    return <i32>this.json.get("statusCode").number(0);
  }
}

/** One service's answer to a call of an aggregation. */
export class Answer extends Message {
  constructor(json: Json) {
    super(json);
  }

  /** The call's name in aggregation.calls. */
  get name(): string {
    return this.json.get("name").toString();
  }

  /** The service that was asked. */
  get service(): string {
    return this.json.get("service").toString();
  }

  /** Its status; 0 if it could not be reached. */
  get status(): i32 {
    return <i32>this.json.get("statusCode").number(0);
  }
}

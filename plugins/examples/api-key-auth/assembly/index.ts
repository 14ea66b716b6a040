// Lets requests with a known API key pass.
//
// Keys are compared by their SHA-256, all of them and each to its end, so that the time it takes
// tells nothing about how much of a guess is right, nor which key it is. Keys may stand in the
// configuration as hashes, and then it holds no secret.

import { Json, Request, Result, count, onConfig, onRequest } from "odin-plugin/assembly";
import { HASH_BYTES, fromHex, sha256 } from "./sha256";

export { alloc, dealloc, execute, init } from "odin-plugin/assembly";

// A key that is shorter can be guessed; longer ones are no keys, and would cost time.
const KEY_BYTES_MAX = 1024;

// A key that is known, and whose it is.
class Known {
  constructor(
    public hash: Uint8Array,
    public subject: string,
    public tier: string,
    public services: string[],
  ) {}
}

let known: Known[] = [];
let headerName = "X-API-Key";
let queryName = "";
let scheme = "";
let stripKey = true;
let realm = "";

onConfig((config: Json): string | null => {
  known = [];
  headerName = textOr(config.get("headerName"), "X-API-Key");
  queryName = config.get("queryName").toString();
  scheme = config.get("scheme").toString();
  stripKey = config.get("stripKey").bool(true);
  realm = config.get("realm").toString();

  const keys = config.get("validKeys").items();
  for (let i = 0; i < keys.length; i++) {
    const wrong = add(keys[i]);
    if (wrong !== null) return `validKeys[${i}]: ${wrong}`;
  }
  return known.length > 0 ? null : "validKeys is empty, so nobody could pass";
});

function textOr(value: Json, fallback: string): string {
  return value.isString ? value.toString() : fallback;
}

// A key as it stands in the configuration: its text, "sha256:" and its hash, or an object with one
// of the two and whose it is.
function add(value: Json): string | null {
  const isObject = value.isObject;
  const text = isObject ? value.get("key").toString() : value.toString();
  if (text.length == 0) return "there is no key";
  const hash = text.startsWith("sha256:") ? fromHex(text.substring(7)) : sha256(text);
  if (hash === null) return "after sha256: there must be 64 hexadecimal digits";
  const subject = isObject ? value.get("name").toString() : "";
  const tier = isObject ? value.get("tier").toString() : "";
  known.push(new Known(hash, subject, tier, isObject ? value.get("services").strings() : []));
  return null;
}

onRequest((request: Request): Result => {
  // Of several, one would be judged here and another believed by the service.
  if (shown(request) > 1) return refuse(401, "more than one API key was sent");
  const key = keyOf(request);
  if (key === null) return refuse(401, "an API key is required");
  if (key.length > KEY_BYTES_MAX) return refuse(401, "the API key is not valid");
  const found = find(sha256(key));
  if (found === null) return refuse(401, "the API key is not valid");
  if (found.services.length > 0 && !found.services.includes(request.exchange.serviceId)) {
    return refuse(403, "the API key is not for this service");
  }
  const result = Result.next();
  if (stripKey && request.header(headerName) !== null) result.removeHeader(headerName);
  // Who was let in, for plugins that must tell clients apart: with what earlier auth plugins said.
  const earlier = request.exchange.metadata("odin.identity").toString();
  result.metadata("odin.identity", toHex(sha256(`${earlier}|api-key|${key}`)));
  if (found.subject.length > 0) result.metadata("subject", found.subject);
  if (found.tier.length > 0) result.metadata("tier", found.tier);
  return result;
});

// How many keys a request shows.
function shown(request: Request): i32 {
  const inQuery = queryName.length > 0 ? request.queryValues(queryName).length : 0;
  return request.headerValues(headerName).length + inQuery;
}

function toHex(bytes: Uint8Array): string {
  let text = "";
  for (let i = 0; i < bytes.length; i++) {
    text += (bytes[i] >> 4).toString(16) + (bytes[i] & 15).toString(16);
  }
  return text;
}

function keyOf(request: Request): string | null {
  const value = request.header(headerName);
  if (value === null) return queryName.length > 0 ? request.query(queryName) : null;
  if (scheme.length == 0) return value;
  const space = value.indexOf(" ");
  if (space < 0 || value.substring(0, space).toLowerCase() != scheme.toLowerCase()) return null;
  return value.substring(space + 1).trim();
}

// Goes over all keys whatever it finds. The selection by a mask, and not by a branch, keeps even
// the place of the key out of the time.
function find(hash: Uint8Array): Known | null {
  let place = -1;
  for (let i = 0; i < known.length; i++) {
    const candidate = known[i].hash;
    let difference: u32 = 0;
    for (let b = 0; b < HASH_BYTES; b++) difference |= <u32>(candidate[b] ^ hash[b]);
    const isEqual = <i32>(((difference - 1) >> 8) & 1);
    place = (i & -isEqual) | (place & ~-isEqual);
  }
  return place < 0 ? null : known[place];
}

function refuse(status: i32, reason: string): Result {
  count("refused_total", 1);
  const result = Result.respond(status).json(`{"error":"${reason}"}`);
  if (status == 401) {
    const name = scheme.length > 0 ? scheme : "ApiKey";
    result.setHeader("WWW-Authenticate", realm.length > 0 ? `${name} realm="${realm}"` : name);
  }
  return result;
}

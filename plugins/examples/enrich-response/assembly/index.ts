// Completes JSON responses with what another service knows: for each object that names a user, asks
// the user service and puts its answer beside the name.
//
// Users are asked for once per response, and remembered in the shared state for a while. A user
// that can't be had leaves the response as it is, or fails it, as the configuration says.

import {
  Call, Json, Response, Result, count, kv, onConfig, onResponse, warn,
} from "odin-plugin/assembly";
import { escapeSegment, findAll, scalar } from "./path";

export { alloc, dealloc, execute, init } from "odin-plugin/assembly";

let isOn = true;
let serviceUrl = "";
let path = "/users/{id}";
let objects: string[] = [];
let idField = "userId";
let targetField = "user";
let pick: string[] = [];
let timeoutMs = 1000;
let ttlMs: i64 = 60_000;
let lookupsMax = 20;
let failsOnError = false;

onConfig((config: Json): string | null => {
  isOn = config.get("addUserDetails").bool(true);
  serviceUrl = config.get("userServiceUrl").toString();
  while (serviceUrl.endsWith("/")) serviceUrl = serviceUrl.substring(0, serviceUrl.length - 1);
  path = textOr(config.get("path"), "/users/{id}");
  const at = config.get("objects").toString();
  objects = at.length > 0 ? at.split(".") : [];
  idField = textOr(config.get("idField"), "userId");
  targetField = textOr(config.get("targetField"), "user");
  pick = config.get("pick").strings();
  timeoutMs = <i32>config.get("timeoutMs").number(1000);
  ttlMs = <i64>(config.get("ttl").number(60) * 1000);
  lookupsMax = <i32>config.get("maxLookups").number(20);
  const onError = textOr(config.get("onError"), "skip");
  failsOnError = onError == "fail";

  if (onError != "skip" && onError != "fail") {
    return `onError is "${onError}", must be skip or fail`;
  }
  if (!isOn) return null;
  if (serviceUrl.length == 0) return "userServiceUrl is missing";
  if (!path.includes("{id}")) return `path is "${path}", must have {id} in it`;
  return lookupsMax > 0 && timeoutMs > 0 ? null : "maxLookups and timeoutMs must be above 0";
});

function textOr(value: Json, fallback: string): string {
  return value.isString ? value.toString() : fallback;
}

// What was found of a user in this response: JSON, or null if there is nothing to add.
class Looked {
  constructor(public details: string | null, public error: string | null) {}
}

onResponse((response: Response): Result => {
  const isSuccess = response.status >= 200 && response.status < 300;
  const text = isOn && isSuccess && isJson(response) ? response.body : "";
  const body = text.length > 0 ? Json.of(text) : Json.NONE;
  if (!body.exists) return Result.next();

  const found: Json[] = [];
  // With no path to them, the objects are the body itself, or the items of the list that it is.
  const steps = objects.length > 0 ? objects : body.isArray ? ["*"] : [];
  findAll(body, steps, 0, found);
  return complete(text, body, found, response.exchange.metadata("odin.hidden").strings());
});

function isJson(response: Response): bool {
  const type = response.header("content-type");
  if (type === null) return false;
  const essence = type.split(";")[0].trim().toLowerCase();
  return essence == "application/json" || essence.endsWith("+json");
}

function complete(text: string, body: Json, found: Json[], hidden: string[]): Result {
  const known = new Map<string, Looked>();
  let isWhole = true;
  const parts: string[] = [];
  let at = body.start;
  for (let i = 0; i < found.length; i++) {
    const object = found[i];
    const id = object.isObject ? scalar(object.get(idField)) : "";
    // What the service has put there itself stays.
    if (id.length == 0 || object.get(targetField).exists) continue;
    if (!known.has(id)) {
      if (known.size >= lookupsMax) {
        warn(`a response names more than ${lookupsMax} users (maxLookups), the rest is left out`);
        isWhole = false;
        break;
      }
      known.set(id, look(id));
    }
    const looked = known.get(id);
    const error = looked.error;
    if (error !== null) {
      if (failsOnError) return Result.fail(error);
      isWhole = false;
      continue;
    }
    const details = looked.details;
    if (details === null) continue;
    // The object ends with its brace; there is at least the id before it.
    parts.push(String.UTF8.decodeUnsafe(at, object.end - 1 - at));
    parts.push(`,${quoted(targetField)}:${details}`);
    at = object.end - 1;
  }
  const result = Result.next();
  // A cache behind this plugin would keep the gap for as long as it keeps the answer.
  if (!isWhole) result.metadataJson("odin.uncacheable", "true");
  if (parts.length == 0) return result;
  parts.push(String.UTF8.decodeUnsafe(at, body.end - at));
  const completed = parts.join("");
  const returned = whatReturns(completed, hidden);
  if (returned !== null) {
    count("failed_total", 1);
    warn(`${returned} was removed from this response, and a user's details would bring it back: \
give this plugin the lower priority, or pick what is added`);
    return result;
  }
  return result.body(completed);
}

// A path that an earlier plugin has removed (`transformer`) and at which something would stand again.
function whatReturns(text: string, hidden: string[]): string | null {
  const body = Json.of(text);
  for (let i = 0; i < hidden.length; i++) {
    const found: Json[] = [];
    findAll(body, hidden[i].split("."), 0, found);
    if (found.length > 0) return hidden[i];
  }
  return null;
}

function look(id: string): Looked {
  const key = "user:" + id;
  const kept = id.length <= 256 ? kv.get(key).value : null;
  if (kept !== null) return new Looked(kept.length > 0 ? kept : null, null);

  count("lookups_total", 1);
  const url = serviceUrl + path.split("{id}").join(escapeSegment(id));
  const call = new Call("GET", url).header("Accept", "application/json").timeout(timeoutMs);
  const answer = call.send();
  const error = answer.error;
  if (error !== null) return failed(error);
  const status = answer.status;
  if (status != 200 && status != 404) return failed(`${url}: status ${status}`);
  // That there is no such user is worth remembering as well.
  const details = status == 200 ? picked(Json.of(answer.body)) : "";
  if (status == 200 && details.length == 0) return failed(url + ": not JSON");
  if (ttlMs > 0 && id.length <= 256) kv.set(key, details, ttlMs);
  return new Looked(details.length > 0 ? details : null, null);
}

function failed(error: string): Looked {
  count("failed_total", 1);
  warn(error);
  return new Looked(null, error);
}

// The fields of an answer that are wanted; all of them where none is named.
function picked(value: Json): string {
  if (pick.length == 0 || !value.isObject) return value.text;
  const entries: string[] = [];
  for (let i = 0; i < pick.length; i++) {
    const field = value.get(pick[i]);
    if (field.exists) entries.push(`${quoted(pick[i])}:${field.text}`);
  }
  return "{" + entries.join(",") + "}";
}

function quoted(text: string): string {
  return '"' + text.split("\\").join("\\\\").split('"').join('\\"') + '"';
}

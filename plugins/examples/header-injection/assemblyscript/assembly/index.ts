// Adds and removes headers, as its configuration says: addHeaders is a map of names to values (or
// lists of values), removeHeaders a list of names.
//
// As a request plugin it changes what the service sees, as a response plugin what the client sees,
// as middleware both. A header that stands in both lists is set.

import {
  Json, Request, Response, Result, onConfig, onRequest, onResponse,
} from "odin-plugin/assembly";

export { alloc, dealloc, execute, init } from "odin-plugin/assembly";

// The outcome of every call: it depends on the configuration alone. `hiding` is the same, and tells
// a cache behind this plugin that what it sees is not to be stored.
let outcome = Result.next();
let hiding = Result.next();
// What is taken off a response that a cache has to know. What is put in the place of the last two
// says nothing of what the service had said.
const OF_STORING = ["cache-control", "expires", "pragma", "set-cookie", "vary"];
let hides: string[] = [];

onConfig((config: Json): string | null => {
  const wrong = build(config);
  if (wrong !== null) return wrong;
  hiding = outcome;
  build(config);
  hiding.metadataJson("odin.uncacheable", "true");

  hides = config.get("removeHeaders").strings().filter((name) => ofStoring(name) >= 0);
  const added = config.get("addHeaders").entries();
  for (let i = 0; i < added.length; i++) {
    if (ofStoring(added[i].name) >= 3) hides.push(added[i].name);
  }
  return null;
});

function ofStoring(name: string): i32 {
  return OF_STORING.indexOf(name.toLowerCase());
}

function build(config: Json): string | null {
  const result = Result.next();
  const removed = config.get("removeHeaders").strings();
  for (let i = 0; i < removed.length; i++) result.removeHeader(removed[i]);

  const added = config.get("addHeaders").entries();
  for (let i = 0; i < added.length; i++) {
    const name = added[i].name;
    const value = added[i].value;
    if (!value.isString && !value.isArray) {
      return `addHeaders.${name} is ${value.text}, must be a string or a list of strings`;
    }
    result.setHeaderValues(name, value.strings());
  }
  outcome = result;
  return null;
}

onRequest((_: Request): Result => outcome);
onResponse((response: Response): Result => {
  for (let i = 0; i < hides.length; i++) {
    if (response.header(hides[i]) !== null) return hiding;
  }
  return outcome;
});

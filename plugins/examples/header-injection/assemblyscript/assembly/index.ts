// Adds and removes headers, as its configuration says: addHeaders is a map of names to values (or
// lists of values), removeHeaders a list of names.
//
// As a request plugin it changes what the service sees, as a response plugin what the client sees,
// as middleware both. A header that stands in both lists is set.

import {
  Json, Request, Response, Result, onConfig, onRequest, onResponse,
} from "odin-plugin/assembly";

export { alloc, dealloc, execute } from "odin-plugin/assembly";

// The outcome of every call: it depends on the configuration alone.
let outcome = Result.next();

onConfig((config: Json): string | null => {
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
});

onRequest((_: Request): Result => outcome);
onResponse((_: Response): Result => outcome);

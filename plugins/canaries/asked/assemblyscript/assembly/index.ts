// Says in X-Asked what it was told of the request's target: "path limit". The same in both phases.
// For tests of the SDKs.

import { Request, Response, Result, onRequest, onResponse } from "odin-plugin/assembly";

export { alloc, dealloc, execute, init } from "odin-plugin/assembly";

function asked(request: Request): Result {
  const limit = request.query("limit");
  return Result.next().setHeader("X-Asked", request.path + " " + (limit === null ? "" : limit));
}

onRequest(asked);
onResponse((response: Response): Result => asked(response.request));

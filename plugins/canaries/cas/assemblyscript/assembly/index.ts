// Numbers requests without a gap over all workers, by compare-and-set alone: the request of number
// n gets X-Number: n. For tests of the SDKs.

import { Request, Result, kv, onRequest } from "odin-plugin/assembly";

export { alloc, dealloc, execute, init } from "odin-plugin/assembly";

onRequest((_: Request): Result => {
  let next = "";
  let isSet = 0;
  while (isSet == 0) {
    const found = kv.get("last");
    if (found.failed) return Result.fail("the shared state can't be reached");
    const last = found.value;
    next = ((last === null ? 0 : I32.parseInt(last)) + 1).toString();
    isSet = kv.compareAndSet("last", last, next, 0);
  }
  if (isSet < 0) return Result.fail("the shared state can't be reached");
  return Result.next().setHeader("X-Number", next);
});

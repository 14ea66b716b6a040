// Adds a header with the method of each request.
import { Request, Result, onRequest } from "odin-plugin/assembly";
export { alloc, dealloc, execute, init } from "odin-plugin/assembly";

onRequest((request: Request): Result => Result.next().setHeader("X-Hello", request.method));

// Write plugins for the Odin gateway in AssemblyScript.
//
//   import { Request, Result, onRequest } from "odin-plugin/assembly";
//   export { alloc, dealloc, execute, init } from "odin-plugin/assembly";
//
//   onRequest((request: Request): Result => Result.next().setHeader("X-Hello", request.method));
//
// The functions are registered while the module starts; the gateway calls the exports. An
// instance serves one call at a time; globals live as long as the instance, and every worker of the
// gateway has its own instances.
//
// The input stays the JSON text that the gateway wrote, UTF-8 in linear memory: what is asked for
// is found in it and only that becomes an AssemblyScript (UTF-16) string.

export { Answer, Exchange, Header, Request, Response } from "./input";
export { Entry, Json } from "./json";
export { Result } from "./result";
export { Level, configText, debug, error, info, log, warn } from "./host";
export { count, nowMillis, nowSeconds, readFile, record } from "./host";
export { Answered, Call } from "./http";
import * as kv from "./kv";
export { kv };
export { Body, Chunk, Failed, Passed } from "./pieces";
export { alloc, cleanup, dealloc, execute, init } from "./abi";
export { on_request_chunk, on_response_chunk, on_stream_close, on_stream_open } from "./abi";
export { onAnswers, onCleanup, onConfig, onRequest, onResponse } from "./abi";
export { onRequestBody, onResponseBody } from "./abi";

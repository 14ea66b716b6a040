// An Envoy filter by the AssemblyScript SDK of proxy-wasm (@solo-io/proxy-runtime), unmodified:
// headers, a call, an answer, ticks, by the first word of its configuration.
export * from "@solo-io/proxy-runtime/proxy";
import {
  BaseContext, Context, FilterHeadersStatusValues, GrpcStatusValues, HeaderPair, Headers, LogLevelValues, RootContext,
  WasmResultValues, log, registerRootContext, send_local_response, stream_context,
} from "@solo-io/proxy-runtime";
import { get_buffer_bytes, set_tick_period_milliseconds, BufferTypeValues } from "@solo-io/proxy-runtime/runtime";

class Root extends RootContext {
  ticks: u32 = 0;

  constructor(context_id: u32) {
    super(context_id);
  }

  onConfigure(configuration_size: u32): bool {
    super.onConfigure(configuration_size);
    if (this.getConfiguration() == "refuse") {
      return false;
    }
    if (this.getConfiguration() == "tick") {
      set_tick_period_milliseconds(10);
    }
    return true;
  }

  onTick(): void {
    this.ticks++;
  }

  createContext(context_id: u32): Context {
    return new Exchange(context_id, this);
  }
}

function pair(name: string, value: string): HeaderPair {
  return new HeaderPair(String.UTF8.encode(name), String.UTF8.encode(value));
}

class Exchange extends Context {
  constructor(context_id: u32, root_context: Root) {
    super(context_id, root_context);
  }

  onRequestHeaders(count: u32, end_of_stream: bool): FilterHeadersStatusValues {
    const mode = this.root_context.getConfiguration();
    if (mode == "headers") {
      stream_context.headers.request.replace("x-path", stream_context.headers.request.get(":path"));
      stream_context.headers.request.remove("x-remove");
    } else if (mode == "deny") {
      const body = String.UTF8.encode("no tea");
      send_local_response(418, "denied", body, [pair("x-deny", "as")], GrpcStatusValues.Unauthenticated);
      return FilterHeadersStatusValues.StopIteration;
    } else if (mode == "auth") {
      const headers: Headers = [pair(":method", "GET"), pair(":path", "/check"), pair(":authority", "auth.test")];
      const called = this.root_context.httpCall("auth", headers, new ArrayBuffer(0), [], 2000, this,
        (origin: BaseContext, headers: u32, size: usize, trailers: u32): void => {
          const body = String.UTF8.decode(get_buffer_bytes(BufferTypeValues.HttpCallResponseBody, 0, <u32>size));
          const exchange = origin as Context;
          exchange.setEffectiveContext();
          if (body == "yes") {
            exchange.continueRequest();
          } else {
            send_local_response(403, "", String.UTF8.encode("not allowed"), [], GrpcStatusValues.Unauthenticated);
          }
        });
      return called == WasmResultValues.Ok
        ? FilterHeadersStatusValues.StopIteration
        : FilterHeadersStatusValues.Continue;
    } else if (mode == "trap") {
      unreachable();
    }
    return FilterHeadersStatusValues.Continue;
  }

  onResponseHeaders(count: u32, end_of_stream: bool): FilterHeadersStatusValues {
    stream_context.headers.response.add("x-as", this.root_context.getConfiguration());
    const root = this.root_context as Root;
    stream_context.headers.response.add("x-ticks", root.ticks.toString());
    return FilterHeadersStatusValues.Continue;
  }

  onLog(): void {
    log(LogLevelValues.info, "logged " + stream_context.headers.request.get(":path"));
  }
}

registerRootContext((context_id: u32) => new Root(context_id), "as_root");

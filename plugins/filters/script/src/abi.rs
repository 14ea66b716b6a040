//! The functions of the ABI, by name: called with what a script says.

/// Declares the functions and calls one of them by its name with as many of `args` as it has.
macro_rules! functions {
    ($($name:ident($($arg:ident: $type:ty),*);)*) => {
        mod host {
            #[link(wasm_import_module = "env")]
            unsafe extern "C" {
                $(pub fn $name($($arg: $type),*) -> i32;)*
            }
        }

        /// The status; `None`: there is no such function, or it has other arguments.
        pub fn call(name: &str, args: &[i64]) -> Option<i32> {
            let mut args = args.iter();
            match name {
                $(stringify!($name) => {
                    $(let $arg = *args.next()? as $type;)*
                    if args.next().is_some() {
                        return None;
                    }
                    // SAFETY: the host checks what it is passed; a script may pass anything.
                    Some(unsafe { host::$name($($arg),*) })
                })*
                _ => None,
            }
        }
    };
}

functions! {
    proxy_log(level: i32, at: i32, size: i32);
    proxy_get_log_level(to: i32);
    proxy_get_current_time_nanoseconds(to: i32);
    proxy_set_tick_period_milliseconds(period: i32);
    proxy_done();
    proxy_set_effective_context(id: i32);
    proxy_get_buffer_bytes(buffer: i32, start: i32, size: i32, to: i32, to_size: i32);
    proxy_set_buffer_bytes(buffer: i32, start: i32, size: i32, at: i32, length: i32);
    proxy_get_buffer_status(buffer: i32, size: i32, flags: i32);
    proxy_get_header_map_size(map: i32, to: i32);
    proxy_get_header_map_pairs(map: i32, to: i32, size: i32);
    proxy_set_header_map_pairs(map: i32, at: i32, size: i32);
    proxy_get_header_map_value(map: i32, key: i32, size: i32, to: i32, to_size: i32);
    proxy_add_header_map_value(map: i32, key: i32, size: i32, value: i32, length: i32);
    proxy_replace_header_map_value(map: i32, key: i32, size: i32, value: i32, length: i32);
    proxy_remove_header_map_value(map: i32, key: i32, size: i32);
    proxy_continue_stream(stream: i32);
    proxy_close_stream(stream: i32);
    proxy_get_status(code: i32, to: i32, size: i32);
    proxy_send_local_response(
        status: i32, details: i32, details_size: i32, body: i32, body_size: i32, headers: i32,
        headers_size: i32, grpc: i32);
    proxy_http_call(
        upstream: i32, upstream_size: i32, headers: i32, headers_size: i32, body: i32,
        body_size: i32, trailers: i32, trailers_size: i32, timeout: i32, to: i32);
    proxy_grpc_call(
        upstream: i32, upstream_size: i32, service: i32, service_size: i32, method: i32,
        method_size: i32, metadata: i32, metadata_size: i32, message: i32, message_size: i32,
        timeout: i32, to: i32);
    proxy_grpc_stream(
        upstream: i32, upstream_size: i32, service: i32, service_size: i32, method: i32,
        method_size: i32, metadata: i32, metadata_size: i32, to: i32);
    proxy_grpc_send(id: i32, message: i32, size: i32, end: i32);
    proxy_grpc_cancel(id: i32);
    proxy_grpc_close(id: i32);
    proxy_set_shared_data(key: i32, size: i32, value: i32, length: i32, cas: i32);
    proxy_get_shared_data(key: i32, size: i32, to: i32, to_size: i32, cas: i32);
    proxy_register_shared_queue(name: i32, size: i32, to: i32);
    proxy_resolve_shared_queue(vm: i32, vm_size: i32, name: i32, size: i32, to: i32);
    proxy_enqueue_shared_queue(queue: i32, at: i32, size: i32);
    proxy_dequeue_shared_queue(queue: i32, to: i32, size: i32);
    proxy_define_metric(kind: i32, name: i32, size: i32, to: i32);
    proxy_record_metric(id: i32, value: i64);
    proxy_increment_metric(id: i32, delta: i64);
    proxy_get_metric(id: i32, to: i32);
    proxy_get_property(path: i32, size: i32, to: i32, to_size: i32);
    proxy_set_property(path: i32, size: i32, value: i32, length: i32);
    proxy_call_foreign_function(
        name: i32, size: i32, arguments: i32, length: i32, to: i32, to_size: i32);
}

//! A started instance as proxy-wasm calls it: its callbacks, by name and type.

use wasmtime::{Store, TypedFunc, WasmParams, WasmResults};

use super::super::failure::CallError;
use super::super::hostcalls::end_of_call;
use super::super::instance::start;
use super::super::module::Start;
use super::super::state::HostState;
use super::shape::Shape;
use super::state::ROOT;

/// A callback for a head: since 0.2.0 it is told whether that is all.
pub(super) enum Headers {
    Short(TypedFunc<(i32, i32), i32>),
    Long(TypedFunc<(i32, i32, i32), i32>),
}

/// The callback for what a call was answered: root, call, headers, bytes, trailers.
type Answered = TypedFunc<(i32, i32, i32, i32, i32), ()>;

/// What is called of an instance; what it does not export is not called.
pub(in crate::plugin) struct Guest {
    pub(super) on_context_create: Option<TypedFunc<(i32, i32), ()>>,
    pub(super) on_request_headers: Option<Headers>,
    pub(super) on_request_body: Option<TypedFunc<(i32, i32, i32), i32>>,
    pub(super) on_request_trailers: Option<TypedFunc<(i32, i32), i32>>,
    pub(super) on_response_headers: Option<Headers>,
    pub(super) on_response_body: Option<TypedFunc<(i32, i32, i32), i32>>,
    pub(super) on_response_trailers: Option<TypedFunc<(i32, i32), i32>>,
    pub(super) on_http_call_response: Option<Answered>,
    pub(super) on_grpc_initial_metadata: Option<TypedFunc<(i32, i32, i32), ()>>,
    pub(super) on_grpc_receive: Option<TypedFunc<(i32, i32, i32), ()>>,
    pub(super) on_grpc_trailing_metadata: Option<TypedFunc<(i32, i32, i32), ()>>,
    pub(super) on_grpc_close: Option<TypedFunc<(i32, i32, i32), ()>>,
    pub(super) on_tick: Option<TypedFunc<i32, ()>>,
    pub(super) on_queue_ready: Option<TypedFunc<(i32, i32), ()>>,
    pub(super) on_done: Option<TypedFunc<i32, i32>>,
    pub(super) on_log: Option<TypedFunc<i32, ()>>,
    pub(super) on_delete: Option<TypedFunc<i32, ()>>,
}

/// An id, a count or a size as wasm has it.
pub(super) fn int(number: impl TryInto<u32>) -> i32 {
    number.try_into().unwrap_or(u32::MAX).cast_signed()
}

impl Guest {
    /// Runs what starts the module, makes the root context and configures it.
    pub(in crate::plugin) async fn start(
        shape: &Shape,
        instance: &wasmtime::Instance,
        store: &mut Store<HostState>,
    ) -> Result<Self, CallError> {
        let allocate = shape.allocator.and_then(|name| find(instance, store, name));
        let state = store.data_mut();
        state.filter.version = shape.version;
        state.filter.allocate = allocate;
        state.filter.current = ROOT;
        start(shape.start, instance, store).await?;
        if shape.start == Start::Library
            && let Some(main) = find::<(i32, i32), i32>(instance, store, "main")
        {
            main.call_async(&mut *store, (0, 0)).await.map_err(|error| of(error, "main"))?;
        }
        let guest = Self::find(instance, store);
        if let Some(create) = &guest.on_context_create {
            let called = create.call_async(&mut *store, (int(ROOT), 0)).await;
            called.map_err(|error| of(error, "proxy_on_context_create"))?;
        }
        let spec = &store.data().plugin.spec;
        let sizes = (spec.filter.vm_config.len(), spec.filter_config().len());
        for (name, size) in [("proxy_on_vm_start", sizes.0), ("proxy_on_configure", sizes.1)] {
            store.data_mut().filter.current = ROOT;
            let Some(function) = find::<(i32, i32), i32>(instance, store, name) else {
                continue;
            };
            let called = function.call_async(&mut *store, (int(ROOT), int(size))).await;
            if called.map_err(|error| of(error, name))? == 0 {
                let text = format!("{name} returned false: the filter refuses its configuration");
                return Err(CallError::trap(text));
            }
        }
        end_of_call(store.data_mut());
        Ok(guest)
    }

    fn find(instance: &wasmtime::Instance, store: &mut Store<HostState>) -> Self {
        Self {
            on_context_create: find(instance, store, "proxy_on_context_create"),
            on_request_headers: headers(instance, store, "proxy_on_request_headers"),
            on_request_body: find(instance, store, "proxy_on_request_body"),
            on_request_trailers: find(instance, store, "proxy_on_request_trailers"),
            on_response_headers: headers(instance, store, "proxy_on_response_headers"),
            on_response_body: find(instance, store, "proxy_on_response_body"),
            on_response_trailers: find(instance, store, "proxy_on_response_trailers"),
            on_http_call_response: find(instance, store, "proxy_on_http_call_response"),
            on_grpc_initial_metadata: find(
                instance,
                store,
                "proxy_on_grpc_receive_initial_metadata",
            ),
            on_grpc_receive: find(instance, store, "proxy_on_grpc_receive"),
            on_grpc_trailing_metadata: find(
                instance,
                store,
                "proxy_on_grpc_receive_trailing_metadata",
            ),
            on_grpc_close: find(instance, store, "proxy_on_grpc_close"),
            on_tick: find(instance, store, "proxy_on_tick"),
            on_queue_ready: find(instance, store, "proxy_on_queue_ready"),
            on_done: find(instance, store, "proxy_on_done"),
            on_log: find(instance, store, "proxy_on_log"),
            on_delete: find(instance, store, "proxy_on_delete"),
        }
    }
}

impl Headers {
    /// Whether the filter pauses.
    pub(super) async fn call(
        &self,
        store: &mut Store<HostState>,
        id: u32,
        count: usize,
        is_all: bool,
    ) -> wasmtime::Result<i32> {
        match self {
            Self::Short(function) => function.call_async(store, (int(id), int(count))).await,
            Self::Long(function) => {
                let arguments = (int(id), int(count), i32::from(is_all));
                function.call_async(store, arguments).await
            }
        }
    }
}

fn of(error: wasmtime::Error, step: &str) -> CallError {
    CallError::from(error).during(step)
}

fn find<P: WasmParams, R: WasmResults>(
    instance: &wasmtime::Instance,
    store: &mut Store<HostState>,
    name: &str,
) -> Option<TypedFunc<P, R>> {
    instance.get_typed_func(store, name).ok()
}

fn headers(
    instance: &wasmtime::Instance,
    store: &mut Store<HostState>,
    name: &str,
) -> Option<Headers> {
    let long = find(instance, store, name).map(Headers::Long);
    long.or_else(|| find(instance, store, name).map(Headers::Short))
}

//! Write plugins for the Odin gateway in Rust.
//!
//! A plugin is a type that implements [`Plugin`], handed to [`export!`]:
//!
//! ```
//! use odin_plugin::{Context, Error, NoConfig, Outcome, Plugin, Request};
//!
//! struct Hello;
//!
//! impl Plugin for Hello {
//!     type Config = NoConfig;
//!
//!     fn new(_: NoConfig) -> Result<Self, Error> {
//!         Ok(Self)
//!     }
//!
//!     fn on_request(&mut self, _: &Context, request: &Request) -> Result<Outcome, Error> {
//!         Ok(Outcome::next().set_header("X-Hello", request.method()))
//!     }
//! }
//!
//! odin_plugin::export!(Hello);
//! ```
//!
//! What a call costs is decided here as much as in the plugin, so: the input stays the gateway's
//! text, in which things are found when they are asked for; the plugin is built once per
//! configuration, not per call; only what changes is written back, into a buffer that lives as long
//! as the instance.
//!
//! Everything but the calls to the host works the same natively: `cargo test` runs a plugin without
//! WebAssembly, with [`testing`] in the place of the gateway.

/// The border to the gateway: the exported functions' bodies, and who owns which memory.
#[doc(hidden)]
pub mod abi;
/// What the host offers: log, clock, configuration, files, metrics.
pub mod host;
/// Calls over HTTP.
pub mod http;
/// State that all instances share.
pub mod kv;
/// Bodies that pass piece by piece or event by event.
pub mod stream;
/// What a call brings: context, request, response.
pub mod input;
/// What a call returns.
pub mod outcome;
/// A gateway's stand-in for native unit tests.
#[cfg(not(target_arch = "wasm32"))]
pub mod testing;

/// JSON text out: strings escaped into a byte buffer.
mod json;
/// JSON text in: values found by skipping over others.
mod scan;
/// Times in configurations.
mod period;
/// The host functions: imports on wasm32, the stand-in natively.
#[cfg(target_arch = "wasm32")]
mod sys;
#[cfg(not(target_arch = "wasm32"))]
use testing::sys;

pub use input::{Answer, Context, Headers, Request, Response};
pub use outcome::Outcome;
pub use period::Period;

use serde::Deserialize;
use serde::de::DeserializeOwned;

/// Why a plugin could not do its work. The gateway then acts as the plugin's `failureMode` says
/// (auth and ratelimit: refuse; the other types: go on as if the plugin were not there).
///
/// Any error type converts into it by its text, and so does a string.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Error(String);

impl Error {
    /// An error of this text: what was got, what is allowed.
    pub fn new(text: impl Into<String>) -> Self {
        Self(text.into())
    }

    /// The text that goes to the gateway's log.
    pub fn text(&self) -> &str {
        &self.0
    }
}

impl<T: std::fmt::Display> From<T> for Error {
    fn from(cause: T) -> Self {
        Self(cause.to_string())
    }
}

/// One plugin. Each method has a default, so implement the phases that the plugin is about.
///
/// An instance serves one call at a time, and many calls one after another; state in `self` lives
/// in that instance only (every worker of the gateway has its own instances), and is gone when an
/// instance is replaced.
pub trait Plugin: Sized + 'static {
    /// The plugin's `config` block. Use [`NoConfig`] where there is none.
    type Config: DeserializeOwned;

    /// Called when an instance starts, before its first call. An error refuses the configuration:
    /// the gateway does not take it in a reload, and where it has nothing else, the plugin's
    /// `failureMode` decides every request.
    ///
    /// # Errors
    /// Whatever makes the configuration unusable.
    fn new(config: Self::Config) -> Result<Self, Error>;

    /// The request phase. The default lets the request pass.
    ///
    /// # Errors
    /// Whatever keeps the plugin from deciding; see [`Error`] for what the gateway does then.
    fn on_request(&mut self, context: &Context, request: &Request) -> Result<Outcome, Error> {
        let _ = (context, request);
        Ok(Outcome::next())
    }

    /// The response phase. The default lets the response pass.
    ///
    /// # Errors
    /// Whatever keeps the plugin from deciding; see [`Error`] for what the gateway does then.
    fn on_response(&mut self, context: &Context, response: &Response) -> Result<Outcome, Error> {
        let _ = (context, response);
        Ok(Outcome::next())
    }

    /// An aggregation plugin's call: the answers of all the services that were asked, to be made
    /// into one response.
    ///
    /// # Errors
    /// Whatever keeps the plugin from answering. The default is one: such a plugin must say what
    /// it makes of the answers.
    fn on_answers(
        &mut self,
        context: &Context,
        request: &Request,
        answers: &[Answer],
    ) -> Result<Outcome, Error> {
        let _ = (context, request, answers);
        Err(Error::new("this plugin does not aggregate (it has no on_answers)"))
    }

    /// A tick: called by the clock, as often as the configuration's `tick` says, beside requests.
    /// Export it: `export!(MyPlugin, on_tick)`.
    ///
    /// # Errors
    /// Whatever went wrong; it is logged, and the next tick comes all the same.
    fn on_tick(&mut self) -> Result<(), Error> {
        Ok(())
    }

    /// The instance is about to be dropped (reload, unload, shutdown).
    fn cleanup(&mut self) {}
}

/// The configuration of a plugin that has none: whatever stands there is left unread.
#[derive(Debug, Clone, Copy, Default)]
pub struct NoConfig;

impl<'de> Deserialize<'de> for NoConfig {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        serde::de::IgnoredAny::deserialize(deserializer).map(|_| Self)
    }
}

/// Makes a [`Plugin`] the content of this module: exports `execute`, `init`, `cleanup`,
/// `alloc` and `dealloc`.
///
/// `export!(MyPlugin, on_request)` also exports `on_request`: a plugin of type `response` is then
/// called in the request phase too (a cache answers there, before the upstream is asked).
///
/// `export!(MyPlugin, body MyBody)` also exports what gives the plugin bodies piece by piece
/// ([`stream::Body`]); `request_body` or `response_body` in the place of `body`, those of requests
/// or of responses alone.
/// `export!(MyPlugin, on_tick)` also exports `on_tick`, for plugins that have a `tick`; both are
/// exported by `export!(MyPlugin, on_request, on_tick)`.
///
/// Natively it expands to nothing but a check that the type is a plugin.
#[macro_export]
macro_rules! export {
    ($plugin:ty) => {
        $crate::export!(@exports $plugin, {} {});
    };
    ($plugin:ty, on_request) => {
        $crate::export!(@exports $plugin, { on_request } {});
    };
    ($plugin:ty, on_tick) => {
        $crate::export!(@exports $plugin, {} { on_tick });
    };
    ($plugin:ty, on_request, on_tick) => {
        $crate::export!(@exports $plugin, { on_request } { on_tick });
    };
    ($plugin:ty, body $body:ty) => {
        $crate::export!(@exports $plugin, {} {}, $body, on_request_chunk: false, on_response_chunk: true);
    };
    ($plugin:ty, request_body $body:ty) => {
        $crate::export!(@exports $plugin, {} {}, $body, on_request_chunk: false);
    };
    ($plugin:ty, response_body $body:ty) => {
        $crate::export!(@exports $plugin, {} {}, $body, on_response_chunk: true);
    };
    (@exports $plugin:ty, { $($extra:ident)? } { $($tick:ident)? } $(, $body:ty, $($chunk:ident: $is_response:literal),+)?) => {
        const _: fn(<$plugin as $crate::Plugin>::Config) -> Result<$plugin, $crate::Error> =
            <$plugin as $crate::Plugin>::new;
        $(
            const _: $crate::stream::Chunks<$body> = <$body as $crate::stream::Body>::chunk;
        )?

        #[cfg(target_arch = "wasm32")]
        const _: () = {
            ::std::thread_local! {
                static INSTANCE: ::std::cell::RefCell<$crate::abi::Instance<$plugin>> =
                    const { ::std::cell::RefCell::new($crate::abi::Instance::new()) };
            }

            #[unsafe(no_mangle)]
            extern "C" fn init() {
                INSTANCE.with_borrow_mut(|instance| $crate::abi::init(instance));
            }

            #[unsafe(no_mangle)]
            extern "C" fn alloc(size: usize) -> usize {
                $crate::abi::alloc(size)
            }

            #[unsafe(no_mangle)]
            extern "C" fn dealloc(address: usize, size: usize) {
                $crate::abi::dealloc(address, size);
            }

            #[unsafe(no_mangle)]
            extern "C" fn execute(input: usize, len: usize) -> u64 {
                INSTANCE.with_borrow_mut(|instance| $crate::abi::execute(instance, input, len))
            }

            $(
                #[unsafe(no_mangle)]
                extern "C" fn $extra(input: usize, len: usize) -> u64 {
                    execute(input, len)
                }
            )?

            $(
                #[unsafe(no_mangle)]
                extern "C" fn $tick() {
                    INSTANCE.with_borrow_mut(|instance| instance.tick());
                }
            )?

            $(
                ::std::thread_local! {
                    static BODIES: ::std::cell::RefCell<$crate::stream::Bodies<$body>> =
                        ::std::cell::RefCell::default();
                }

                #[unsafe(no_mangle)]
                extern "C" fn on_stream_open(id: u32, input: usize, len: usize) {
                    INSTANCE.with_borrow_mut(|instance| {
                        let input = $crate::abi::bytes(input, len);
                        BODIES.with_borrow_mut(|bodies| instance.open(bodies, id, input));
                    });
                }

                $(
                    #[unsafe(no_mangle)]
                    extern "C" fn $chunk(id: u32, at: usize, len: usize, flags: u32) -> u64 {
                        INSTANCE.with_borrow_mut(|instance| {
                            let bytes = $crate::abi::bytes(at, len);
                            let chunk = $crate::stream::Chunk::new(bytes, flags);
                            let body = (id, $is_response);
                            BODIES.with_borrow_mut(|bodies| instance.chunk(bodies, body, chunk))
                        })
                    }
                )+

                #[unsafe(no_mangle)]
                extern "C" fn on_stream_close(id: u32) {
                    INSTANCE.with_borrow_mut(|instance| {
                        BODIES.with_borrow_mut(|bodies| instance.close(bodies, id));
                    });
                }
            )?

            #[unsafe(no_mangle)]
            extern "C" fn cleanup() {
                INSTANCE.with_borrow_mut(|instance| instance.cleanup());
            }
        };
    };
}

//! The border to the gateway: the bodies of the exported functions, and who owns which memory.
//!
//! - `alloc(size)` hands the host a buffer: for the input, and for what host functions return. It is
//!   the host's, which gives it back with `dealloc` when it wants a larger one. So a host function's
//!   result is copied ([`read`]) and never freed here.
//! - The output lives in the instance's own buffer, valid until the next call of `execute`.
//!
//! Results travel packed: the address in the low 32 bits, the size in the high 32 bits.

#![expect(unsafe_code, reason = "the host hands over addresses of this module's own memory")]

use std::alloc::Layout;

use crate::input::Envelope;
use crate::stream::{Bodies, Body, Chunk};
use crate::{Error, Outcome, Plugin};

/// An output buffer above this is given back after use: one large body must not hold memory for
/// the life of the instance. 64 KiB is a wasm page, so below it nothing would be gained.
const OUTPUT_KEPT_BYTES_MAX: usize = 64 * 1024;

/// One plugin instance: the plugin, the configuration it was built from, the output buffer.
pub struct Instance<P> {
    plugin: Option<Result<P, Error>>,
    /// The configuration's text, to see that a call brings the same one (a comparison costs a
    /// hundredth of parsing it again).
    config: Vec<u8>,
    output: Vec<u8>,
    /// The last call's: the output may stand in it.
    outcome: Option<Outcome>,
}

impl<P> Default for Instance<P> {
    fn default() -> Self {
        Self::new()
    }
}

impl<P> Instance<P> {
    /// An instance before its first call.
    pub const fn new() -> Self {
        Self { plugin: None, config: Vec::new(), output: Vec::new(), outcome: None }
    }
}

impl<P: Plugin> Instance<P> {
    /// One call: the input's JSON in, the output's JSON out.
    pub fn call(&mut self, input: &[u8]) -> &[u8] {
        self.outcome = None;
        let outcome = self.outcome(input);
        self.output.clear();
        self.output.shrink_to(OUTPUT_KEPT_BYTES_MAX);
        match outcome {
            Ok(outcome) => self.outcome.insert(outcome).output(&mut self.output),
            Err(error) => {
                Outcome::write_error(&mut self.output, error.text());
                &self.output
            }
        }
    }

    /// The instance's start: the plugin is built, if its configuration is known already (a gateway
    /// that does not tell it gets a plugin that is built with its first call).
    pub fn start(&mut self, config: Option<&[u8]>) -> Result<(), Error> {
        config.map_or(Ok(()), |config| self.plugin(config).map(drop))
    }

    /// A tick; there is nothing to call where the configuration was refused or is not known yet.
    pub fn tick(&mut self) {
        if let Some(Ok(plugin)) = &mut self.plugin
            && let Err(error) = plugin.on_tick()
        {
            crate::host::log(crate::host::Level::Error, error.text());
        }
    }

    /// The instance's end: the plugin's own `cleanup`, once.
    pub fn cleanup(&mut self) {
        if let Some(Ok(mut plugin)) = self.plugin.take() {
            plugin.cleanup();
        }
    }

    /// The same call as a value.
    fn outcome(&mut self, input: &[u8]) -> Result<Outcome, Error> {
        let envelope = Envelope::read(input)?;
        let plugin = self.plugin(envelope.config.0)?;
        envelope.dispatch(plugin)
    }

    fn plugin(&mut self, config: &[u8]) -> Result<&mut P, Error> {
        if self.plugin.is_none() || self.config != config {
            self.cleanup();
            self.config = config.to_vec();
            self.plugin = Some(build(config));
        }
        match self.plugin.as_mut().expect("built just now or by an earlier call") {
            Ok(plugin) => Ok(plugin),
            Err(error) => Err(error.clone()),
        }
    }
}

impl<P: Plugin> Instance<P> {
    /// The export `on_stream_open`: a body begins to come, of which `input` is the message.
    pub fn open<B: Body<Plugin = P>>(&mut self, bodies: &mut Bodies<B>, id: u32, input: &[u8]) {
        let plugin = Envelope::read(input).and_then(|envelope| self.plugin(envelope.config.0));
        bodies.open(plugin, id, input);
    }

    /// The exports `on_request_chunk` and `on_response_chunk`: the packed result.
    pub fn chunk<B: Body<Plugin = P>>(
        &mut self,
        bodies: &mut Bodies<B>,
        body: (u32, bool),
        chunk: Chunk,
    ) -> u64 {
        let (action, output) = self.pass(bodies, body, chunk);
        action << 60 | pack(output.as_ptr() as usize, output.len())
    }

    /// The same as an action's number and its output.
    pub(crate) fn pass<'b, B: Body<Plugin = P>>(
        &mut self,
        bodies: &'b mut Bodies<B>,
        body: (u32, bool),
        chunk: Chunk,
    ) -> (u64, &'b [u8]) {
        let plugin = self.plugin.as_mut().and_then(|plugin| plugin.as_mut().ok());
        bodies.chunk(plugin, body, chunk)
    }

    /// The export `on_stream_close`: an exchange is over.
    pub fn close<B: Body<Plugin = P>>(&mut self, bodies: &mut Bodies<B>, id: u32) {
        let plugin = self.plugin.as_mut().and_then(|plugin| plugin.as_mut().ok());
        bodies.close(plugin, id);
    }
}

fn build<P: Plugin>(config: &[u8]) -> Result<P, Error> {
    let parsed = serde_json::from_slice(config).map_err(|cause| format!("config: {cause}"))?;
    P::new(parsed).map_err(|error| Error::new(format!("config: {}", error.text())))
}

/// The export `init`: builds the plugin, or says why not and traps, so that a gateway refuses a
/// wrong configuration when it is loaded.
#[cfg(target_arch = "wasm32")]
pub fn init<P: Plugin>(instance: &mut Instance<P>) {
    report_panics();
    if let Err(error) = instance.start(crate::sys::get_config("").as_deref()) {
        crate::host::error(error.text());
        core::arch::wasm32::unreachable();
    }
}

/// Sends a panic's message to the gateway's log before the module traps.
pub fn report_panics() {
    std::panic::set_hook(Box::new(|info| crate::host::error(&info.to_string())));
}

/// The export `alloc`: a buffer that the host fills.
pub fn alloc(size: usize) -> usize {
    // SAFETY: the layout is not of size 0.
    let address = unsafe { std::alloc::alloc(buffer_layout(size)) };
    address.expose_provenance()
}

/// The export `dealloc`: the host needs a buffer no longer.
pub fn dealloc(address: usize, size: usize) {
    // SAFETY: the host gives back what `alloc` made, with the size that it asked for.
    unsafe {
        std::alloc::dealloc(std::ptr::with_exposed_provenance_mut(address), buffer_layout(size))
    }
}

fn buffer_layout(size: usize) -> Layout {
    Layout::array::<u8>(size.max(1)).expect("sizes are at most half of the address space")
}

/// The export `execute`. Addresses are numbers here: no pointer of Rust's has ever been to the host
/// and back.
pub fn execute<P: Plugin>(instance: &mut Instance<P>, address: usize, len: usize) -> u64 {
    let output = instance.call(bytes(address, len));
    pack(output.as_ptr() as usize, output.len())
}

/// What the host has put into one of its buffers.
pub fn bytes<'a>(address: usize, len: usize) -> &'a [u8] {
    if address == 0 || len == 0 {
        return &[];
    }
    // SAFETY: the host wrote `len` bytes there, in a buffer that `alloc` made, and leaves them
    // alone while the call (of `execute`, or of `read`) lasts, past which no slice is kept.
    unsafe { std::slice::from_raw_parts(std::ptr::with_exposed_provenance(address), len) }
}

/// An address and a size as one result.
pub fn pack(address: usize, len: usize) -> u64 {
    (len as u64) << 32 | (address as u64 & 0xffff_ffff)
}

/// A copy of a host function's packed result; `None` if it is 0.
#[cfg(target_arch = "wasm32")]
pub(crate) fn read(packed: u64) -> Option<Vec<u8>> {
    let address = (packed & 0xffff_ffff) as usize;
    (address != 0).then(|| bytes(address, (packed >> 32) as usize).to_vec())
}

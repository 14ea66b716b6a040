//! One call of a guest with a piece of a body: raw bytes in, and an action with raw bytes out.

use std::time::Instant;

use super::super::failure::CallError;
use super::super::hostcalls;
use super::super::instance::Instance;
use super::super::log::Ids;
use super::super::memory;
use super::super::proxy_wasm::Turn;
use super::super::spec::Phase;
use super::super::stats::ErrorKind;

/// Nothing comes behind the bytes of this call.
pub(super) const FLAG_END: i32 = 1;
/// The bytes of this call are one whole event.
pub(super) const FLAG_EVENT: i32 = 2;

/// What the guest makes of a chunk, by the four bits above the length of its output.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::plugin) enum Action {
    /// The bytes go on as they are.
    Pass,
    /// The output goes on in their place.
    Replace,
    /// The host keeps them, and gives them again with those that come.
    Hold,
    /// The output goes on, and is the end of the body.
    End,
    /// The exchange is cut off; the output says why.
    Cut,
    /// As `continue: false` of an output of `execute`.
    Answer,
    /// The plugin could not do its work; the output says why.
    Fail,
}

impl Action {
    fn of(number: u32) -> Option<Self> {
        Some(match number {
            0 => Self::Pass,
            1 => Self::Replace,
            2 => Self::Hold,
            3 => Self::End,
            4 => Self::Cut,
            5 => Self::Answer,
            6 => Self::Fail,
            _ => return None,
        })
    }
}

/// Bits of the high half of a result that are a length; those above them are the action.
const LENGTH_BITS: u32 = 28;

/// Tells the guest that an exchange is over.
pub(super) async fn close(mut turn: Turn, id: u32, deadline: Instant) -> Result<(), CallError> {
    turn.begin(deadline, Ids::default())?;
    let ran = match turn.instance() {
        Ok(instance) => close_stream(instance, id).await,
        Err(error) => Err(error),
    };
    turn.finish(ran)
}

/// Tells the guest of an instance that it may enter.
pub(in crate::plugin) async fn close_stream(
    instance: &mut Instance,
    id: u32,
) -> Result<(), CallError> {
    if let Some(function) = instance.guest.json()?.pieces.close.clone() {
        function.call_async(&mut instance.store, id.cast_signed()).await?;
    }
    Ok(())
}

/// One call of the guest, with all that it needs: it is run to its end whoever leaves.
pub(in crate::plugin) struct Call {
    pub(in crate::plugin) id: u32,
    pub(in crate::plugin) phase: Phase,
    pub(in crate::plugin) input: Option<Vec<u8>>,
    pub(in crate::plugin) bytes: Vec<u8>,
    pub(in crate::plugin) flags: i32,
    /// Bytes that its output may have.
    pub(in crate::plugin) most: usize,
    pub(in crate::plugin) ids: (String, String),
}

impl Call {
    /// Enters the guest: the bytes, what becomes of them, and its output.
    pub(super) async fn run(
        mut self,
        mut turn: Turn,
        deadline: Instant,
    ) -> Result<(Vec<u8>, Action, Vec<u8>), CallError> {
        turn.begin(deadline, Ids { request: &self.ids.0, trace: &self.ids.1 })?;
        let ran = match turn.instance() {
            Ok(instance) => self.enter(instance).await,
            Err(error) => Err(error),
        };
        let (action, output) = turn.finish(ran)?;
        Ok((self.bytes, action, output))
    }

    pub(in crate::plugin) async fn enter(
        &mut self,
        instance: &mut Instance,
    ) -> Result<(Action, Vec<u8>), CallError> {
        let id = self.id.cast_signed();
        if let Some(input) = self.input.take()
            && let Some(function) = instance.guest.json()?.pieces.open.clone()
        {
            let (address, length) = give(instance, &input).await?;
            function.call_async(&mut instance.store, (id, address, length)).await?;
        }
        let pieces = &instance.guest.json()?.pieces;
        let function = match self.phase {
            Phase::Request => pieces.on_request.clone(),
            Phase::Response => pieces.on_response.clone(),
            Phase::Aggregation => None,
        };
        let Some(function) = function else {
            return Ok((Action::Pass, Vec::new()));
        };
        let (address, length) = give(instance, &self.bytes).await?;
        let arguments = (id, address, length, self.flags);
        let answered = function.call_async(&mut instance.store, arguments).await;
        hostcalls::end_of_call(instance.store.data_mut());
        let answered = answered.map_err(CallError::from);
        let words = &instance.store.data().words;
        let answered = answered.map_err(|error| error.after(words))?.cast_unsigned();
        self.read(instance.memory.data(&instance.store), answered)
    }

    fn read(&self, data: &[u8], answered: u64) -> Result<(Action, Vec<u8>), CallError> {
        let (address, high) = (answered as u32, (answered >> 32) as u32);
        let (number, length) = (high >> LENGTH_BITS, high & ((1 << LENGTH_BITS) - 1));
        let Some(action) = Action::of(number) else {
            return Err(CallError::bad_output(format!(
                "the result of a chunk has the action {number} in its four highest bits; 0 to 6 \
                 are known (docs/plugin-abi.md)"
            )));
        };
        if matches!(action, Action::Pass | Action::Hold) {
            return Ok((action, Vec::new()));
        }
        if length as usize > self.most {
            let most = self.most;
            return Err(CallError::bad_output(format!(
                "output is {length} bytes, limit is {most}"
            )));
        }
        let output = memory::slice(data, address, length);
        let output = output.ok_or_else(|| {
            let mut error = memory::out_of_bounds("the output", address, length, data.len());
            error.kind = ErrorKind::BadOutput;
            error
        })?;
        Ok((action, output.to_vec()))
    }
}

/// Copies bytes to where the guest reads its input; their place.
async fn give(instance: &mut Instance, bytes: &[u8]) -> Result<(i32, i32), CallError> {
    let Instance { store, memory, guest, .. } = instance;
    let (memory, guest) = (*memory, guest.json()?);
    store.data_mut().arena.rewind();
    if bytes.len() > guest.input.bytes as usize {
        guest.input = memory::reserve(&mut *store, memory, guest.input, bytes.len()).await?;
    }
    let (address, length) = (guest.input.address, bytes.len() as u32); // reserved: < 2^31
    let data = memory.data_mut(&mut *store);
    let size = data.len();
    memory::slice_mut(data, address, length)
        .ok_or_else(|| memory::out_of_bounds("the input", address, length, size))?
        .copy_from_slice(bytes);
    Ok((address.cast_signed(), length.cast_signed()))
}

//! SETTINGS, both ways (RFC 9113 section 6.5).

use super::{Connection, Event, Failure, Owner, Role};
use crate::http::h2::frame::{
    self, Code, PREFACE, WINDOW_DEFAULT, WINDOW_MAX, setting, write_settings,
};
use crate::http::h2::hpack::TABLE_BYTES_DEFAULT;
use crate::limits::STREAM_WINDOW_BYTES;

impl<T: Owner> Connection<T> {
    /// Writes what a connection begins with.
    pub(super) fn begin(&mut self) {
        let head_bytes = u32::try_from(self.options.heads.bytes_max).unwrap_or(u32::MAX);
        match self.role {
            Role::Server => {
                let settings = [
                    (setting::MAX_CONCURRENT_STREAMS, self.options.streams_max),
                    (setting::MAX_HEADER_LIST_SIZE, head_bytes),
                    (setting::NO_RFC7540_PRIORITIES, 1),
                    (setting::ENABLE_CONNECT_PROTOCOL, 1),
                ];
                write_settings(&settings, &mut self.out);
            }
            Role::Client => {
                self.out.extend_from_slice(PREFACE);
                let settings =
                    [(setting::ENABLE_PUSH, 0), (setting::MAX_HEADER_LIST_SIZE, head_bytes)];
                write_settings(&settings, &mut self.out);
            }
        }
        const { assert!(STREAM_WINDOW_BYTES as i64 == WINDOW_DEFAULT) };
        let more = self.options.connection_window.saturating_sub(STREAM_WINDOW_BYTES);
        if more > 0 {
            frame::write_window_update(0, more, &mut self.out);
        }
    }

    pub(super) fn settings<'a>(
        &mut self,
        head: frame::Head,
        payload: &[u8],
    ) -> Result<Event<'a>, Failure> {
        let failure = |code, reason| Err(Failure { code, reason });
        if head.stream != 0 {
            return failure(Code::Protocol, "SETTINGS of a stream");
        }
        if head.has(frame::flag::ACK) {
            return match (self.has_settings, payload.is_empty()) {
                (true, true) => Ok(Event::Nothing),
                (false, _) => failure(Code::Protocol, "no SETTINGS at the beginning"),
                _ => failure(Code::FrameSize, "an acknowledgement of SETTINGS with a payload"),
            };
        }
        let (settings, rest) = payload.as_chunks::<6>();
        if !rest.is_empty() {
            return failure(Code::FrameSize, "SETTINGS of a broken length");
        }
        let mut window = None;
        for &[a, b, c, d, e, f] in settings {
            let (name, value) = (u16::from_be_bytes([a, b]), u32::from_be_bytes([c, d, e, f]));
            match name {
                setting::INITIAL_WINDOW_SIZE if i64::from(value) > WINDOW_MAX => {
                    return failure(Code::FlowControl, "SETTINGS_INITIAL_WINDOW_SIZE is too large");
                }
                // Of several the last one counts: each would have to go through all streams.
                setting::INITIAL_WINDOW_SIZE => window = Some(value),
                _ => self.setting(name, value)?,
            }
        }
        if let Some(window) = window {
            self.change_windows(window)?;
        }
        self.has_settings = true;
        frame::write_settings_ack(&mut self.out);
        self.drive();
        Ok(Event::Nothing)
    }

    fn setting(&mut self, parameter: u16, value: u32) -> Result<(), Failure> {
        let failure = |code, reason| Err(Failure { code, reason });
        match parameter {
            setting::HEADER_TABLE_SIZE => {
                self.tells_no_table |= (value as usize) < TABLE_BYTES_DEFAULT;
            }
            setting::ENABLE_PUSH if value > 1 || (value == 1 && self.role == Role::Client) => {
                return failure(Code::Protocol, "SETTINGS_ENABLE_PUSH is out of range");
            }
            setting::MAX_CONCURRENT_STREAMS => self.peer.streams_max = value,
            setting::MAX_FRAME_SIZE if !(0x4000..=0xff_ffff).contains(&value) => {
                return failure(Code::Protocol, "SETTINGS_MAX_FRAME_SIZE is out of range");
            }
            setting::ENABLE_CONNECT_PROTOCOL => match (value, self.peer.takes_extended_connect) {
                (0, true) | (2.., _) => {
                    return failure(Code::Protocol, "SETTINGS_ENABLE_CONNECT_PROTOCOL is wrong");
                }
                _ => self.peer.takes_extended_connect = value == 1,
            },
            setting::NO_RFC7540_PRIORITIES if value > 1 => {
                return failure(Code::Protocol, "SETTINGS_NO_RFC7540_PRIORITIES is out of range");
            }
            _ => {}
        }
        Ok(())
    }

    /// Section 6.9.2: the windows of all streams move with it.
    fn change_windows(&mut self, value: u32) -> Result<(), Failure> {
        let too_large =
            Failure { code: Code::FlowControl, reason: "SETTINGS make a window too large" };
        let window = i64::from(value);
        let more = window - self.peer.window;
        self.peer.window = window;
        for stream in self.streams.iter_mut() {
            stream.send_window += more;
            if stream.send_window > WINDOW_MAX {
                return Err(too_large);
            }
            if stream.send_window > 0 && stream.queued > 0 && !stream.is_in_ring {
                stream.is_in_ring = true;
                self.ring.push_back(stream.id);
            }
        }
        Ok(())
    }
}

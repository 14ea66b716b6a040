//! The side of the new process: what it inherits, and how it tells the running one how far it is.
//!
//! The environment variable [`VARIABLE`] describes what was inherited. Sockets from systemd
//! (`LISTEN_FDS`) come the same way, without a predecessor.

#![expect(unsafe_code, reason = "descriptors that the environment names become owned ones")]

use std::os::fd::{FromRawFd, OwnedFd, RawFd};

use serde::{Deserialize, Serialize};
use socket2::SockRef;

use super::channel::{Channel, Message, Received};
use crate::control::edge::ToldTickets;
use crate::control::sockets::{Inherited, Purpose};
use crate::upstream::condition::Carried;

/// The environment variable that says what a process inherits from the one it is to replace.
pub(super) const VARIABLE: &str = "ODIN_UPGRADE";

/// What [`VARIABLE`] holds, as JSON.
#[derive(Debug, Default, Serialize, Deserialize)]
pub(super) struct Description {
    /// The process that is to be replaced.
    pub from: u32,
    /// How many upgrades there were before this one.
    pub upgrades: u64,
    /// The way to it.
    pub channel: RawFd,
    /// The ways from processes before it that still hand over connections.
    pub earlier: Vec<RawFd>,
    /// The listening sockets.
    pub sockets: Vec<Described>,
    /// Plugins and services that do not work in it either.
    pub failing: Vec<String>,
    /// The sockets came from systemd, which holds them too.
    #[serde(default)]
    pub activated: bool,
}

/// A listening socket.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Described {
    /// Its descriptor.
    pub fd: RawFd,
    /// What it is for.
    pub purpose: Purpose,
    /// The words of the configuration that it was made for.
    pub listen: String,
}

/// What this process has inherited.
#[derive(Debug, Default)]
pub struct Inheritance {
    /// Listening sockets.
    pub sockets: Vec<Inherited>,
    /// The process to replace, if there is one.
    pub predecessor: Option<Predecessor>,
    /// The sockets came from systemd, to this process or to one before it: it holds them too, and
    /// goes on holding them.
    pub activated: bool,
}

/// The process that is to be replaced.
#[derive(Debug)]
pub struct Predecessor {
    /// Its id.
    pub pid: u32,
    /// How many upgrades there were before this one.
    pub upgrades: u64,
    failing: Vec<String>,
    channel: OwnedFd,
    earlier: Vec<OwnedFd>,
}

impl Inheritance {
    /// Takes what the environment describes. Once, before anything else opens descriptors.
    ///
    /// # Errors
    /// The environment describes what is not there, in words for the operator.
    pub fn from_env() -> Result<Self, String> {
        if let Some(text) = std::env::var_os(VARIABLE) {
            return Self::described(&text.to_string_lossy())
                .map_err(|reason| format!("{VARIABLE} does not fit this process: {reason}"));
        }
        let is_ours = std::env::var("LISTEN_PID")
            .is_ok_and(|pid| pid.parse::<u32>().is_ok_and(|pid| pid == std::process::id()));
        let count = std::env::var("LISTEN_FDS").ok().filter(|_| is_ours);
        match count {
            Some(count) => Self::activated(&count),
            None => Ok(Self::default()),
        }
    }

    fn described(text: &str) -> Result<Self, String> {
        let description: Description =
            serde_json::from_str(text).map_err(|error| error.to_string())?;
        let mut sockets = Vec::new();
        for Described { fd, purpose, listen } in description.sockets {
            let socket = listening(fd)?;
            sockets.push(Inherited { purpose: Some(purpose), listen: Some(listen), socket });
        }
        let earlier = description.earlier.into_iter().map(own).collect::<Result<_, _>>()?;
        let predecessor = Predecessor {
            pid: description.from,
            upgrades: description.upgrades,
            failing: description.failing,
            channel: own(description.channel)?,
            earlier,
        };
        Ok(Self { sockets, predecessor: Some(predecessor), activated: description.activated })
    }

    /// The sockets of systemd's protocol (sd_listen_fds): from descriptor 3 on.
    fn activated(count: &str) -> Result<Self, String> {
        const FIRST: RawFd = 3;
        let wrong = || format!("LISTEN_FDS is {count:?}; a small number is expected");
        let count: RawFd = count.parse().map_err(|_| wrong())?;
        let last = FIRST.checked_add(count).filter(|_| count >= 0).ok_or_else(wrong)?;
        let mut sockets = Vec::new();
        for fd in FIRST..last {
            let socket = listening(fd).map_err(|reason| format!("LISTEN_FDS: {reason}"))?;
            sockets.push(Inherited { purpose: None, listen: None, socket });
        }
        Ok(Self { sockets, predecessor: None, activated: true })
    }
}

fn listening(fd: RawFd) -> Result<OwnedFd, String> {
    let socket = own(fd)?;
    let words = |error: std::io::Error| format!("descriptor {fd} is no socket: {error}");
    if !SockRef::from(&socket).is_listener().map_err(words)? {
        return Err(format!("descriptor {fd} is a socket that does not listen"));
    }
    SockRef::from(&socket).set_nonblocking(true).map_err(words)?;
    Ok(socket)
}

/// An inherited descriptor, no longer for children of this process.
fn own(fd: RawFd) -> Result<OwnedFd, String> {
    let is_closed = || format!("descriptor {fd} is not open");
    if fd < 3 {
        return Err(format!("descriptor {fd} is one of the standard ones"));
    }
    // SAFETY: nothing in this process owns it: it was inherited, each number is named once by who
    // started the process, and this runs before anything is opened. One that is not open is never
    // used: the next call finds out, and the value is forgotten.
    let fd = unsafe { OwnedFd::from_raw_fd(fd) };
    let Ok(flags) = rustix::io::fcntl_getfd(&fd) else {
        std::mem::forget(fd);
        return Err(is_closed());
    };
    rustix::io::fcntl_setfd(&fd, flags | rustix::io::FdFlags::CLOEXEC)
        .map_err(|error| error.to_string())?;
    Ok(fd)
}

/// The predecessor, in a conversation.
#[derive(Debug)]
pub struct Conversation {
    failing: Vec<String>,
    channel: Channel,
    earlier: Vec<Channel>,
}

impl Predecessor {
    /// Begins to talk. On the control thread's runtime.
    ///
    /// # Errors
    /// In words for the operator.
    pub fn talk(self) -> Result<Conversation, String> {
        let open = |socket| Channel::open(socket).map_err(|error| error.to_string());
        let earlier = self.earlier.into_iter().map(open).collect::<Result<_, _>>()?;
        Ok(Conversation { failing: self.failing, channel: open(self.channel)?, earlier })
    }

    /// Says, before anything runs, that this process cannot serve.
    pub fn refuse(self, reason: &str) {
        let Ok(text) = serde_json::to_vec(&Message::Failed(cut(reason))) else { return };
        // Whoever does not listen any more needs no reason.
        let _ = rustix::net::send(&self.channel, &text, rustix::net::SendFlags::NOSIGNAL);
    }
}

impl Conversation {
    /// The keys of TLS tickets of the running process. To be asked first, and once.
    pub fn tickets(&self) -> Vec<ToldTickets> {
        self.channel.tickets()
    }

    /// Says that this process could serve, and waits until it is to: how targets stand that do not
    /// stand well. It could not if something does not work that works in the running one.
    ///
    /// # Errors
    /// It is not to serve.
    pub async fn prepared(&self, failures: &[(String, String)]) -> Result<Vec<Carried>, String> {
        let is_new = |what: &String| !self.failing.contains(what);
        let news = failures.iter().filter(|(what, _)| is_new(what));
        let news: Vec<_> = news.map(|(what, reason)| format!("{what}: {reason}")).collect();
        if !news.is_empty() {
            return Err(news.join("\n"));
        }
        // If it has ended, that shows below.
        let _ = self.channel.send(&Message::Prepared);
        let mut targets = Vec::new();
        loop {
            match self.channel.receive().await {
                Some(Received::Message(Message::Serve)) => return Ok(targets),
                Some(Received::Message(Message::Target(carried))) => targets.push(*carried),
                Some(Received::Message(other)) => {
                    return Err(format!("the running process answered {other:?}"));
                }
                Some(_) => {}
                None => {
                    tracing::warn!("the process to replace has ended meanwhile: taking its place");
                    return Ok(targets);
                }
            }
        }
    }

    /// Says that this process cannot serve.
    pub fn refuse(&self, reason: &str) {
        let _ = self.channel.send(&Message::Failed(cut(reason)));
    }

    /// Says that this process serves; where connections come from now.
    pub fn serving(self) -> Vec<Channel> {
        let _ = self.channel.send(&Message::Serving);
        let mut channels = self.earlier;
        channels.push(self.channel);
        channels
    }
}

/// The beginning of a reason that may be long: a configuration may have many mistakes.
fn cut(reason: &str) -> String {
    const BYTES: usize = 4 * 1024;
    let mut end = reason.len().min(BYTES);
    while !reason.is_char_boundary(end) {
        end -= 1;
    }
    let more = if end < reason.len() { " …" } else { "" };
    format!("{}{more}", &reason[..end])
}

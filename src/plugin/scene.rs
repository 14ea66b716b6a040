//! What a plugin's author puts in the place of the world: a clock that stands, answers to
//! `http_call`. Workers have the plain world.

use std::cell::Cell;
use std::fmt;
use std::net::IpAddr;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use crate::http::message::RequestHead;
use crate::upstream::call::Answer;

/// Answers an `http_call` by its method and URL, or says why there is no answer.
pub type Answers = Box<dyn Fn(&str, &str) -> Result<Answer, String>>;

/// What an exchange makes of a client's fields before plugins are told of them.
pub type Annotate = fn(&mut RequestHead, IpAddr);

/// The world, or what stands for it.
pub struct Scene {
    /// Since 1970; `None`: the machine's clock.
    time: Cell<Option<Duration>>,
    began: Instant,
    answers: Option<Answers>,
    annotate: Annotate,
}

impl Default for Scene {
    fn default() -> Self {
        let annotate = |_: &mut RequestHead, _| ();
        Self { time: Cell::new(None), began: Instant::now(), answers: None, annotate }
    }
}

impl fmt::Debug for Scene {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Scene").field("time", &self.time.get()).finish_non_exhaustive()
    }
}

impl Scene {
    /// A clock that shows this time since 1970 until it is set, and these answers.
    pub fn new(time: Duration, answers: Answers) -> Self {
        let (time, answers) = (Cell::new(Some(time)), Some(answers));
        Self { time, answers, ..Self::default() }
    }

    /// The same, with requests annotated so.
    #[must_use]
    pub fn annotated(self, annotate: Annotate) -> Self {
        Self { annotate, ..self }
    }

    pub(super) fn annotate(&self) -> Annotate {
        self.annotate
    }

    pub(super) fn set_time(&self, time: Duration) {
        self.time.set(Some(time));
    }

    /// The time since 1970; 0 on a clock set before it.
    pub(super) fn unix_time(&self) -> Duration {
        let now = || SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        self.time.get().unwrap_or_else(now)
    }

    /// The time by which entries of the shared state expire.
    pub(super) fn instant(&self) -> Instant {
        match self.time.get() {
            None => Instant::now(),
            // Only differences count, and they are the clock's.
            Some(time) => self.began.checked_add(time).unwrap_or(self.began),
        }
    }

    pub(super) fn answers(&self) -> Option<&Answers> {
        self.answers.as_ref()
    }
}

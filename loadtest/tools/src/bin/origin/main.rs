//! The origin behind every contender, and the generator of requests at a fixed rate in front of
//! them: one thread on one core, asleep in one epoll for whatever is next. As two programs they
//! would wake each other for every request, and at 20,000 requests/s be busier with that than with
//! requests: the latency to be seen would be their core's queue and not the proxy's.
//!
//! `/bytes/N…` is answered with N bytes, `/echo…` with the request's head as it was received,
//! `/play/ADDRESS/RATE/SECONDS/CONNECTIONS/TARGET` when that load has been played (`openloop.rs`),
//! anything else with 404. A chunked request body is 501: no contender should make one of ours.
//!
//! Usage: origin LISTEN... (as in 127.0.0.1:9000, or 127.0.0.1:9000+5 where answers are to be late by
//! 5 ms)

mod openloop;
mod serving;

use std::io;
use std::os::fd::OwnedFd;
use std::time::Instant;

use rustix::event::epoll::{self, Event};
use rustix::io::Errno;

use openloop::{Failure, Play};
use serving::{Origin, Turn};

/// Events of one wait.
const EVENTS_MAX: usize = 1024;

/// An event's data is a connection's number: from here on one of a load that is played, below that
/// one of the origin's.
const PLAYED: u64 = 1 << 32;

/// A load that goes on, and the connection that asked for it.
struct Asked {
    play: Play,
    by: usize,
}

fn main() -> io::Result<()> {
    let addresses: Vec<String> = std::env::args().skip(1).collect();
    if addresses.is_empty() {
        return Err(io::Error::other("usage: origin LISTEN..."));
    }
    rustix::thread::set_current_timer_slack(std::num::NonZeroU64::new(1))?;
    let epoll = epoll::create(epoll::CreateFlags::CLOEXEC)?;
    let mut origin = Origin::bind(&addresses, &epoll)?;
    let mut asked: Option<Asked> = None;
    let mut events = Vec::with_capacity(EVENTS_MAX);
    loop {
        send_what_is_due(&mut asked, &mut origin);
        origin.send_late();
        let now = Instant::now();
        let plays = asked.as_ref().map(|asked| asked.play.wait(now));
        let wait = plays.into_iter().chain(origin.wait(now)).min();
        let wait = wait.map(|wait| wait.try_into().map_err(io::Error::other)).transpose()?;
        events.clear();
        match epoll::wait(&epoll, rustix::buffer::spare_capacity(&mut events), wait.as_ref()) {
            // Stopped and continued.
            Err(Errno::INTR) => continue,
            waited => waited?,
        };
        for event in &events {
            // Between any two: a request must not wait for a whole turn.
            send_what_is_due(&mut asked, &mut origin);
            take(event, &epoll, &mut origin, &mut asked)?;
        }
    }
}

fn send_what_is_due(asked: &mut Option<Asked>, origin: &mut Origin) {
    let Some(Asked { play, .. }) = asked else { return };
    match play.send_what_is_due() {
        Ok(false) => {}
        Ok(true) => {
            let seen = play.seen();
            end(asked, origin, Ok(seen));
        }
        Err(failure) => end(asked, origin, Err(failure)),
    }
}

/// Ends the load that goes on, and tells who asked for it.
fn end(asked: &mut Option<Asked>, origin: &mut Origin, outcome: Result<String, Failure>) {
    if let Some(Asked { by, .. }) = asked.take() {
        origin.answer(by, &answer(outcome));
    }
}

fn answer(outcome: Result<String, Failure>) -> Vec<u8> {
    match outcome {
        Ok(seen) => serving::response("200 OK", seen.as_bytes()),
        Err(Failure::NotSustained) => {
            let text = b"the rate was not sustained";
            serving::response("503 Service Unavailable", text)
        }
        Err(Failure::Asked(text)) => serving::response("400 Bad Request", text.as_bytes()),
        Err(Failure::Io(error)) => {
            serving::response("502 Bad Gateway", error.to_string().as_bytes())
        }
    }
}

fn take(
    event: &Event,
    epoll: &OwnedFd,
    origin: &mut Origin,
    asked: &mut Option<Asked>,
) -> io::Result<()> {
    let number = event.data.u64();
    if number >= PLAYED {
        // What came for a load that has failed meanwhile is nobody's.
        let Some(Asked { play, .. }) = asked else { return Ok(()) };
        if let Err(error) = play.receive((number - PLAYED) as usize) {
            end(asked, origin, Err(Failure::Io(error)));
        }
        return Ok(());
    }
    let index = number as usize;
    match origin.turn(index, epoll)? {
        Turn::Served => {}
        // Nobody waits for what it asked for.
        Turn::Ended => drop(asked.take_if(|asked| asked.by == index)),
        Turn::Asked(words) if asked.is_none() => match Play::begin(&words, epoll, PLAYED) {
            Ok(play) => *asked = Some(Asked { play, by: index }),
            Err(failure) => origin.answer(index, &answer(Err(failure))),
        },
        Turn::Asked(_) => {
            origin.answer(index, &serving::response("409 Conflict", b"one at a time"))
        }
    }
    Ok(())
}

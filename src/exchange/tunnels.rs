//! The tunnels of a worker that are open, and who tells them to end: a reload that takes their
//! service away, a stop.

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::task::{Context, Waker};

/// Those of one worker.
#[derive(Debug, Default)]
pub struct Tunnels {
    /// A free place is `None`.
    list: RefCell<Vec<Option<Open>>>,
    /// Every one is to end, those that begin now as well.
    all_end: Cell<bool>,
}

#[derive(Debug)]
struct Open {
    service: String,
    /// Why it is to end.
    told: Option<&'static str>,
    waker: Option<Waker>,
}

/// What the log says of a tunnel that a stop has ended.
const DRAINED: &str = "the gateway has stopped";
/// Of one whose service a reload has taken away.
const UNSERVED: &str = "the service is in the configuration no more";

impl Tunnels {
    /// Notes one of a service.
    pub(super) fn begin(self: &Rc<Self>, service: &str) -> Place {
        let told = self.all_end.get().then_some(DRAINED);
        let open = Some(Open { service: service.to_owned(), told, waker: None });
        let mut list = self.list.borrow_mut();
        let free = list.iter().position(Option::is_none);
        let at = free.unwrap_or(list.len());
        match free {
            Some(at) => list[at] = open,
            None => list.push(open),
        }
        Place { tunnels: self.clone(), at }
    }

    /// Ends all, and those that begin from now on.
    pub fn end_all(&self) {
        self.all_end.set(true);
        self.end(|_| true, DRAINED);
    }

    /// Ends those of services that are there no more.
    pub fn keep_those_of(&self, is_there: impl Fn(&str) -> bool) {
        self.end(|service| !is_there(service), UNSERVED);
    }

    fn end(&self, which: impl Fn(&str) -> bool, why: &'static str) {
        for open in self.list.borrow_mut().iter_mut().flatten() {
            if which(&open.service) {
                open.told.get_or_insert(why);
                if let Some(waker) = open.waker.take() {
                    waker.wake();
                }
            }
        }
    }

    /// How many there are.
    pub fn open(&self) -> usize {
        self.list.borrow().iter().flatten().count()
    }
}

/// One that is open, as long as this lives.
#[derive(Debug)]
pub(super) struct Place {
    tunnels: Rc<Tunnels>,
    at: usize,
}

impl Place {
    /// Why it is to end, if it is; else the task is woken when it is.
    pub(super) fn poll_told(&self, cx: &Context<'_>) -> Option<&'static str> {
        let mut list = self.tunnels.list.borrow_mut();
        let open = list.get_mut(self.at)?.as_mut()?;
        if open.told.is_none() {
            match &mut open.waker {
                Some(known) => known.clone_from(cx.waker()),
                place => *place = Some(cx.waker().clone()),
            }
        }
        open.told
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        if let Some(place) = self.tunnels.list.borrow_mut().get_mut(self.at) {
            *place = None;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tunnel_is_told_to_end_with_its_service_or_with_all() {
        let tunnels = Rc::<Tunnels>::default();
        let cx = Context::from_waker(Waker::noop());
        let (one, other) = (tunnels.begin("one"), tunnels.begin("other"));
        assert_eq!((one.poll_told(&cx), tunnels.open()), (None, 2));
        tunnels.keep_those_of(|service| service == "other");
        assert_eq!((one.poll_told(&cx), other.poll_told(&cx)), (Some(UNSERVED), None));
        drop(one);
        let third = tunnels.begin("one");
        assert_eq!((third.at, third.poll_told(&cx), tunnels.open()), (0, None, 2));
        tunnels.end_all();
        assert_eq!((third.poll_told(&cx), other.poll_told(&cx)), (Some(DRAINED), Some(DRAINED)));
        assert_eq!(tunnels.begin("late").poll_told(&cx), Some(DRAINED));
    }
}

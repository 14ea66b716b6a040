//! Deadlines that wake a task instead of ending a socket: for what shares one with others, as the
//! streams of HTTP/2 do. The same sweep fires them.

use std::fmt;
use std::rc::Rc;
use std::task::{Context, Waker};

use super::{Deadlines, Table};

/// `at_ms` is `u64::MAX` while disarmed.
#[derive(Debug)]
pub(super) struct Alarm {
    at_ms: u64,
    has_fired: bool,
    waker: Option<Waker>,
}

/// Those of a worker.
#[derive(Debug, Default)]
pub(super) struct Alarms {
    list: Vec<Alarm>,
    free: Vec<usize>,
}

impl Alarms {
    /// Fires what is due; whether anything is still armed.
    pub(super) fn sweep(&mut self, now_ms: u64) -> bool {
        let mut is_any_armed = false;
        for alarm in &mut self.list {
            if alarm.at_ms <= now_ms {
                alarm.at_ms = u64::MAX;
                alarm.has_fired = true;
                if let Some(waker) = alarm.waker.take() {
                    waker.wake();
                }
            }
            is_any_armed |= alarm.at_ms != u64::MAX;
        }
        is_any_armed
    }
}

impl Deadlines {
    /// A disarmed timer.
    pub fn timer(&self) -> Timer {
        let mut alarms = self.table.alarms.borrow_mut();
        let alarm = Alarm { at_ms: u64::MAX, has_fired: false, waker: None };
        let index = match alarms.free.pop() {
            Some(index) => {
                alarms.list[index] = alarm;
                index
            }
            None => {
                alarms.list.push(alarm);
                alarms.list.len() - 1
            }
        };
        Timer { table: self.table.clone(), index }
    }
}

/// Wakes who waits for something, once.
pub struct Timer {
    table: Rc<Table>,
    index: usize,
}

impl Timer {
    /// Fires at this time of `now_ms`'s clock, unless it is armed anew or disarmed.
    pub fn arm_at(&self, at_ms: u64) {
        let alarm = &mut self.table.alarms.borrow_mut().list[self.index];
        alarm.at_ms = at_ms;
        alarm.has_fired = false;
    }

    /// Calls it off.
    pub fn disarm(&self) {
        self.arm_at(u64::MAX);
    }

    /// Whether it is armed.
    pub fn is_armed(&self) -> bool {
        self.table.alarms.borrow().list[self.index].at_ms != u64::MAX
    }

    /// Whether it has fired since it was armed; if not, the task is woken when it does.
    pub fn poll_fired(&self, cx: &Context<'_>) -> bool {
        let alarm = &mut self.table.alarms.borrow_mut().list[self.index];
        if !alarm.has_fired {
            match &mut alarm.waker {
                Some(waker) => waker.clone_from(cx.waker()),
                waker => *waker = Some(cx.waker().clone()),
            }
        }
        alarm.has_fired
    }
}

impl Drop for Timer {
    fn drop(&mut self) {
        let mut alarms = self.table.alarms.borrow_mut();
        let alarm = &mut alarms.list[self.index];
        alarm.at_ms = u64::MAX;
        alarm.waker = None;
        alarms.free.push(self.index);
    }
}

impl fmt::Debug for Timer {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.debug_struct("Timer").field("index", &self.index).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_timer_fires_once_and_not_if_it_is_called_off() {
        let deadlines = Deadlines::default();
        let (due, called_off) = (deadlines.timer(), deadlines.timer());
        let cx = Context::from_waker(Waker::noop());
        due.arm_at(10);
        called_off.arm_at(10);
        called_off.disarm();
        assert!(deadlines.sweep(9) && !due.poll_fired(&cx));
        assert!(!deadlines.sweep(10));
        assert!(due.poll_fired(&cx) && !called_off.poll_fired(&cx) && !due.is_armed());
        due.arm_at(20);
        assert!(!due.poll_fired(&cx) && due.is_armed());
        let index = due.index;
        drop(due);
        assert_eq!(deadlines.timer().index, index);
    }
}

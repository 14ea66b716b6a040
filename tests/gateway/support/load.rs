//! A small load that fails at the first thing that goes wrong.

use super::{Client, Gateway, wait_until};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::SeqCst};
use std::thread::JoinHandle;

/// Clients that go on until told to stop. Each panics at the first thing that goes wrong.
pub struct Load {
    stop: Arc<AtomicBool>,
    count: Arc<AtomicUsize>,
    clients: Vec<JoinHandle<()>>,
}

impl Load {
    /// Clients of both kinds: some keep their connection, and it must never close; others open a
    /// new one for each request.
    pub fn start(gateway: &Gateway) -> Self {
        let (stop, count) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicUsize::new(0)));
        let addr = gateway.addr;
        let client = |keeps: bool| {
            let (stop, count) = (stop.clone(), count.clone());
            std::thread::spawn(move || {
                let mut client = Client::connect(addr);
                while !stop.load(SeqCst) {
                    if !keeps {
                        client = Client::connect(addr);
                    }
                    let response = client.get("/");
                    assert_eq!(response.status, 200, "{}", response.text());
                    assert!(!response.closes(), "{}", response.head);
                    count.fetch_add(1, SeqCst);
                }
            })
        };
        let clients = [true, true, true, false, false].map(client).into();
        Self { stop, count, clients }
    }

    /// Waits for so many more requests.
    pub fn go_on(&self, more: usize) {
        let goal = self.count.load(SeqCst) + more;
        wait_until("the clients go on", || {
            assert!(self.clients.iter().all(|client| !client.is_finished()), "a client failed");
            self.count.load(SeqCst) >= goal
        });
    }

    pub fn end(self) {
        self.stop.store(true, SeqCst);
        for client in self.clients {
            client.join().expect("no request fails");
        }
    }
}

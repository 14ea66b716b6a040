//! A name server on the loopback, over UDP, that knows what a test tells it.

use std::net::{Ipv4Addr, SocketAddr, UdpSocket};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::SeqCst};
use std::sync::{Arc, Mutex};
use std::time::Duration;

/// What a name has.
#[derive(Debug, Clone)]
pub enum Data {
    A(Ipv4Addr),
    /// Priority, weight, port, host.
    Srv(u16, u16, u16, &'static str),
}

#[derive(Default)]
struct Shared {
    /// Name, time to live in seconds, what it has.
    records: Mutex<Vec<(&'static str, u32, Data)>>,
    questions: AtomicUsize,
    is_silent: AtomicBool,
    is_over: AtomicBool,
}

/// Ends with its value.
pub struct NameServer {
    pub addr: SocketAddr,
    shared: Arc<Shared>,
}

impl NameServer {
    pub fn start(records: &[(&'static str, u32, Data)]) -> Self {
        let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
        socket.set_read_timeout(Some(Duration::from_millis(100))).unwrap();
        let addr = socket.local_addr().unwrap();
        let shared = Arc::new(Shared::default());
        let server = Self { addr, shared: shared.clone() };
        server.knows(records);
        std::thread::spawn(move || {
            let mut bytes = [0; 1500];
            while !shared.is_over.load(SeqCst) {
                let Ok((length, from)) = socket.recv_from(&mut bytes) else { continue };
                shared.questions.fetch_add(1, SeqCst);
                if !shared.is_silent.load(SeqCst)
                    && let Some(answer) = answer(&bytes[..length], &shared.records.lock().unwrap())
                {
                    socket.send_to(&answer, from).unwrap();
                }
            }
        });
        server
    }

    /// Knows these from now on, and no others.
    pub fn knows(&self, records: &[(&'static str, u32, Data)]) {
        *self.shared.records.lock().unwrap() = records.to_vec();
    }

    /// Answers nothing from now on, or again.
    pub fn is_silent(&self, is_silent: bool) {
        self.shared.is_silent.store(is_silent, SeqCst);
    }

    /// How many questions came.
    pub fn questions(&self) -> usize {
        self.shared.questions.load(SeqCst)
    }
}

impl Drop for NameServer {
    fn drop(&mut self) {
        self.shared.is_over.store(true, SeqCst);
    }
}

/// RFC 1035 section 4.
fn answer(question: &[u8], records: &[(&'static str, u32, Data)]) -> Option<Vec<u8>> {
    let (mut labels, mut at) = (Vec::new(), 12);
    loop {
        let length = *question.get(at)? as usize;
        at += 1;
        if length == 0 {
            break;
        }
        labels.push(String::from_utf8_lossy(question.get(at..at + length)?).to_lowercase());
        at += length;
    }
    let (name, kind) = (labels.join("."), u16::from_be_bytes([question[at], question[at + 1]]));
    let of_name: Vec<_> = records.iter().filter(|(one, ..)| *one == name).collect();
    let mut found = Vec::new();
    for (_, ttl, data) in &of_name {
        let (number, bytes) = match data {
            Data::A(ip) => (1_u16, ip.octets().to_vec()),
            Data::Srv(priority, weight, port, host) => {
                let numbers =
                    [priority, weight, port].into_iter().flat_map(|one| one.to_be_bytes());
                (33, numbers.chain(encoded(host)).collect())
            }
        };
        if number == kind {
            found.push((number, *ttl, bytes));
        }
    }
    let mut out = question[..2].to_vec();
    // A response, with recursion; 3: there is no such name.
    out.extend([0x85, if of_name.is_empty() { 0x83 } else { 0x80 }, 0, 1, 0, found.len() as u8]);
    out.extend([0; 4]);
    out.extend(&question[12..at + 4]);
    for (number, ttl, bytes) in found {
        out.extend([0xc0, 12]);
        out.extend(number.to_be_bytes());
        out.extend([0, 1]);
        out.extend(ttl.to_be_bytes());
        out.extend((bytes.len() as u16).to_be_bytes());
        out.extend(bytes);
    }
    Some(out)
}

fn encoded(name: &str) -> Vec<u8> {
    let label = |label: &str| [&[label.len() as u8], label.as_bytes()].concat();
    name.split('.').flat_map(label).chain([0]).collect()
}

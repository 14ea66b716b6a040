//! A server of modules that says what a test wants, true or not, with TLS or without.

use std::collections::HashMap;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::{ServerConfig, ServerConnection, StreamOwned};

use crate::support::secure::{Issuer, Leaf};
use crate::support::{Gate, PATIENCE};

/// What a path is answered with.
#[derive(Clone)]
pub enum Answer {
    /// These bytes, as a module's.
    Whole(Vec<u8>),
    /// A status and a body.
    Status(u16, &'static str),
    /// Exactly these bytes, then the end.
    Raw(Vec<u8>),
    /// The first half; the rest when the gate opens.
    Held(Gate, Vec<u8>),
    /// Another place.
    Redirect(String),
    /// Nothing, for as long as the client waits.
    Silent,
    /// A head, then a byte now and then.
    Drip,
    /// A body that never ends.
    Endless,
    /// The module, to who shows exactly this.
    Only(String, Vec<u8>),
    /// The same, to who shows the second; others are told the first.
    Asks(String, String, Vec<u8>),
}

/// A request that came.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Asked {
    pub path: String,
    pub authorization: Option<String>,
}

#[derive(Default)]
struct State {
    answers: HashMap<String, Answer>,
    asked: Vec<Asked>,
}

/// The server.
pub struct Shelf {
    pub addr: SocketAddr,
    /// Whom its certificate is from, if it has one.
    pub ca: Option<String>,
    state: Arc<Mutex<State>>,
}

impl Shelf {
    /// One with a certificate for `localhost`.
    pub fn secure() -> Self {
        let issuer = Issuer::new("shelf");
        let (certificate, key) = issuer.issue(&Leaf::default());
        let chain = CertificateDer::pem_slice_iter(certificate.as_bytes());
        let chain = chain.collect::<Result<Vec<_>, _>>().unwrap();
        let key = PrivateKeyDer::from_pem_slice(key.as_bytes()).unwrap();
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let config = ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(chain, key)
            .unwrap();
        Self::start(Some((Arc::new(config), issuer.pem())), ([127, 0, 0, 1], 0).into())
    }

    /// One without TLS.
    pub fn plain() -> Self {
        Self::plain_at(([127, 0, 0, 1], 0).into())
    }

    pub fn plain_at(addr: SocketAddr) -> Self {
        Self::start(None, addr)
    }

    fn start(tls: Option<(Arc<ServerConfig>, String)>, addr: SocketAddr) -> Self {
        let listener = TcpListener::bind(addr).unwrap();
        let addr = listener.local_addr().unwrap();
        let state = Arc::<Mutex<State>>::default();
        let ca = tls.as_ref().map(|(_, pem)| pem.clone());
        let (shared, config) = (Arc::clone(&state), tls.map(|(config, _)| config));
        std::thread::spawn(move || {
            for stream in listener.incoming().map_while(Result::ok) {
                let (state, config) = (Arc::clone(&shared), config.clone());
                std::thread::spawn(move || serve(stream, config, &state));
            }
        });
        Self { addr, ca, state }
    }

    /// Its URL of a path.
    pub fn url(&self, path: &str) -> String {
        match self.ca {
            Some(_) => format!("https://localhost:{}{path}", self.addr.port()),
            None => format!("http://{}{path}", self.addr),
        }
    }

    pub fn host(&self) -> String {
        match self.ca {
            Some(_) => format!("localhost:{}", self.addr.port()),
            None => self.addr.to_string(),
        }
    }

    pub fn put(&self, path: &str, answer: Answer) {
        self.state.lock().unwrap().answers.insert(path.to_owned(), answer);
    }

    /// The requests so far.
    pub fn asked(&self) -> Vec<Asked> {
        self.state.lock().unwrap().asked.clone()
    }

    /// How often a path was asked for.
    pub fn count(&self, path: &str) -> usize {
        self.asked().iter().filter(|asked| asked.path == path).count()
    }
}

fn serve(stream: TcpStream, tls: Option<Arc<ServerConfig>>, state: &Mutex<State>) {
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    stream.set_write_timeout(Some(PATIENCE)).unwrap();
    match tls {
        None => answer(stream, state),
        Some(config) => {
            let connection = ServerConnection::new(config).unwrap();
            answer(StreamOwned::new(connection, stream), state);
        }
    }
}

/// One request of a connection; a client that leaves ends it.
fn answer(mut stream: impl Read + Write, state: &Mutex<State>) {
    let mut reader = BufReader::new(&mut stream);
    let mut line = String::new();
    if reader.read_line(&mut line).unwrap_or(0) == 0 {
        return;
    }
    let path = line.split(' ').nth(1).unwrap_or_default().to_owned();
    let mut authorization = None;
    loop {
        let mut line = String::new();
        if reader.read_line(&mut line).unwrap_or(0) == 0 || line == "\r\n" {
            break;
        }
        if let Some((name, value)) = line.split_once(':')
            && name.eq_ignore_ascii_case("authorization")
        {
            authorization = Some(value.trim().to_owned());
        }
    }
    let answer = {
        let mut state = state.lock().unwrap();
        state.asked.push(Asked { path: path.clone(), authorization: authorization.clone() });
        state.answers.get(&path).cloned().unwrap_or(Answer::Status(404, "no such thing"))
    };
    // Whether the client takes it is its own affair.
    let _ = write(&mut stream, answer, authorization.as_deref());
    let _ = stream.flush();
}

fn whole(bytes: &[u8]) -> Vec<u8> {
    let head = format!(
        "HTTP/1.1 200 OK\r\nContent-Type: application/wasm\r\nContent-Length: {}\r\n\
         Connection: close\r\n\r\n",
        bytes.len()
    );
    [head.as_bytes(), bytes].concat()
}

fn status(status: u16, more: &str, body: &str) -> Vec<u8> {
    let length = body.len();
    let head = format!(
        "HTTP/1.1 {status} Said\r\nContent-Type: text/html\r\nContent-Length: {length}\r\n\
         Connection: close\r\n{more}\r\n{body}"
    );
    head.into_bytes()
}

fn write(
    stream: &mut (impl Read + Write),
    answer: Answer,
    shown: Option<&str>,
) -> std::io::Result<()> {
    match answer {
        Answer::Whole(bytes) => stream.write_all(&whole(&bytes)),
        Answer::Status(code, body) => stream.write_all(&status(code, "", body)),
        Answer::Raw(bytes) => stream.write_all(&bytes),
        Answer::Held(gate, bytes) => {
            let all = whole(&bytes);
            let (first, rest) = all.split_at(all.len() - bytes.len() / 2);
            stream.write_all(first)?;
            stream.flush()?;
            gate.wait();
            stream.write_all(rest)
        }
        Answer::Redirect(to) => stream.write_all(&status(302, &format!("Location: {to}\r\n"), "")),
        Answer::Silent => {
            // Until the client goes.
            let _ = stream.read(&mut [0; 16]);
            Ok(())
        }
        Answer::Drip => {
            stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 100000\r\n\r\n")?;
            loop {
                stream.write_all(b"\0")?;
                stream.flush()?;
                std::thread::sleep(Duration::from_millis(50));
            }
        }
        Answer::Endless => {
            stream.write_all(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")?;
            let chunk = [b"100000\r\n".as_slice(), &vec![0; 0x10_0000], b"\r\n"].concat();
            loop {
                stream.write_all(&chunk)?;
            }
        }
        Answer::Asks(_, expected, bytes) if shown == Some(expected.as_str()) => {
            stream.write_all(&whole(&bytes))
        }
        Answer::Asks(asks, ..) => {
            stream.write_all(&status(401, &format!("WWW-Authenticate: {asks}\r\n"), ""))
        }
        Answer::Only(expected, bytes) => match shown {
            Some(shown) if shown == expected => stream.write_all(&whole(&bytes)),
            _ => stream.write_all(&status(401, "", "who are you?")),
        },
    }
}

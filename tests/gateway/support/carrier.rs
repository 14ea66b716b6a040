//! What carries a client's bytes: a socket in the clear, or TLS over it. What is a message depends
//! on neither, and the tests that say so run over both.

use std::io::{Read, Result, Write};
use std::net::{Shutdown, TcpStream};

use rustls::{ClientConnection, StreamOwned};

use super::secure::{Issuer, Leaf, Shaker};
use super::{Setup, TempDir};

/// What a test is to be carried by.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Carrier {
    Clear,
    Tls,
}

impl Carrier {
    /// The listener that a gateway needs for it and how a client speaks to that; `None`: as it is.
    pub fn listener(self, dir: &TempDir) -> Option<(String, Shaker)> {
        match self {
            Self::Clear => None,
            Self::Tls => {
                let issuer = Issuer::new("carrier");
                let pair = issuer.write(dir, "carrier", &Leaf::default());
                let listen = format!("{{address: '127.0.0.1:0', tls: {{certificates: [{pair}]}}}}");
                Some((listen, Shaker::trusting(&issuer, |_| ())))
            }
        }
    }
}

impl Setup {
    /// The one listener is reached by this, and [`super::Gateway::client`] speaks so.
    pub fn carried_by(mut self, by: Carrier) -> Self {
        match by.listener(&self.dir) {
            None => self,
            Some((listen, shaker)) => {
                self.shaker = Some(shaker);
                self.listen(&listen)
            }
        }
    }
}

/// Makes two tests of each function that takes a [`Carrier`].
macro_rules! over_both {
    ($($name:ident),* $(,)?) => {
        mod in_the_clear {
            $(#[test]
            fn $name() {
                super::$name($crate::support::carrier::Carrier::Clear);
            })*
        }
        mod by_tls {
            $(#[test]
            fn $name() {
                super::$name($crate::support::carrier::Carrier::Tls);
            })*
        }
    };
}
pub(crate) use over_both;

/// One connection.
pub enum Carried {
    Clear(TcpStream),
    Secure(Box<StreamOwned<ClientConnection, TcpStream>>),
}

impl Carried {
    pub fn socket(&self) -> &TcpStream {
        match self {
            Self::Clear(socket) => socket,
            Self::Secure(stream) => stream.get_ref(),
        }
    }

    /// Ends the sending direction: by TLS it says so first.
    pub fn finish_sending(&mut self) {
        if let Self::Secure(stream) = self {
            stream.conn.send_close_notify();
            let _ = stream.flush();
        }
        let _ = self.socket().shutdown(Shutdown::Write);
    }
}

impl Read for Carried {
    fn read(&mut self, into: &mut [u8]) -> Result<usize> {
        match self {
            Self::Clear(socket) => socket.read(into),
            Self::Secure(stream) => stream.read(into),
        }
    }
}

impl Write for Carried {
    fn write(&mut self, bytes: &[u8]) -> Result<usize> {
        match self {
            Self::Clear(socket) => socket.write(bytes),
            Self::Secure(stream) => {
                let count = stream.write(bytes)?;
                stream.flush()?;
                Ok(count)
            }
        }
    }

    fn flush(&mut self) -> Result<()> {
        match self {
            Self::Clear(socket) => socket.flush(),
            Self::Secure(stream) => stream.flush(),
        }
    }
}

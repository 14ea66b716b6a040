//! A real nginx as the origin; Debian's, `make test` installs it.

use std::net::{SocketAddr, TcpListener, TcpStream};
use std::process::{Child, Command, Stdio};

use super::{TempDir, wait_until};

/// A running nginx; ends with its value.
pub struct Nginx {
    pub addr: SocketAddr,
    dir: TempDir,
    child: Child,
}

impl Nginx {
    /// Starts one server with these directives, after `prepare` has written what they name.
    pub fn start(server: &str, prepare: impl FnOnce(&TempDir)) -> Self {
        Self::listening("", server, prepare)
    }

    /// How many requests it has answered.
    pub fn answered(&self) -> usize {
        let log = std::fs::read_to_string(self.dir.path().join("access.log"));
        log.map_or(0, |log| log.lines().count())
    }

    /// The same by TLS, with `server.pem` and `server.key` of its folder.
    pub fn with_tls(server: &str, prepare: impl FnOnce(&TempDir)) -> Self {
        let keys = "ssl_certificate server.pem; ssl_certificate_key server.key;";
        Self::listening("ssl", &format!("{keys} {server}"), prepare)
    }

    fn listening(how: &str, server: &str, prepare: impl FnOnce(&TempDir)) -> Self {
        let dir = TempDir::new();
        prepare(&dir);
        // nginx cannot pick a port itself. The one found here is free until somebody else of this
        // machine takes it in the next milliseconds.
        let addr = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
        let conf = format!(
            "daemon off; worker_processes 1; pid nginx.pid; error_log stderr warn;
             events {{ worker_connections 1024; }}
             http {{
               access_log access.log; keepalive_requests 1000000; client_max_body_size 0;
               client_body_temp_path body; proxy_temp_path proxy; fastcgi_temp_path fastcgi;
               uwsgi_temp_path uwsgi; scgi_temp_path scgi;
               server {{ listen {addr} {how} backlog=4096; {server} }}
             }}"
        );
        let path = dir.write("nginx.conf", conf);
        let child = Command::new("nginx")
            .arg("-p")
            .arg(dir.path())
            .arg("-c")
            .arg(&path)
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("nginx is installed (`make test` does it)");
        let nginx = Self { addr, dir, child };
        wait_until("nginx listens", || TcpStream::connect(addr).is_ok());
        nginx
    }
}

impl Drop for Nginx {
    fn drop(&mut self) {
        let pid = rustix::process::Pid::from_raw(self.child.id().cast_signed()).unwrap();
        // TERM, so that the master ends its workers too.
        let _ = rustix::process::kill_process(pid, rustix::process::Signal::TERM);
        let _ = self.child.wait();
    }
}

//! A real etcd of one or several members; Debian's, `make setup` installs it.

use std::net::TcpListener;
use std::path::Path;
use std::process::{Child, Command, Output, Stdio};
use std::time::Instant;

use super::{Client, PATIENCE, TempDir, wait_until};

/// A running etcd; ends with its value.
pub struct Etcd {
    members: Vec<Member>,
    dir: TempDir,
}

struct Member {
    name: String,
    client: u16,
    child: Option<Child>,
    arguments: Vec<String>,
}

/// How to start it, beside what every one is told.
#[derive(Default)]
pub struct Options {
    /// More arguments of each member.
    pub arguments: Vec<String>,
    /// Whether clients are spoken to by TLS.
    pub tls: bool,
}

impl Etcd {
    /// One member.
    pub fn one() -> Self {
        Self::start(1, &Options::default(), |_| ())
    }

    /// So many, which elect a leader.
    pub fn of(count: usize) -> Self {
        Self::start(count, &Options::default(), |_| ())
    }

    /// `prepare` writes what the arguments name, into the folder that members run in.
    pub fn start(count: usize, options: &Options, prepare: impl Fn(&TempDir)) -> Self {
        // A port that was free a moment ago may be somebody else's now: then others are tried.
        for _ in 0..5 {
            let dir = TempDir::new();
            prepare(&dir);
            let mut etcd = Self { members: members(count, options), dir };
            (0..count).for_each(|index| etcd.launch(index));
            if etcd.is_up(options.tls) {
                return etcd;
            }
        }
        panic!("etcd does not start; is it installed? (.ci/setup)");
    }

    fn launch(&mut self, index: usize) {
        let log = self.dir.path().join(format!("{}.log", self.members[index].name));
        let log = std::fs::File::options().create(true).append(true).open(log).unwrap();
        let member = &mut self.members[index];
        let child = Command::new("etcd")
            .args(&member.arguments)
            .current_dir(self.dir.path())
            .env("ETCD_UNSUPPORTED_ARCH", std::env::consts::ARCH)
            .stdin(Stdio::null())
            .stdout(log.try_clone().unwrap())
            .stderr(log)
            .spawn();
        member.child = Some(child.expect("etcd is installed (.ci/setup)"));
    }

    /// Whether all members run and have a leader.
    fn is_up(&mut self, tls: bool) -> bool {
        let begun = Instant::now();
        loop {
            assert!(begun.elapsed() < PATIENCE * 2, "etcd does not start");
            for member in &mut self.members {
                if member.child.as_mut().is_some_and(|child| child.try_wait().unwrap().is_some()) {
                    return false;
                }
            }
            let count = self.members.len();
            if tls {
                // Who has no certificate of its own is not answered there.
                if (0..count).all(|index| {
                    std::net::TcpStream::connect(("127.0.0.1", self.members[index].client)).is_ok()
                }) {
                    return true;
                }
            } else if (0..count).all(|index| self.is_healthy(index)) {
                return true;
            }
            std::thread::sleep(std::time::Duration::from_millis(20));
        }
    }

    fn is_healthy(&self, index: usize) -> bool {
        let address = ("127.0.0.1", self.members[index].client);
        let Ok(stream) = std::net::TcpStream::connect(address) else { return false };
        drop(stream);
        let mut client = Client::connect(std::net::SocketAddr::from(([127, 0, 0, 1], address.1)));
        client.send("GET /health HTTP/1.1\r\nHost: e\r\nConnection: close\r\n\r\n");
        client.response_to("GET").text().contains("\"true\"")
    }

    /// The members' URLs, as a configuration lists them.
    pub fn urls(&self) -> Vec<String> {
        self.members.iter().map(|member| format!("http://127.0.0.1:{}", member.client)).collect()
    }

    /// Where clients reach a member.
    pub fn port(&self, index: usize) -> u16 {
        self.members[index].client
    }

    /// Where members run.
    pub fn dir(&self) -> &Path {
        self.dir.path()
    }

    /// Runs etcdctl.
    pub fn ctl(&self, arguments: &[&str]) -> Output {
        let mut command = Command::new("etcdctl");
        command.env("ETCDCTL_API", "3").arg("--endpoints").arg(self.urls().join(","));
        command.args(arguments).output().expect("etcdctl is installed (.ci/setup)")
    }

    /// What etcdctl prints; it must succeed.
    pub fn must(&self, arguments: &[&str]) -> String {
        let output = self.ctl(arguments);
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        let error = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(output.status.success(), "etcdctl {arguments:?}: {text}{error}");
        text
    }

    /// Kills a member as a crash does.
    pub fn kill(&mut self, index: usize) {
        if let Some(mut child) = self.members[index].child.take() {
            child.kill().unwrap();
            child.wait().unwrap();
        }
    }

    /// Starts a member that was killed, with the data that it had.
    pub fn restart(&mut self, index: usize) {
        self.launch(index);
    }

    /// A member's process.
    pub fn pid(&self, index: usize) -> u32 {
        self.members[index].child.as_ref().expect("it runs").id()
    }

    /// Sends a member a signal.
    pub fn signal(&self, index: usize, signal: rustix::process::Signal) {
        let child = self.members[index].child.as_ref().expect("it runs");
        let pid = rustix::process::Pid::from_child(child);
        rustix::process::kill_process(pid, signal).unwrap();
    }

    /// Waits until a member answers and has a leader.
    pub fn wait_healthy(&self, index: usize) {
        wait_until("a member of etcd is healthy", || self.is_healthy(index));
    }

    /// Which member leads.
    pub fn leader(&self) -> usize {
        let mut leader = None;
        wait_until("etcd has a leader", || {
            leader = (0..self.members.len()).find(|&index| {
                let url = format!("http://127.0.0.1:{}", self.members[index].client);
                let mut command = Command::new("etcdctl");
                command.env("ETCDCTL_API", "3").args(["--endpoints", &url]);
                let output = command.args(["endpoint", "status"]).output().unwrap();
                // endpoint, id, version, size, whether it leads, ...
                let text = String::from_utf8_lossy(&output.stdout).into_owned();
                text.split(", ").nth(4) == Some("true")
            });
            leader.is_some()
        });
        leader.unwrap()
    }
}

impl Drop for Etcd {
    fn drop(&mut self) {
        (0..self.members.len()).for_each(|index| self.kill(index));
    }
}

fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

fn members(count: usize, options: &Options) -> Vec<Member> {
    let ports: Vec<(u16, u16)> = (0..count).map(|_| (free_port(), free_port())).collect();
    let peer = |port: u16| format!("http://127.0.0.1:{port}");
    let cluster: Vec<String> =
        ports.iter().enumerate().map(|(at, (_, port))| format!("m{at}={}", peer(*port))).collect();
    let scheme = if options.tls { "https" } else { "http" };
    let member = |(at, (client, port)): (usize, &(u16, u16))| {
        let name = format!("m{at}");
        let url = format!("{scheme}://127.0.0.1:{client}");
        let own = [
            ("--name", name.clone()),
            ("--data-dir", format!("{name}.etcd")),
            ("--listen-client-urls", url.clone()),
            ("--advertise-client-urls", url),
            ("--listen-peer-urls", peer(*port)),
            ("--initial-advertise-peer-urls", peer(*port)),
            ("--initial-cluster", cluster.join(",")),
            ("--initial-cluster-state", "new".to_owned()),
            ("--log-level", "error".to_owned()),
        ];
        let own = own.into_iter().flat_map(|(name, value)| [name.to_owned(), value]);
        let arguments = own.chain(options.arguments.iter().cloned()).collect();
        Member { name, client: *client, child: None, arguments }
    };
    ports.iter().enumerate().map(member).collect()
}

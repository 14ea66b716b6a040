//! The gateway as a process: its configuration, its start, its log, its end.

use super::secure::Shaker;
use super::{Client, Origin, PATIENCE, TempDir, wait_until};
use std::fmt::Write as _;
use std::io::{BufRead, BufReader, Read};
use std::net::SocketAddr;
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::{Arc, Condvar, Mutex};
use std::time::Instant;

/// The driver that this run of the suite tests: `auto`, `io_uring` or `epoll`.
pub fn io_driver() -> String {
    std::env::var("ODIN_TEST_IO_DRIVER").unwrap_or_else(|_| "auto".into())
}

/// The gateway that is tested.
pub const BINARY: &str = env!("CARGO_BIN_EXE_odin");

/// A configuration in the making. Ports are picked by the kernel; one worker unless told.
pub struct Setup {
    pub dir: TempDir,
    listen: String,
    server: String,
    drain: String,
    log_level: String,
    logging: String,
    admin: String,
    workers: usize,
    services: String,
    wasm: String,
    plugins: String,
    cache: bool,
    tail: String,
    open_files: Option<u32>,
    env: Vec<(String, String)>,
    arguments: Vec<String>,
    linked: bool,
    /// How clients speak to the first listener, if that is by TLS.
    pub(super) shaker: Option<Shaker>,
}

impl Setup {
    /// No services yet.
    pub fn new() -> Self {
        Self {
            dir: TempDir::new(),
            listen: "127.0.0.1:0".into(),
            server: String::new(),
            drain: "2s".into(),
            // Plugins' own lines are shown from here on.
            log_level: "debug".into(),
            logging: String::new(),
            admin: String::new(),
            workers: 1,
            services: String::new(),
            wasm: String::new(),
            plugins: String::new(),
            cache: false,
            tail: String::new(),
            open_files: None,
            env: Vec::new(),
            arguments: Vec::new(),
            linked: false,
            shaker: None,
        }
    }

    /// One service, `all`, at `/`, that points to `origin`.
    pub fn to(origin: &Origin) -> Self {
        Self::new().service(&format!("name: all, basePath: /, targets: ['{}']", origin.url()))
    }

    /// One service, `all`, at `/`, answered by the built-in echo.
    pub fn echo() -> Self {
        Self::new().service("name: all, basePath: /, targets: ['builtin:echo']")
    }

    /// Adds a service, written as the inside of a YAML flow map.
    pub fn service(mut self, keys: &str) -> Self {
        writeln!(self.services, "  - {{{keys}}}").unwrap();
        self
    }

    /// Adds a line under `server`.
    pub fn server(mut self, line: &str) -> Self {
        writeln!(self.server, "  {line}").unwrap();
        self
    }

    /// Sets `server.listen`, written as a YAML flow value.
    pub fn listen(mut self, listen: &str) -> Self {
        // A map stands in a list.
        let is_map = listen.starts_with('{');
        self.listen = if is_map { format!("[{listen}]") } else { listen.into() };
        self
    }

    /// Sets `server.limits`, written as the inside of a YAML flow map.
    pub fn limits(self, keys: &str) -> Self {
        self.server(&format!("limits: {{{keys}}}"))
    }

    pub fn drain_timeout(mut self, duration: &str) -> Self {
        self.drain = duration.into();
        self
    }

    pub fn log_level(mut self, level: &str) -> Self {
        self.log_level = level.into();
        self
    }

    /// Sets keys of `logging`, `level` apart, written as the inside of a YAML flow map.
    pub fn logging(mut self, keys: &str) -> Self {
        self.logging = keys.into();
        self
    }

    /// Sets keys of `admin`, written as the inside of a YAML flow map.
    pub fn admin(mut self, keys: &str) -> Self {
        self.admin = keys.into();
        self
    }

    pub fn workers(mut self, count: usize) -> Self {
        self.workers = count;
        self
    }

    /// Adds a line under `wasm`.
    pub fn wasm(mut self, line: &str) -> Self {
        writeln!(self.wasm, "  {line}").unwrap();
        self
    }

    /// Keeps compiled modules under `dir`.
    pub fn cached_in(mut self, dir: &Path) -> Self {
        self.cache = true;
        self.wasm(&format!("cacheDir: {}", dir.display()))
    }

    /// Adds a plugin: its module and its keys, written as the inside of a YAML flow map.
    pub fn plugin(mut self, name: &str, module: impl AsRef<[u8]>, keys: &str) -> Self {
        self.dir.write(&format!("plugins/{name}.wasm"), module);
        writeln!(self.plugins, "    - {{name: {name}, path: {name}.wasm, {keys}}}").unwrap();
        self
    }

    /// Adds a plugin whose file may be missing or broken.
    pub fn plugin_entry(mut self, keys: &str) -> Self {
        writeln!(self.plugins, "    - {{{keys}}}").unwrap();
        self
    }

    /// Appends YAML at the top level.
    pub fn yaml(mut self, text: &str) -> Self {
        self.tail.push_str(text);
        self.tail.push('\n');
        self
    }

    /// Bounds the process's file descriptors.
    pub fn open_files(mut self, count: u32) -> Self {
        self.open_files = Some(count);
        self
    }

    pub fn env(mut self, name: &str, value: &str) -> Self {
        self.env.push((name.into(), value.into()));
        self
    }

    /// Adds an argument of the command line.
    pub fn argument(mut self, argument: impl Into<String>) -> Self {
        self.arguments.push(argument.into());
        self
    }

    /// Starts the binary by a link in `dir`, which [`Gateway::replace_binary`] moves.
    pub fn linked(mut self) -> Self {
        self.linked = true;
        self
    }

    /// The configuration as it is written to the file.
    pub fn config(&self) -> String {
        let mut text = format!(
            "server:\n  listen: {}\n  workers: {}\n  pinCores: false\n  ioDriver: {}\n  \
             drainTimeout: {}\n{}admin: {{listen: '127.0.0.1:0', {}}}\n\
             logging: {{level: {}, {}}}\n",
            self.listen,
            self.workers,
            io_driver(),
            self.drain,
            self.server,
            self.admin,
            self.log_level,
            self.logging,
        );
        if !self.plugins.is_empty() || !self.wasm.is_empty() {
            let dir = self.dir.path().join("plugins");
            let dir = dir.display();
            write!(text, "wasm:\n  pluginDir: {dir}\n  cacheEnabled: {}\n", self.cache).unwrap();
            text.push_str(&self.wasm);
            if !self.plugins.is_empty() {
                write!(text, "  plugins:\n{}", self.plugins).unwrap();
            }
        }
        if !self.services.is_empty() {
            write!(text, "services:\n{}", self.services).unwrap();
        }
        text + &self.tail
    }

    /// Starts the gateway and waits until it listens.
    pub fn start(self) -> Gateway {
        let config = self.config();
        let binary = match self.linked {
            false => BINARY.into(),
            true => {
                let link = self.dir.path().join("odin");
                std::os::unix::fs::symlink(BINARY, &link).unwrap();
                link
            }
        };
        let arguments: Vec<&str> = self.arguments.iter().map(String::as_str).collect();
        let mut command = match self.open_files {
            None => Command::new(binary),
            Some(count) => {
                let mut shell = Command::new("sh");
                shell.args(["-c", &format!("ulimit -n {count} && exec \"$@\""), "sh"]).arg(binary);
                shell
            }
        };
        command.args(arguments).stdin(Stdio::null());
        let mut gateway = Gateway::spawn(self.dir, &config, command, &self.env);
        gateway.shaker = self.shaker;
        gateway
    }
}

#[derive(Default)]
struct Log {
    text: Mutex<String>,
    grown: Condvar,
}

/// A running gateway; ends with its value.
pub struct Gateway {
    pub addr: SocketAddr,
    pub admin: SocketAddr,
    dir: TempDir,
    child: Child,
    /// What took the place of `child`, one after the other.
    successors: Vec<u32>,
    log: Arc<Log>,
    shaker: Option<Shaker>,
}

impl Gateway {
    /// Starts a gateway with this configuration, which must listen on ports given as 0.
    pub fn start(dir: TempDir, config: &str, env: &[(String, String)]) -> Self {
        let mut command = Command::new(BINARY);
        command.stdin(Stdio::null());
        Self::spawn(dir, config, command, env)
    }

    /// Runs a command that starts the gateway; the argument of the configuration is added.
    pub fn spawn(
        dir: TempDir,
        config: &str,
        mut command: Command,
        env: &[(String, String)],
    ) -> Self {
        let path = dir.write("odin.yaml", config);
        command.envs(env.iter().cloned());
        Self::spawn_with(dir, command, &path)
    }

    /// As [`Self::spawn`], with a configuration that is there already.
    pub fn spawn_with(dir: TempDir, mut command: Command, config: &Path) -> Self {
        command.arg("--config").arg(config);
        command.stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().unwrap();
        let log = Arc::new(Log::default());
        collect(child.stdout.take().unwrap(), log.clone());
        collect(child.stderr.take().unwrap(), log.clone());
        let unset = SocketAddr::from(([0, 0, 0, 0], 0));
        let mut gateway = Self {
            addr: unset,
            admin: unset,
            dir,
            child,
            successors: Vec::new(),
            log,
            shaker: None,
        };
        gateway.admin = gateway.wait_address("admin on ");
        gateway.addr = gateway.wait_address("listening on ");
        gateway
    }

    fn wait_address(&mut self, words: &str) -> SocketAddr {
        let start = Instant::now();
        loop {
            if let Some(addr) = address_after(&self.log(), words) {
                return addr;
            }
            if let Some(status) = self.child.try_wait().unwrap() {
                panic!("the gateway ended ({status}) before it listened:\n{}", self.log());
            }
            assert!(start.elapsed() < PATIENCE * 3, "no {words:?} in the log:\n{}", self.log());
            std::thread::sleep(std::time::Duration::from_millis(2));
        }
    }

    /// A connection to the first listener, by what [`Setup::carried_by`] has said.
    pub fn client(&self) -> Client {
        self.try_client().expect("the gateway serves")
    }

    /// The same, where it may be turned away.
    pub fn try_client(&self) -> std::io::Result<Client> {
        match &self.shaker {
            None => Client::try_connect(self.addr),
            Some(shaker) => Client::by_tls(self.addr, shaker),
        }
    }

    /// Everything that the process has written so far, without colours.
    pub fn log(&self) -> String {
        self.log.text.lock().unwrap().clone()
    }

    /// Waits until the log holds `text`.
    pub fn wait_log(&self, text: &str) {
        let guard = self.log.text.lock().unwrap();
        let missing = |log: &mut String| !log.contains(text);
        let (guard, _) = self.log.grown.wait_timeout_while(guard, PATIENCE, missing).unwrap();
        assert!(guard.contains(text), "no {text:?} in the log:\n{guard}");
    }

    /// All addresses that it has said so far to listen on.
    pub fn addresses(&self) -> Vec<SocketAddr> {
        let log = self.log();
        let lines = log.lines().filter(|line| !line.contains("no longer"));
        let told = lines.filter_map(|line| Some(line.split_once("listening on ")?.1.trim()));
        told.filter_map(|address| address.parse().ok()).collect()
    }

    /// A metric's value, by its line up to the value.
    pub fn metric(&self, series: &str) -> f64 {
        let text = self.call("GET", "/metrics", "").text();
        let line = text.lines().find_map(|line| line.strip_prefix(series)?.strip_prefix(' '));
        line.unwrap_or_else(|| panic!("no {series} in {text}")).parse().unwrap()
    }

    /// Where its configuration file and `plugins` are.
    pub fn dir(&self) -> &TempDir {
        &self.dir
    }

    /// The configuration file's text.
    pub fn config(&self) -> String {
        std::fs::read_to_string(self.dir.path().join("odin.yaml")).unwrap()
    }

    /// Puts another configuration file in the place of the old one, as an editor does.
    pub fn rewrite(&self, config: &str) {
        let new = self.dir.write("odin.yaml.new", config);
        std::fs::rename(new, self.dir.path().join("odin.yaml")).unwrap();
    }

    /// Puts another module in the place of a plugin's.
    pub fn replace_plugin(&self, name: &str, module: impl AsRef<[u8]>) {
        let new = self.dir.write(&format!("plugins/{name}.new"), module);
        std::fs::rename(new, self.dir.path().join(format!("plugins/{name}.wasm"))).unwrap();
    }

    /// Calls the admin API; without a body if it is empty.
    pub fn call(&self, method: &str, path: &str, body: &str) -> super::Response {
        self.call_with(method, path, "", body)
    }

    /// Calls the admin API with more fields, each with its line end.
    pub fn call_with(
        &self,
        method: &str,
        path: &str,
        fields: &str,
        body: impl AsRef<[u8]>,
    ) -> super::Response {
        let (addr, body) = (self.admin, body.as_ref());
        let head = format!(
            "{method} {path} HTTP/1.1\r\nHost: {addr}\r\nConnection: close\r\n\
             Content-Length: {}\r\n{fields}\r\n",
            body.len()
        );
        let mut client = super::Client::connect(addr);
        client.send([head.as_bytes(), body].concat());
        client.response_to(method)
    }

    /// The process that serves.
    pub fn pid(&self) -> u32 {
        self.successors.last().copied().unwrap_or_else(|| self.child.id())
    }

    /// Sends a signal to the process that serves.
    pub fn signal(&self, signal: rustix::process::Signal) {
        signal_process(self.pid(), signal);
    }

    /// Puts another file, or what it links to, where the binary of [`Setup::linked`] stands.
    pub fn replace_binary(&self, by: &Path) {
        let new = self.dir.path().join("odin.new");
        std::os::unix::fs::symlink(by, &new).unwrap();
        std::fs::rename(new, self.dir.path().join("odin")).unwrap();
    }

    /// Has another process take the place of the one that serves; its id.
    pub fn upgrade(&mut self) -> u32 {
        self.signal(rustix::process::Signal::USR2);
        self.wait_upgraded()
    }

    /// Waits until an upgrade that was asked for has succeeded.
    pub fn wait_upgraded(&mut self) -> u32 {
        let mut pids = Vec::new();
        wait_until("the next process serves", || {
            pids = successors(&self.log());
            pids.len() > self.successors.len()
        });
        self.successors = pids;
        self.pid()
    }

    /// Waits until the process that was started first, or one that took its place, has ended.
    pub fn wait_ended(&mut self, pid: u32) {
        if pid == self.child.id() {
            assert!(self.wait_exit().success(), "{}", self.log());
        } else {
            wait_until("a process has ended", || !is_alive(pid));
        }
    }

    pub fn terminate(&self) {
        self.signal(rustix::process::Signal::TERM);
    }

    /// Waits for the end of the process.
    pub fn wait_exit(&mut self) -> ExitStatus {
        let mut status = None;
        wait_until("the gateway has ended", || {
            status = self.child.try_wait().unwrap();
            status.is_some()
        });
        status.unwrap()
    }

    pub fn is_running(&mut self) -> bool {
        self.child.try_wait().unwrap().is_none()
    }

    /// Resident memory now, in KiB.
    pub fn rss_kib(&self) -> u64 {
        self.status("VmRSS:")
    }

    /// The most resident memory the process ever had, in KiB.
    pub fn peak_rss_kib(&self) -> u64 {
        self.status("VmHWM:")
    }

    /// The number behind `key` in the kernel's status of the process (proc_pid_status(5)).
    pub fn status(&self, key: &str) -> u64 {
        let path = format!("/proc/{}/status", self.pid());
        let status = std::fs::read_to_string(Path::new(&path)).unwrap();
        let line = status.lines().find(|line| line.starts_with(key)).unwrap();
        line.split_whitespace().nth(1).unwrap().parse().unwrap()
    }
}

/// The processes that took the place of another, from the log.
fn successors(log: &str) -> Vec<u32> {
    let complete = &log[..log.rfind('\n').map_or(0, |end| end + 1)];
    let told = complete.lines().filter(|line| line.contains("serves in place of this one"));
    told.filter_map(|line| {
        let after = line.split_once("binary upgrade: process ")?.1;
        after.split(' ').next()?.parse().ok()
    })
    .collect()
}

fn signal_process(pid: u32, signal: rustix::process::Signal) {
    let pid = rustix::process::Pid::from_raw(pid.cast_signed()).unwrap();
    // An ended process is what the caller wants anyway.
    let _ = rustix::process::kill_process(pid, signal);
}

/// Whether a process runs; one that has ended and that nobody has waited for does not.
pub fn is_alive(pid: u32) -> bool {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    let state = stat.rsplit_once(") ").and_then(|(_, rest)| rest.chars().next());
    !matches!(state, None | Some('Z' | 'X'))
}

impl Drop for Gateway {
    fn drop(&mut self) {
        let successors = successors(&self.log());
        for pid in &successors {
            signal_process(*pid, rustix::process::Signal::TERM);
        }
        signal_process(self.child.id(), rustix::process::Signal::TERM);
        let start = Instant::now();
        let is_any_running = |gateway: &mut Self| {
            gateway.is_running() || successors.iter().any(|pid| is_alive(*pid))
        };
        while is_any_running(self) && start.elapsed() < std::time::Duration::from_secs(10) {
            std::thread::sleep(std::time::Duration::from_millis(2));
        }
        let stuck = is_any_running(self);
        let _ = self.child.kill();
        for pid in successors.iter().filter(|pid| is_alive(**pid)) {
            signal_process(*pid, rustix::process::Signal::KILL);
        }
        let _ = self.child.wait();
        let log = self.log();
        if std::thread::panicking() {
            eprintln!("--- log of the gateway ---\n{log}---");
        } else {
            // What a guest says of itself names its plugin.
            let panics = |line: &str| line.contains("panicked at") && !line.contains(" plugin=\"");
            assert!(!log.lines().any(panics), "the gateway panicked:\n{log}");
            assert!(!stuck, "the gateway did not end within 10 s of SIGTERM:\n{log}");
        }
    }
}

/// Collects the lines of one of the process's outputs.
fn collect(output: impl Read + Send + 'static, log: Arc<Log>) {
    std::thread::spawn(move || {
        let mut lines = BufReader::new(output);
        let mut line = Vec::new();
        while matches!(lines.read_until(b'\n', &mut line), Ok(size) if size > 0) {
            log.text.lock().unwrap().push_str(&without_colours(&line));
            log.grown.notify_all();
            line.clear();
        }
    });
}

fn without_colours(line: &[u8]) -> String {
    let line = String::from_utf8_lossy(line);
    let mut parts = line.split("\x1b[");
    let mut text = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        text.push_str(part.split_once('m').map_or(part, |(_, rest)| rest));
    }
    text
}

/// The socket address that follows `words` in the first line that holds them and one.
fn address_after(log: &str, words: &str) -> Option<SocketAddr> {
    let complete = &log[..=log.rfind('\n')?];
    complete.lines().filter(|line| line.contains(words)).find_map(|line| {
        let after = line.split_once(words)?.1;
        let candidates = after.split(|c: char| c.is_whitespace() || "=,\"".contains(c));
        candidates.filter_map(|word| word.parse().ok()).next()
    })
}

/// What `odin check` says of a configuration that it is to refuse.
pub fn check(setup: &Setup) -> String {
    let file = setup.dir.write("checked.yaml", setup.config());
    let mut command = Command::new(BINARY);
    let output = command.args(["check", file.to_str().unwrap()]).output().unwrap();
    let said = String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned();
    assert!(!output.status.success(), "not refused: {said}");
    said
}

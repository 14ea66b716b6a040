//! The gateway as a process: its configuration, its start, its log, its end.

use super::{Origin, PATIENCE, TempDir, wait_until};
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

/// A configuration in the making. Ports are picked by the kernel; one worker unless told.
pub struct Setup {
    pub dir: TempDir,
    server: String,
    drain: String,
    log_level: String,
    workers: usize,
    services: String,
    wasm: String,
    plugins: String,
    cache: bool,
    tail: String,
    open_files: Option<u32>,
    env: Vec<(String, String)>,
}

impl Setup {
    /// No services yet.
    pub fn new() -> Self {
        Self {
            dir: TempDir::new(),
            server: String::new(),
            drain: "2s".into(),
            // Plugins' own lines are shown from here on.
            log_level: "debug".into(),
            workers: 1,
            services: String::new(),
            wasm: String::new(),
            plugins: String::new(),
            cache: false,
            tail: String::new(),
            open_files: None,
            env: Vec::new(),
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

    /// The configuration as it is written to the file.
    pub fn config(&self) -> String {
        let mut text = format!(
            "server:\n  listen: 127.0.0.1:0\n  workers: {}\n  pinCores: false\n  ioDriver: {}\n  \
             drainTimeout: {}\n{}admin: {{listen: '127.0.0.1:0'}}\nlogging: {{level: {}}}\n",
            self.workers,
            io_driver(),
            self.drain,
            self.server,
            self.log_level,
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
        Gateway::spawn(self.dir, &config, self.open_files, &self.env)
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
    _dir: TempDir,
    child: Child,
    log: Arc<Log>,
}

impl Gateway {
    /// Starts a gateway with this configuration, which must listen on ports given as 0.
    pub fn start(dir: TempDir, config: &str, env: &[(String, String)]) -> Self {
        Self::spawn(dir, config, None, env)
    }

    fn spawn(
        dir: TempDir,
        config: &str,
        open_files: Option<u32>,
        env: &[(String, String)],
    ) -> Self {
        let path = dir.write("odin.yaml", config);
        let binary = env!("CARGO_BIN_EXE_odin");
        let mut command = match open_files {
            None => Command::new(binary),
            Some(count) => {
                let mut shell = Command::new("sh");
                shell.args(["-c", &format!("ulimit -n {count} && exec \"$@\""), "sh", binary]);
                shell
            }
        };
        command.arg("--config").arg(&path).envs(env.iter().cloned());
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().unwrap();
        let log = Arc::new(Log::default());
        collect(child.stdout.take().unwrap(), log.clone());
        collect(child.stderr.take().unwrap(), log.clone());
        let unset = SocketAddr::from(([0, 0, 0, 0], 0));
        let mut gateway = Self { addr: unset, admin: unset, _dir: dir, child, log };
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

    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    pub fn signal(&self, signal: rustix::process::Signal) {
        let pid = rustix::process::Pid::from_raw(self.child.id().cast_signed()).unwrap();
        // An ended process is what the caller wants anyway.
        let _ = rustix::process::kill_process(pid, signal);
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

    fn status(&self, key: &str) -> u64 {
        let path = format!("/proc/{}/status", self.child.id());
        let status = std::fs::read_to_string(Path::new(&path)).unwrap();
        let line = status.lines().find(|line| line.starts_with(key)).unwrap();
        line.split_whitespace().nth(1).unwrap().parse().unwrap()
    }
}

impl Drop for Gateway {
    fn drop(&mut self) {
        self.terminate();
        let start = Instant::now();
        while self.is_running() && start.elapsed() < std::time::Duration::from_secs(10) {
            std::thread::sleep(std::time::Duration::from_millis(2));
        }
        let stuck = self.is_running();
        let _ = self.child.kill();
        let _ = self.child.wait();
        let log = self.log();
        if std::thread::panicking() {
            eprintln!("--- log of the gateway ---\n{log}---");
        } else {
            assert!(!log.contains("panicked at"), "the gateway panicked:\n{log}");
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

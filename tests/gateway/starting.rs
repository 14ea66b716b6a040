//! What a start finds: a port that is taken or about to be free, few descriptors, a kernel that
//! refuses half of io_uring.

use crate::support::gateway::{BINARY, io_driver};
use crate::support::{Client, Gateway, Origin, Setup, TempDir, get, wait_until};
use std::io::{BufRead, BufReader, Read};
use std::net::{SocketAddr, TcpListener};
use std::os::unix::net::UnixListener;
use std::os::unix::process::CommandExt;
use std::process::{Child, Command, Output, Stdio};
use std::time::Duration;

/// Starts a gateway that is not expected to stay; what it has said.
fn attempt(config: &str) -> Output {
    let dir = TempDir::new();
    let path = dir.write("odin.yaml", config);
    let mut child = Command::new(BINARY)
        .arg("--config")
        .arg(&path)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut ended = false;
    for _ in 0..2000 {
        ended = child.try_wait().unwrap().is_some();
        if ended {
            break;
        }
        std::thread::sleep(Duration::from_millis(5));
    }
    if !ended {
        child.kill().unwrap();
    }
    let output = child.wait_with_output().unwrap();
    assert!(ended, "it goes on: {}", String::from_utf8_lossy(&output.stderr));
    output
}

fn listening_on(address: &str) -> String {
    Setup::echo().config().replace("listen: 127.0.0.1:0", &format!("listen: {address}"))
}

#[test]
fn a_second_gateway_on_the_port_of_another_does_not_start() {
    let gateway = Setup::echo().workers(2).start();
    for address in [gateway.addr, SocketAddr::from(([0, 0, 0, 0], gateway.addr.port()))] {
        let output = attempt(&listening_on(&address.to_string()));
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(1), "{said}");
        assert!(said.contains("Address already in use"), "{said}");
        assert!(said.contains(&format!("cannot listen on {address}")), "{said}");
    }
    assert_eq!(get(gateway.addr, "/").status, 200);
}

#[test]
fn of_two_gateways_that_start_at_once_on_one_port_one_serves() {
    let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let dir = TempDir::new();
    let path = dir.write("odin.yaml", listening_on(&format!("127.0.0.1:{port}")));
    let start = || {
        Command::new(BINARY)
            .arg("--config")
            .arg(&path)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap()
    };
    let mut both: Vec<Child> = vec![start(), start()];
    let ended = |both: &mut Vec<Child>| {
        both.iter_mut().filter_map(|child| child.try_wait().unwrap()).count()
    };
    wait_until("one of them has given up", || ended(&mut both) == 1);
    let address = SocketAddr::from(([127, 0, 0, 1], port));
    wait_until("the other serves", || {
        Client::try_connect(address).is_ok_and(|_| get(address, "/").status == 200)
    });
    assert_eq!(ended(&mut both), 1);
    both.iter_mut().for_each(|child| child.kill().unwrap_or_default());
    both.iter_mut().for_each(|child| drop(child.wait()));
}

#[test]
fn one_gateway_listens_on_every_address_and_on_one_of_them() {
    let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let config = listening_on(&format!("['0.0.0.0:{port}', '127.0.0.1:{port}']"));
    let gateway = Gateway::start(TempDir::new(), &config, &[]);
    assert_eq!(get(SocketAddr::from(([127, 0, 0, 1], port)), "/").status, 200);
    drop(gateway);
}

#[test]
fn a_port_that_its_former_owner_is_about_to_leave_is_waited_for() {
    let dir = TempDir::new();
    let path = dir.path().join("odin.sock");
    // The one that was killed, whose sockets the kernel has not closed yet.
    let former = UnixListener::bind(&path).unwrap();
    let port = TcpListener::bind("127.0.0.1:0").unwrap();
    let admin = TcpListener::bind("127.0.0.1:0").unwrap();
    let (address, admin_address) = (port.local_addr().unwrap(), admin.local_addr().unwrap());
    let config = listening_on(&format!("['{address}', 'unix:{}']", path.display()))
        .replace("admin: {listen: '127.0.0.1:0'", &format!("admin: {{listen: '{admin_address}'"));
    let leaving = std::thread::spawn(move || {
        std::thread::sleep(Duration::from_millis(600));
        drop((former, port, admin));
    });
    let gateway = Gateway::start(dir, &config, &[]);
    leaving.join().unwrap();
    assert_eq!(gateway.addr, address);
    assert_eq!(get(gateway.addr, "/").status, 200);
}

/// A gateway that a shell starts after it has run `limits`.
fn limited(limits: &str, setup: Setup) -> Gateway {
    let config = setup.config();
    let mut shell = Command::new("sh");
    shell.args(["-c", &format!("{limits} && exec \"$@\""), "sh", BINARY]).stdin(Stdio::null());
    Gateway::spawn(setup.dir, &config, shell, &[])
}

#[test]
fn the_soft_limit_of_descriptors_is_raised_to_the_hard_one() {
    let gateway = limited("ulimit -Sn 40 && ulimit -Hn 1000", Setup::echo());
    let limits = std::fs::read_to_string(format!("/proc/{}/limits", gateway.pid())).unwrap();
    let line = limits.lines().find(|line| line.starts_with("Max open files")).unwrap();
    assert_eq!(line.split_whitespace().nth(3), Some("1000"), "{line}");
    let mut clients: Vec<Client> = (0..200).map(|_| Client::connect(gateway.addr)).collect();
    assert!(clients.iter_mut().all(|client| client.get("/").status == 200));
}

#[test]
fn descriptors_are_kept_for_the_admin_api_and_for_origins() {
    // No kept connection to the origin is there yet.
    let origin = Origin::ok();
    let gateway = Setup::to(&origin).limits("connectionsMax: 10000").open_files(200).start();
    gateway.wait_log("server.limits.connectionsMax");
    let mut first = Client::connect(gateway.addr);
    let crowd: Vec<Client> =
        (0..300).filter_map(|_| Client::try_connect(gateway.addr).ok()).collect();
    wait_until("some are turned away", || {
        let metrics = gateway.call("GET", "/metrics", "").text();
        let shed = metrics.lines().find(|line| line.starts_with("odin_connections_shed_total"));
        shed.is_some_and(|line| !line.ends_with(" 0"))
    });
    assert_eq!(gateway.call("GET", "/healthz", "").status, 200);
    assert_eq!(first.get("/").status, 200);
    let log = gateway.log();
    assert!(!log.contains("cannot accept a connection"), "{log}");
    drop(crowd);
    wait_until("new ones are served", || {
        let mut client = Client::connect(gateway.addr);
        client.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n");
        client.try_response().is_ok_and(|response| response.status == 200)
    });
}

/// Has the kernel refuse `io_uring_enter(2)` to the command, and nothing else.
#[expect(unsafe_code, reason = "a filter is installed between fork and exec")]
fn without_entering(command: &mut Command) {
    const ENTER: u32 = libc::SYS_io_uring_enter as u32;
    let install = || {
        let (load, equals, answer) = (0x20, 0x15, 0x06);
        let line = |code, jt, jf, k| libc::sock_filter { code, jt, jf, k };
        let mut lines = [
            line(load, 0, 0, 0),
            line(equals, 0, 1, ENTER),
            line(answer, 0, 0, libc::SECCOMP_RET_ERRNO | libc::EPERM as u32),
            line(answer, 0, 0, libc::SECCOMP_RET_ALLOW),
        ];
        let program = libc::sock_fprog { len: 4, filter: lines.as_mut_ptr() };
        // SAFETY: prctl(2) with these arguments reads `program` and what it points to, which live
        // until it returns.
        let installed = unsafe {
            libc::prctl(libc::PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0
                && libc::prctl(libc::PR_SET_SECCOMP, libc::SECCOMP_MODE_FILTER, &raw const program)
                    == 0
        };
        if installed { Ok(()) } else { Err(std::io::Error::last_os_error()) }
    };
    // SAFETY: the closure makes two system calls and allocates nothing.
    unsafe { command.pre_exec(install) };
}

#[test]
fn io_uring_that_can_be_set_up_and_not_entered_is_not_taken() {
    let config = Setup::echo().config();
    let asking = |driver: &str| {
        config.replace(&format!("ioDriver: {}", io_driver()), &format!("ioDriver: {driver}"))
    };
    let mut command = Command::new(BINARY);
    command.stdin(Stdio::null());
    without_entering(&mut command);
    let gateway = Gateway::spawn(TempDir::new(), &asking("auto"), command, &[]);
    assert_eq!(get(gateway.addr, "/").status, 200);
    assert_eq!(gateway.call("GET", "/api/status", "").json()["ioDriver"], "epoll");
    gateway.wait_log("io_uring is not usable");

    let dir = TempDir::new();
    let path = dir.write("odin.yaml", asking("io_uring"));
    let mut command = Command::new(BINARY);
    command.arg("--config").arg(path).stdin(Stdio::null());
    without_entering(&mut command);
    let output = command.output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(1), "{said}");
    assert!(said.contains("server.ioDriver is io_uring, but"), "{said}");
}

#[test]
fn a_reader_of_stderr_that_stops_holds_up_nothing() {
    let setup = Setup::echo();
    let path = setup.dir.write("odin.yaml", setup.config());
    let mut child = Command::new(BINARY)
        .arg("--config")
        .arg(&path)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(child.stderr.take().unwrap());
    let (mut addr, mut admin) = (None, None);
    while addr.is_none() || admin.is_none() {
        let mut line = String::new();
        assert_ne!(lines.read_line(&mut line).unwrap(), 0);
        let after = |words: &str| {
            let found = line.split_once(words)?.1.split_whitespace().next()?;
            found.parse::<SocketAddr>().ok()
        };
        addr = addr.or_else(|| after("listening on "));
        admin = admin.or_else(|| after("admin on "));
    }
    let (addr, admin) = (addr.unwrap(), admin.unwrap());
    // Nobody reads from here on. Each refused change is a line of some KiB.
    let broken = format!("server:\n{}", "  nothing: 1\n".repeat(60));
    setup.dir.write("odin.yaml", broken);
    let call = |method: &str, path: &str| {
        let mut client = Client::connect(admin);
        client.send(format!(
            "{method} {path} HTTP/1.1\r\nHost: {admin}\r\nConnection: close\r\n\
             Content-Length: 0\r\n\r\n"
        ));
        client.response()
    };
    let mut dropped = 0.0;
    wait_until("lines are dropped", || {
        for _ in 0..20 {
            assert_eq!(call("POST", "/api/config/reload").status, 400);
        }
        let metrics = call("GET", "/metrics").text();
        let line = metrics.lines().find(|line| line.starts_with("odin_log_lines_dropped_total "));
        dropped = line.map_or(0.0, |line| line.rsplit_once(' ').unwrap().1.parse().unwrap());
        dropped > 0.0
    });
    assert_eq!(get(addr, "/").status, 200);
    let pid = rustix::process::Pid::from_child(&child);
    rustix::process::kill_process(pid, rustix::process::Signal::TERM).unwrap();
    let mut ended = None;
    wait_until("it has ended", || {
        ended = child.try_wait().unwrap();
        ended.is_some()
    });
    assert!(ended.unwrap().success());
    // What was written is whole lines, and the rest of it is still there.
    let mut rest = String::new();
    lines.read_to_string(&mut rest).unwrap();
    assert!(rest.contains("refused, nothing has changed"), "{rest}");
}

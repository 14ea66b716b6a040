//! What the Dockerfile makes, without Docker: the binary alone in a root of its own, with the C
//! library and nothing else, as the image's user, with the image's environment; plugins and
//! configuration on top of it as the extensions page copies them.

use std::io::{BufRead, BufReader};
use std::net::SocketAddr;
use std::path::Path;
use std::process::{Child, Command, Stdio};

use super::{read, run};
use crate::support::{TempDir, ask, get, wait_until, wasm};

const DOCKERFILE: &str = "config/deploy/docker/Dockerfile";

/// The words after an instruction of the last stage.
fn instructions(name: &str) -> Vec<String> {
    let text = read(DOCKERFILE);
    let last = text.rsplit_once("\nFROM ").unwrap().1;
    let lines = last.lines().filter_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
    lines.map(str::to_owned).collect()
}

fn copy(from: &Path, to: &Path) {
    std::fs::create_dir_all(to.parent().unwrap()).unwrap();
    std::fs::copy(from, to).unwrap_or_else(|error| panic!("{}: {error}", from.display()));
}

/// The image's files.
fn image() -> TempDir {
    let dir = TempDir::new();
    let at = |path: &str| dir.path().join(path.trim_start_matches('/'));
    let binary = Path::new(env!("CARGO_BIN_EXE_odin"));
    let entrypoint: Vec<String> = serde_json::from_str(&instructions("ENTRYPOINT")[0]).unwrap();
    assert_eq!(entrypoint, ["/usr/local/bin/odin"]);
    copy(binary, &at(&entrypoint[0]));
    let libraries = run(Command::new("ldd").arg(binary));
    let libraries = libraries.split_whitespace().filter(|word| word.starts_with('/'));
    libraries.for_each(|library| copy(Path::new(library), &at(library)));
    for folder in ["/etc/odin/plugins", "/var/cache/odin", "/tmp"] {
        assert!(read(DOCKERFILE).contains(&format!("/image{folder}")), "{folder}");
        std::fs::create_dir_all(at(folder)).unwrap();
    }
    // As Docker mounts it.
    dir.write("etc/hosts", "127.0.0.1 localhost\n");
    dir
}

/// The gateway in that root.
struct Contained {
    child: Child,
    lines: BufReader<std::process::ChildStderr>,
    log: String,
    _dir: TempDir,
}

impl Contained {
    fn start(dir: TempDir) -> Self {
        let id = "65532:65532";
        assert_eq!(instructions("USER"), [id]);
        let is_root = rustix::process::geteuid().is_root();
        let mut command = if is_root {
            run(Command::new("chown").arg(id).arg(dir.path().join("var/cache/odin")));
            let mut command = Command::new("chroot");
            command.arg(format!("--userspec={id}")).arg("--groups=");
            command
        } else {
            let mut command = Command::new("unshare");
            command.args(["--map-root-user", "chroot"]);
            command
        };
        run(Command::new("chmod").arg("0700").arg(dir.path().join("var/cache/odin")));
        command.arg(dir.path()).arg("/usr/local/bin/odin").env_clear();
        command.env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin");
        for variable in instructions("ENV") {
            let (name, value) = variable.split_once('=').unwrap();
            // The port of the image may be taken here.
            command.env(name, if name == "ODIN_LISTEN" { "127.0.0.1:0" } else { value });
        }
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped());
        let mut child = command.spawn().unwrap();
        let lines = BufReader::new(child.stderr.take().unwrap());
        Self { child, lines, log: String::new(), _dir: dir }
    }

    /// The address after `words` in the log, as soon as it is there.
    fn address(&mut self, words: &str) -> SocketAddr {
        loop {
            let after = self.log.split_once(words).and_then(|(_, after)| after.split_once('\n'));
            if let Some((address, _)) = after {
                return address.trim().parse().unwrap();
            }
            let got = self.lines.read_line(&mut self.log).unwrap();
            assert!(got > 0, "it ended:\n{}", self.log);
        }
    }
}

impl Drop for Contained {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// `COPY plugins/*.wasm /etc/odin/plugins/` and `COPY config/wasm.yaml /etc/odin/config.yaml`.
#[test]
fn plugins_and_a_configuration_copied_as_on_the_page_are_served() {
    let dir = image();
    dir.write("etc/odin/plugins/plugin.wasm", wasm::setting_headers(r#""X-Tag":["copied"]"#));
    dir.write(
        "etc/odin/config.yaml",
        "admin: {listen: '127.0.0.1:0'}\n\
         wasm:\n  enabled: true\n  pluginDir: /etc/odin/plugins\n  plugins:\n    \
         - {name: my-plugin, path: plugin.wasm, type: request}\n\
         services:\n  - {name: users-service, basePath: /api, targets: ['builtin:echo']}\n  \
         - {name: named, basePath: /named, targets: ['http://localhost:1']}\n",
    );
    let cache = dir.path().join("var/cache/odin");
    let mut contained = Contained::start(dir);
    let admin = contained.address("admin on ");
    let addr = contained.address("listening on ");
    assert_eq!(get(addr, "/api").json()["headers"]["X-Tag"][0], "copied");
    let head = "GET /readyz HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n";
    let ready = ask(admin, head).json();
    assert_eq!(ready["status"], "ready", "names are resolved too: {ready}");
    wait_until("the compiled plugin is kept", || kept(&cache) == 1);
}

fn kept(cache: &Path) -> usize {
    cache.read_dir().unwrap().count()
}

#[test]
fn the_image_listens_where_others_can_reach_it_and_its_own_configuration_is_valid() {
    let listens = |line: &String| line == "ODIN_LISTEN=0.0.0.0:8080";
    assert!(instructions("ENV").iter().any(listens), "{:?}", instructions("ENV"));
    assert_eq!(instructions("EXPOSE"), ["8080"]);
    let config = "config/deploy/docker/config.yaml";
    run(Command::new(env!("CARGO_BIN_EXE_odin")).arg("check").arg(super::root(config)));
    assert!(read(DOCKERFILE).contains(&format!("{config} /image/etc/odin/config.yaml")));
    assert_eq!(instructions("COPY"), ["--from=build /image/ /"]);
}

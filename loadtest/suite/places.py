"""Where things are, and which core does what."""

import pathlib
import resource
import socket
import subprocess

ROOT = pathlib.Path(__file__).resolve().parent.parent.parent
HERE = ROOT / "loadtest"
PEERS = HERE / "peers"
RUN = HERE / "run"
TOOLS = ROOT / "target/loadtest/release"
# The gateway as `make pgo` and as `make release` build it.
PGO = ROOT / "target/pgo/odin"
RELEASE = ROOT / "target/release/odin"
MODULES = ROOT / "plugins/dist"
NGINX_MODULES = pathlib.Path("/usr/lib/nginx/modules")

# The proxy has a core of its own; the origin and the load generator share the other one.
PROXY_CORE, LOAD_CORE = "0", "1"
# Where the origin listens, on one port: one process, three targets.
ORIGINS = ("127.0.0.1", "127.0.0.2", "127.0.0.3")
# Where Debian installs servers, which is not on every user's path.
PATH_MORE = ":/usr/sbin:/usr/local/sbin"


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as server:
        return server.getsockname()[1]


def written(name: str, text: str | bytes) -> pathlib.Path:
    """A file of this run; replaced at once, because a gateway may be reading it."""
    path = RUN / name
    new = RUN / f"{name}.new"
    new.write_bytes(text if isinstance(text, bytes) else text.encode())
    new.rename(path)
    return path


def certificate() -> tuple[pathlib.Path, pathlib.Path]:
    """A certificate of ECDSA (P-256) for gateway.example that signs itself, and its key, in one
    file as HAProxy wants them and in two for the others."""
    pem, key = RUN / "tls.pem", RUN / "tls.key"
    if not pem.exists():
        subprocess.run(
            ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256",
             "-nodes", "-days", "30", "-subj", "/CN=gateway.example",
             "-addext", "subjectAltName=DNS:gateway.example", "-keyout", key, "-out", pem],
            check=True, capture_output=True,
        )
        (RUN / "both.pem").write_text(pem.read_text() + key.read_text())
    return pem, key


def raise_file_limit() -> None:
    """10,000 idle connections need more than the usual 1024."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = 30000 if hard == resource.RLIM_INFINITY else min(30000, hard)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))

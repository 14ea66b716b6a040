"""Where things are, and which core does what."""

import pathlib
import resource
import socket

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
# Where Debian installs servers, which is not on every user's path.
PATH_MORE = ":/usr/sbin:/usr/local/sbin"


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as server:
        return server.getsockname()[1]


def written(name: str, text: str) -> pathlib.Path:
    """A file of this run; replaced at once, because a gateway may be reading it."""
    path = RUN / name
    new = RUN / f"{name}.new"
    new.write_text(text)
    new.rename(path)
    return path


def raise_file_limit() -> None:
    """512 connections on both sides, and what is kept idle, need more than the usual 1024."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = 20000 if hard == resource.RLIM_INFINITY else min(20000, hard)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))

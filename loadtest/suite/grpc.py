"""A unary gRPC call as the load test makes it, and the origin that answers it: nghttpd, a server of
HTTP/2 in the clear that answers any request for a file with that file, and can send trailers."""

from .places import LOAD_CORE, RUN, written
from .processes import Process

GRPC_PATH = "/echo.Echo/Get"
# A message of 32 bytes, without compression.
GRPC_MESSAGE = b"\0\0\0\0\x20" + b"x" * 32
GRPC_FIELDS = (
    ("content-type", "application/grpc"), ("te", "trailers"), ("user-agent", "grpc-go/1.66.0"),
    ("grpc-timeout", "10S"),
)


def origin(port: int) -> Process:
    """Not yet known to listen."""
    folder = RUN / "grpc" / GRPC_PATH.split("/")[1]
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "Get").write_bytes(GRPC_MESSAGE)
    command = [
        "nghttpd", "--no-tls", "-a", "127.0.0.1", "-d", RUN / "grpc", "-n1",
        "--trailer=grpc-status: 0", "-m", "1000", port,
    ]
    return Process("grpc-origin", command, LOAD_CORE, port)

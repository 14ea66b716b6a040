"""Who takes part: how each is started, what it must make of a request, what it needs.

All do the same work: they forward the client's fields, tell the origin who asked (X-Forwarded-For,
-Proto, -Host) and give the request an id (X-Request-Id), have time limits, keep connections to the
origin and write no access log. suite/fairness.py checks that before anything is measured."""

import dataclasses
import pathlib
import shlex
import shutil
from collections.abc import Callable

from .places import (
    MODULES, NGINX_MODULES, ORIGINS, PATH_MORE, PEERS, PROXY_CORE, RELEASE, RUN, TOOLS, certificate,
    written,
)

# What Odin adds for circles to be found (RFC 8586); the peers have no such thing.
LOOP = "cdn-loop"
FORWARDED = ("x-forwarded-for", "x-forwarded-proto", "x-forwarded-host", "x-request-id")


@dataclasses.dataclass(frozen=True)
class Contender:
    """`command(binary, port, origin)` starts it."""

    command: Callable[[pathlib.Path, int, int], list]
    # What the origin sees beyond what the client sent: names in lower case, value if it is fixed.
    adds: tuple[str, ...] = FORWARDED
    sets: tuple[tuple[str, str], ...] = ()
    # Of these, only that they are there is checked.
    loose: tuple[str, ...] = ()
    # Files without which it cannot be had here; it is then left out, and the report says so.
    needs: tuple[pathlib.Path | str, ...] = ()
    core: str = PROXY_CORE
    # What happens meanwhile: called with the process and the port, a context manager.
    beside: Callable | None = None
    # Its listener speaks TLS.
    is_secure: bool = False
    # Its origin is that of gRPC.
    is_grpc: bool = False
    # It has an admin API, for `beside`; and that it cannot keep up with a rate is a failure.
    is_ours: bool = False

    def missing(self) -> str | None:
        for need in self.needs:
            if isinstance(need, pathlib.Path):
                if not need.exists():
                    return f"no {need.name}"
            elif not shutil.which(need, path=f"/usr/bin:/bin{PATH_MORE}"):
                return f"no {need}"
        return None


# --- Odin -----------------------------------------------------------------------------------------

HEADER = (("x-gateway", "Odin"),)


def plugin(
    language: str, index: int = 0, body: bool = False, path: str = "", value: str = "Odin"
) -> str:
    """A header plugin as configuration; the one at `index` sets a header of its own."""
    name = f"X-Gateway-{index}" if index else "X-Gateway"
    module = path or f"header-injection-{language}.wasm"
    reads = "true" if body else "false"
    return (
        f"    - {{ name: p{index}, path: {module}, type: request, body: {reads}, "
        f"priority: {index}, maxMemoryPages: 256, config: {{ addHeaders: "
        f"{{ {name}: {value} }} }} }}\n"
    )


def odin_config(
    port: int, origin: int, plugins: str = "", driver: str = "auto", workers: int = 1,
    admin: str = "off", services: str = "", service: str = "", is_secure: bool = False,
    scheme: str = "http", addresses: tuple[str, ...] = ORIGINS[:1],
) -> str:
    listed = f"  plugins:\n{plugins}" if plugins else "  plugins: []\n"
    urls = ", ".join(f'"{scheme}://{address}:{origin}"' for address in addresses)
    target = f"targets: [{urls}]{service}"
    pins = "true" if workers > 1 else "false"
    listen = f"127.0.0.1:{port}"
    if is_secure:
        pem, key = certificate()
        tls = f"{{ certificates: [{{ cert: {pem}, key: {key} }}] }}"
        listen = f"[{{ address: \"{listen}\", tls: {tls} }}]"
    return (
        f"server:\n  listen: {listen}\n  workers: {workers}\n  pinCores: {pins}\n"
        f"  ioDriver: {driver}\n  limits: {{ upstreamIdleMax: 1024 }}\n"
        f"admin: {{ listen: {admin} }}\nwasm:\n  pluginDir: {MODULES}\n  maxInstances: 64\n{listed}"
        f"services:\n  - {{ name: s, basePath: /, {target} }}\n"
        + services.replace("TARGET", target)
    )


def odin(
    plugins: str = "", driver: str = "auto", workers: int = 1, core: str = PROXY_CORE,
    sets: tuple = (), needs: tuple = (), is_secure: bool = False, service: str = "",
    scheme: str = "http", addresses: tuple[str, ...] = ORIGINS[:1], **more,
) -> Contender:
    def command(binary: pathlib.Path, port: int, origin: int) -> list:
        text = odin_config(
            port, origin, plugins, driver, workers, service=service, is_secure=is_secure,
            scheme=scheme, addresses=addresses,
        )
        return [binary, "--config", written(f"odin-{port}.yaml", text)]

    return Contender(
        command, adds=(*FORWARDED, LOOP), sets=sets, needs=needs, core=core, is_secure=is_secure,
        is_ours=True, **more,
    )


def odin_filter(config: str = "header") -> Contender:
    """Envoy's own filter, the same file."""
    module = RUN / "filter.wasm"
    words = (
        f"    - {{ name: f, path: {module}, type: middleware, rootId: f, vmId: v, maxMemoryPages: 256, "
        f"config: {config} }}\n"
    )
    return odin(words, sets=HEADER, needs=(module,))


def as_processes(cores: tuple[str, ...]) -> Contender:
    """A gateway of one worker on each of these cores, on one port: as many workers, sharing nothing
    but the machine. (The kernel spreads connections over processes as over workers.)"""

    def command(binary: pathlib.Path, port: int, origin: int) -> list:
        words = odin().command(binary, port, origin)
        gateway = shlex.join(map(str, words))
        starts = [f"taskset -c {core} {gateway} & gateways=\"$gateways $!\"" for core in cores]
        ends = "trap 'kill $gateways' TERM"
        return ["sh", "-c", "\n".join([*starts, ends, "wait", "wait"])]

    adds = (*FORWARDED, LOOP)
    return Contender(command, adds=adds, core=",".join(cores), is_ours=True)


def without_pgo(contender: Contender) -> Contender:
    """The same by the build that is not optimised by a profile."""

    def command(_: pathlib.Path, port: int, origin: int) -> list:
        return contender.command(RELEASE, port, origin)

    return dataclasses.replace(contender, command=command, needs=contender.needs + (RELEASE,))


def odin_header(language: str, body: bool = False, is_secure: bool = False) -> Contender:
    module = MODULES / f"header-injection-{language}.wasm"
    return odin(plugin(language, body=body), sets=HEADER, needs=(module,), is_secure=is_secure)


def odin_chain(length: int) -> Contender:
    plugins = "".join(plugin("rust", at) for at in range(length))
    more = tuple((f"x-gateway-{at}", "Odin") for at in range(1, length))
    needs = (MODULES / "header-injection-rust.wasm",)
    return odin(plugins, sets=HEADER + more if length else (), needs=needs)


def odin_constant_guest() -> Contender:
    """A guest that returns its outcome without work: what is left is the gateway's part."""
    path = RUN / "constant.wasm"
    return odin(plugin("", path=str(path)), sets=HEADER, needs=(path,))


# --- Peers ----------------------------------------------------------------------------------------


def filled(file: str, places: dict[str, object]) -> str:
    text = (PEERS / file).read_text()
    for name, value in places.items():
        text = text.replace(f"@{name}@", str(value))
    return text


def peer(file: str, words: Callable[[pathlib.Path], list], inserts: dict[str, str]):
    def command(_: pathlib.Path, port: int, origin: int) -> list:
        # In this order: what an insert says may name the port of the origin.
        places = {**inserts, "PORT": port, "ORIGIN": origin, "RUN": RUN, "PEERS": PEERS}
        return words(written(f"{port}-{file}", filled(file, places)))

    return command


def origins(balanced: str) -> tuple[str, ...]:
    """All of them where there is something to balance."""
    return ORIGINS if balanced else ORIGINS[:1]


NGINX_FIELDS = """proxy_set_header X-Forwarded-Proto $scheme;
      proxy_set_header X-Forwarded-Host $http_host;
      proxy_set_header X-Request-Id $request_id;"""
NGINX_LUA = "ngx.req.set_header('X-Gateway', 'Odin')"
NGINX_LUA_MODULES = ("ndk_http_module.so", "ngx_http_lua_module.so")


def nginx(
    plugin: str = "", http: str = "", modules: tuple[str, ...] = (), fields: str = NGINX_FIELDS,
    workers: int = 1, is_secure: bool = False, is_grpc: bool = False, balanced: str = "",
    **more,
) -> Contender:
    pem, key = RUN / "tls.pem", RUN / "tls.key"
    secured = f"ssl_certificate {pem}; ssl_certificate_key {key}; ssl_session_cache shared:s:10m;"
    inserts = {
        "SERVERS": balanced + " ".join(f"server {at}:@ORIGIN@;" for at in origins(balanced)),
        "TLS": " ssl http2" if is_secure else "",
        "SERVER": secured + " http2_max_concurrent_streams 1000;" if is_secure else "",
        "PASS": "grpc_pass grpc://u;" if is_grpc else "proxy_pass http://u;",
        # Several have a core each, as Odin's have.
        "WORKERS": f"{workers}; worker_cpu_affinity auto" if workers > 1 else "1",
        "MODULES": "\n".join(f"load_module {NGINX_MODULES / module};" for module in modules),
        "HTTP": http, "PLUGIN": plugin, "FIELDS": fields,
    }
    needs = ("nginx", *(NGINX_MODULES / module for module in modules))
    command = peer("nginx.conf", lambda path: ["nginx", "-c", path, "-p", RUN], inserts)
    return Contender(command, needs=needs, is_secure=is_secure, is_grpc=is_grpc, **more)


def nginx_njs() -> Contender:
    http = f"js_path {PEERS};\n  js_import header from header.js;\n  js_set $gateway header.value;"
    plugin = "proxy_set_header X-Gateway $gateway;"
    return nginx(plugin, http, ("ngx_http_js_module.so",), sets=HEADER)


def nginx_lua(body: bool = False) -> Contender:
    reading = " ngx.req.read_body() ngx.req.get_body_data()" if body else ""
    code = f"rewrite_by_lua_block {{ {NGINX_LUA}{reading} }}"
    return nginx(code, "", NGINX_LUA_MODULES, sets=HEADER)


HAPROXY_FIELDS = """http-request set-header X-Forwarded-Proto http
  http-request set-header X-Forwarded-Host %[req.hdr(host)]
  http-request set-header X-Request-Id %[uuid()]"""


def haproxy(
    lua: bool = False, fields: str = HAPROXY_FIELDS, is_secure: bool = False,
    is_grpc: bool = False, balanced: str = "", **more,
) -> Contender:
    if is_secure:
        fields = fields.replace("Proto http", "Proto https")
    inserts = {
        "TLS": f"ssl crt {RUN}/both.pem alpn h2,http/1.1" if is_secure else "",
        "SERVERS": "\n  ".join([
            balanced,
            *(
                f"server s{number} {at}:@ORIGIN@ {'proto h2' if is_grpc else ''} "
                "pool-max-conn 1024 pool-purge-delay 55s"
                for number, at in enumerate(origins(balanced))
            ),
        ]),
        "GLOBAL": f"lua-load {PEERS}/header.lua" if lua else "",
        "PLUGIN": "http-request lua.gateway" if lua else "",
        "FIELDS": fields,
    }
    command = peer("haproxy.cfg", lambda path: ["haproxy", "-db", "-f", path], inserts)
    return Contender(
        command, needs=("haproxy",), sets=HEADER if lua else (), is_secure=is_secure,
        is_grpc=is_grpc, **more,
    )


ENVOY_FIELDS = (
    'request_headers_to_add: [ { header: { key: X-Forwarded-Host, value: "%REQ(:AUTHORITY)%" }, '
    "append_action: OVERWRITE_IF_EXISTS_OR_ADD } ]"
)
ENVOY_TYPE = '"@type": type.googleapis.com/envoy.extensions.filters.http'
ENVOY_LUA = f"""- name: envoy.filters.http.lua
            typed_config:
              {ENVOY_TYPE}.lua.v3.Lua
              default_source_code:
                inline_string: |
                  function envoy_on_request(handle)
                    handle:headers():replace("X-Gateway", "Odin")
                  end"""
ENVOY_WASM = f"""- name: envoy.filters.http.wasm
            typed_config:
              {ENVOY_TYPE}.wasm.v3.Wasm
              config:
                name: f
                root_id: f
                configuration:
                  "@type": type.googleapis.com/google.protobuf.StringValue
                  value: "CONFIG"
                vm_config:
                  vm_id: v
                  runtime: envoy.wasm.runtime.v8
                  code: {{ local: {{ filename: {RUN}/filter.wasm }} }}"""


# What it adds of its own; a rule that takes it away again would cost it more.
ENVOY_UNASKED = ("x-envoy-external-address",)


ENVOY_ENDPOINT = (
    "{ endpoint: { address: { socket_address: { address: AT, port_value: @ORIGIN@ } } } }"
)
ENVOY_EXTENSIONS = '"@type": type.googleapis.com/envoy.extensions'
ENVOY_SECURE = f"""transport_socket:
        name: envoy.transport_sockets.tls
        typed_config:
          {ENVOY_EXTENSIONS}.transport_sockets.tls.v3.DownstreamTlsContext
          common_tls_context:
            alpn_protocols: [h2, http/1.1]
            tls_certificates:
            - certificate_chain: {{ filename: {RUN}/tls.pem }}
              private_key: {{ filename: {RUN}/tls.key }}"""
ENVOY_HTTP2 = f"""typed_extension_protocol_options:
      envoy.extensions.upstreams.http.v3.HttpProtocolOptions:
        {ENVOY_EXTENSIONS}.upstreams.http.v3.HttpProtocolOptions
        explicit_http_config: {{ http2_protocol_options: {{}} }}"""


def envoy(
    plugin: str = "", fields: str = ENVOY_FIELDS, request_id: bool = True,
    is_secure: bool = False, is_grpc: bool = False, balanced: str = "", **more,
) -> Contender:
    inserts = {
        "SERVERS": ", ".join(ENVOY_ENDPOINT.replace("AT", at) for at in origins(balanced)),
        "TLS": ENVOY_SECURE if is_secure else "", "CODEC": "AUTO" if is_secure else "HTTP1",
        "CLUSTER": ENVOY_HTTP2 if is_grpc else balanced,
        "PLUGIN": plugin, "FIELDS": fields, "REQUEST_ID": "true" if request_id else "false",
    }
    flags = ["--concurrency", "1", "--disable-hot-restart", "-l", "error"]
    command = peer("envoy.yaml", lambda path: [RUN / "envoy", "-c", path, *flags], inserts)
    needs = (RUN / "envoy", *more.pop("needs", ()))
    adds = (*more.pop("adds", FORWARDED), *ENVOY_UNASKED)
    # For a client on the loopback it names an address of the machine's.
    return Contender(
        command, needs=needs, adds=adds, loose=("x-forwarded-for",), is_secure=is_secure,
        is_grpc=is_grpc, **more,
    )


def envoy_wasm(config: str = "header") -> Contender:
    filter = ENVOY_WASM.replace("CONFIG", config)
    return envoy(filter, sets=HEADER, needs=(RUN / "filter.wasm",))


FLOOR_WAYS = {"floor, turns": "turns", "floor, pipes": "pipes"}


def floor(way: str) -> Contender:
    def command(_: pathlib.Path, port: int, origin: int) -> list:
        return [TOOLS / "floor", f"127.0.0.1:{port}", f"127.0.0.1:{origin}", way]

    return Contender(command, adds=(), needs=(TOOLS / "floor",))


# With as little added to a request as each allows, instead of what Odin adds.
NGINX_FEWER = nginx(fields="", adds=("x-forwarded-for",))
HAPROXY_FEWER = haproxy(fields="", adds=("x-forwarded-for",))
ENVOY_FEWER = envoy(
    fields="", request_id=False, adds=("x-forwarded-for", "x-forwarded-proto")
)

"""The gateways that are compared, each as a careful operator would set it up for origins that fail.

All have the same numbers: half a second to connect, a second for the head of an answer, five for a
whole request; three tries of what may be repeated (GET, HEAD, PUT), none of what may not (POST) once
it was sent; five errors in a row, or two failed checks half a second apart, take a target out; it
comes back after two seconds, or two passed checks. One worker each."""

import asyncio
import contextlib
import json
import os
import pathlib
import shutil
import signal
import socket

ROOT = pathlib.Path(__file__).resolve().parents[2]
RUN = ROOT / "loadtest/run"
PATH = os.environ["PATH"] + ":/usr/sbin:/sbin"
START_SECONDS = 30


class Gateway:
    """One that runs. `targets` is a list of (address, port, weight)."""

    name = ""

    def __init__(self, folder, port, options):
        self.folder, self.port, self.options = folder, port, options
        self.process = None

    @classmethod
    def missing(cls):
        """What it lacks to run here; None: nothing."""
        return None if shutil.which(cls.name.lower(), path=PATH) else f"no {cls.name.lower()}"

    async def start(self, targets):
        self.write(targets)
        with open(self.folder / f"{self.name}.log", "w") as log:
            self.process = await asyncio.create_subprocess_exec(
                *map(str, self.command()), stdout=log, stderr=log, env={**os.environ, "PATH": PATH}
            )
        for _ in range(START_SECONDS * 20):
            if self.process.returncode is not None:
                break
            try:
                _, writer = await asyncio.open_connection("127.0.0.1", self.port)
                writer.close()
                return
            except OSError:
                await asyncio.sleep(0.05)
        log = (self.folder / f"{self.name}.log").read_text(errors="replace")
        raise RuntimeError(f"{self.name} does not start: {log[-2000:]}")

    async def change(self, targets):
        self.write(targets)
        self.process.send_signal(self.reload_signal)

    async def end(self):
        if not self.process:
            return
        for number in (signal.SIGTERM, signal.SIGKILL):
            # It may have ended by itself meanwhile.
            with contextlib.suppress(ProcessLookupError):
                self.process.send_signal(number)
            with contextlib.suppress(asyncio.TimeoutError):
                return await asyncio.wait_for(self.process.wait(), 3)

    def place(self, file, text):
        new = self.folder / f"{file}.new"
        new.write_text(text)
        new.rename(self.folder / file)


class Nginx(Gateway):
    name = "nginx"
    reload_signal = signal.SIGHUP

    def command(self):
        return ["nginx", "-p", self.folder, "-c", self.folder / "nginx.conf"]

    def write(self, targets):
        way = "least_conn;" if self.options.adaptive else ""
        servers = "\n".join(
            f"    server {address}:{port} weight={weight} max_fails=5 fail_timeout=2s;"
            for address, port, weight in targets
        )
        passes = "http://u"
        named = ""
        if self.options.dns:
            # An upstream's names are looked up at its start alone; a variable is looked up anew.
            named = (
                f"resolver 127.0.0.1:{self.options.dns} valid=1s ipv6=off;\n"
                f"      set $named http://app.test:{targets[0][1]};"
            )
            passes, servers = "$named", "    server 127.0.0.1:1;"
        self.place("nginx.conf", f"""
daemon off; worker_processes 1; pid {self.folder}/nginx.pid;
error_log {self.folder}/nginx-error.log crit;
events {{ worker_connections 4096; }}
http {{
  access_log off; keepalive_requests 1000000;
  client_body_temp_path {self.folder}/t1; proxy_temp_path {self.folder}/t2;
  fastcgi_temp_path {self.folder}/t3; uwsgi_temp_path {self.folder}/t4; scgi_temp_path {self.folder}/t5;
  upstream u {{
    {way}
{servers}
    keepalive 256; keepalive_requests 1000000;
  }}
  server {{
    listen 127.0.0.1:{self.port} backlog=1024;
    location / {{
      {named}
      proxy_pass {passes};
      proxy_http_version 1.1; proxy_set_header Connection "";
      proxy_connect_timeout 500ms; proxy_read_timeout 1s; proxy_send_timeout 1s;
      proxy_next_upstream error timeout invalid_header http_502 http_503 http_504;
      proxy_next_upstream_tries 3; proxy_next_upstream_timeout 5s;
    }}
  }}
}}
""")


class HAProxy(Gateway):
    name = "HAProxy"
    reload_signal = signal.SIGUSR2

    def command(self):
        return ["haproxy", "-W", "-db", "-f", self.folder / "haproxy.cfg"]

    def write(self, targets):
        balance = "leastconn" if self.options.adaptive else "roundrobin"
        observe = "observe layer7 error-limit 5 on-error mark-down"
        # What takes a server out is only undone by checks.
        check = f"check inter 500ms fall 2 rise 2 {observe}"
        option = "option httpchk GET /healthz"
        resolvers = ""
        servers = "\n".join(
            f"  server s{port} {address}:{port} weight {weight}" for address, port, weight in targets
        )
        if not self.options.checks:
            option = ""
        if self.options.dns:
            resolvers = (
                f"resolvers r\n  nameserver one 127.0.0.1:{self.options.dns}\n"
                "  hold valid 1s\n  hold obsolete 1s\n  timeout resolve 1s\n  timeout retry 500ms\n"
            )
            servers = f"  server-template s 4 app.test:{targets[0][1]} resolvers r init-addr none"
        self.place("haproxy.cfg", f"""
global
  nbthread 1
  maxconn 4000
  hard-stop-after 10s
defaults
  mode http
  timeout http-request 5s
  timeout http-keep-alive 60s
  timeout client 5s
  timeout connect 500ms
  timeout server 1s
  timeout queue 1s
  option http-keep-alive
  http-reuse always
  retries 2
  option redispatch 1
  retry-on conn-failure empty-response junk-response response-timeout 502 503 504
{resolvers}
frontend f
  bind 127.0.0.1:{self.port} backlog 1024
  http-request disable-l7-retry if METH_POST
  option http-buffer-request
  default_backend b
backend b
  balance {balance}
  {option}
  default-server {check} pool-max-conn 256
{servers}
""")


class Envoy(Gateway):
    name = "Envoy"

    @classmethod
    def missing(cls):
        return None if (RUN / "envoy").exists() else "no loadtest/run/envoy (loadtest/setup)"

    def command(self):
        config = self.folder / "envoy.json"
        flags = ["--concurrency", "1", "--disable-hot-restart", "-l", "error"]
        return [RUN / "envoy", "-c", config, *flags]

    async def change(self, targets):
        self.write_endpoints(targets)

    def write_endpoints(self, targets):
        endpoints = [
            {
                "endpoint": {"address": socket_address(address, port)},
                "load_balancing_weight": weight,
            }
            for address, port, weight in targets
        ]
        name = "type.googleapis.com/envoy.config.endpoint.v3.ClusterLoadAssignment"
        resource = {"@type": name, "cluster_name": "c", "endpoints": [{"lb_endpoints": endpoints}]}
        self.place("eds.json", json.dumps({"resources": [resource]}))

    def write(self, targets):
        self.write_endpoints(targets)
        cluster = {
            "name": "c",
            "connect_timeout": "0.5s",
            # Else one that is taken out of the list and passes its checks stays.
            "ignore_health_on_host_removal": True,
            "lb_policy": "LEAST_REQUEST" if self.options.adaptive else "ROUND_ROBIN",
            "outlier_detection": {
                "consecutive_5xx": 5, "consecutive_gateway_failure": 5,
                "enforcing_consecutive_gateway_failure": 100,
                "interval": "0.5s", "base_ejection_time": "2s", "max_ejection_percent": 50,
            },
            "circuit_breakers": {"thresholds": [{
                "max_connections": 1024, "max_pending_requests": 256, "max_requests": 1024,
                "retry_budget": {"budget_percent": {"value": 20}, "min_retry_concurrency": 20},
            }]},
        }
        if self.options.checks:
            cluster["health_checks"] = [{
                "timeout": "0.5s", "interval": "0.5s", "no_traffic_interval": "0.5s",
                "unhealthy_threshold": 2, "healthy_threshold": 2,
                "http_health_check": {"path": "/healthz"},
            }]
        if self.options.dns:
            endpoint = {"endpoint": {"address": socket_address("app.test", targets[0][1])}}
            resolver = "envoy.extensions.network.dns_resolver.cares.v3.CaresDnsResolverConfig"
            cluster |= {
                "type": "STRICT_DNS", "respect_dns_ttl": True, "dns_refresh_rate": "1s",
                "load_assignment": {
                    "cluster_name": "c", "endpoints": [{"lb_endpoints": [endpoint]}],
                },
                "typed_dns_resolver_config": {
                    "name": "envoy.network.dns_resolver.cares",
                    "typed_config": {
                        "@type": f"type.googleapis.com/{resolver}",
                        "resolvers": [socket_address("127.0.0.1", self.options.dns)],
                        "dns_resolver_options": {"no_default_search_domain": True},
                    },
                },
                "dns_lookup_family": "V4_ONLY",
            }
        else:
            cluster |= {"type": "EDS", "eds_cluster_config": {"eds_config": {
                "path_config_source": {
                    "path": str(self.folder / "eds.json"),
                    "watched_directory": {"path": str(self.folder)},
                },
            }}}
        self.place("envoy.json", json.dumps({
            "stats_config": {"stats_matcher": {"reject_all": True}},
            "node": {"id": "n", "cluster": "n"},
            "static_resources": {"listeners": [self.listener()], "clusters": [cluster]},
        }))

    def listener(self):
        def retry(on):
            return {
                "retry_on": on, "num_retries": 2, "per_try_timeout": "1s",
                "retry_host_predicate": [{
                    "name": "envoy.retry_host_predicates.previous_hosts",
                    "typed_config": {"@type": "type.googleapis.com/envoy.extensions.retry.host."
                                     "previous_hosts.v3.PreviousHostsPredicate"},
                }],
                "host_selection_retry_max_attempts": 5,
            }

        post = {"name": ":method", "string_match": {"exact": "POST"}}
        unsent = "connect-failure,refused-stream,reset-before-request"
        repeated = "gateway-error,reset,connect-failure,refused-stream"
        routes = [
            {"match": {"prefix": "/", "headers": [post]},
             "route": {"cluster": "c", "timeout": "5s", "retry_policy": retry(unsent)}},
            {"match": {"prefix": "/"},
             "route": {"cluster": "c", "timeout": "5s", "retry_policy": retry(repeated)}},
        ]
        base = "type.googleapis.com/envoy.extensions.filters"
        router = {"@type": f"{base}.http.router.v3.Router", "suppress_envoy_headers": True}
        manager = {
            "@type": f"{base}.network.http_connection_manager.v3.HttpConnectionManager",
            "stat_prefix": "s", "codec_type": "HTTP1",
            "http_filters": [{"name": "envoy.filters.http.router", "typed_config": router}],
            "route_config": {"virtual_hosts": [{"name": "v", "domains": ["*"], "routes": routes}]},
        }
        name = "envoy.filters.network.http_connection_manager"
        return {
            "name": "l", "address": socket_address("127.0.0.1", self.port),
            "enable_reuse_port": False,
            "filter_chains": [{"filters": [{"name": name, "typed_config": manager}]}],
        }


def socket_address(address, port):
    return {"socket_address": {"address": address, "port_value": port}}


class Odin(Gateway):
    name = "Odin"
    reload_signal = signal.SIGHUP
    binary = pathlib.Path(os.environ.get("ODIN_BINARY", ROOT / "target/debug/odin"))

    @classmethod
    def missing(cls):
        return None if cls.binary.exists() else f"no {cls.binary} (make build)"

    def command(self):
        return [self.binary, "--config", self.folder / "odin.yaml"]

    def write(self, targets):
        balance = "p2c" if self.options.adaptive else "round-robin"
        check = "{ path: /healthz, interval: 500ms, timeout: 500ms, healthyAfter: 2, unhealthyAfter: 2 }"
        check = f"healthCheck: {check}" if self.options.checks else ""
        resolver = ""
        if self.options.dns:
            resolver = f"  nameServers: [127.0.0.1:{self.options.dns}]"
            targets = [("app.test", targets[0][1], 1)]
        listed = "\n".join(
            f"      - {{ url: 'http://{address}:{port}', weight: {weight} }}"
            for address, port, weight in targets
        )
        self.place("odin.yaml", f"""
server:
  listen: 127.0.0.1:{self.port}
  workers: 1
  pinCores: false
{resolver}
admin: {{ listen: 127.0.0.1:{free_port()} }}
logging: {{ level: info }}
services:
  - name: s
    basePath: /
    targets:
{listed}
    loadBalancing: {balance}
    timeout: 5s
    timeouts: {{ connect: 500ms, firstByte: 1s, idle: 1s }}
    retry: {{ tries: 3, perTry: 1s }}
    outlier: {{ consecutiveErrors: 5, ejection: 2s }}
    {check}
""")


def free_port(address="127.0.0.1"):
    with socket.socket() as taken:
        taken.bind((address, 0))
        return taken.getsockname()[1]


ALL = [Nginx, HAProxy, Envoy, Odin]

# Sourced by what needs a gateway at work (flamegraphs/run.sh, perf/pgo.sh): one worker on core 0; an
# nginx as the origin and wrk share core 1.
#
#   start SCENARIO GATEWAY PLUGINS RUN   starts gateway and origin; sets gateway_pid
#   load SECONDS                         sends requests, prints what wrk says
#   stop                                 ends both; the gateway drains
# shellcheck shell=bash

PATH=$PATH:/usr/sbin
SCENARIOS="plain header-rust header-go header-assemblyscript body-64k chain-10"
started=()

free_port() {
    python3 -c 'import socket; s = socket.create_server(("127.0.0.1", 0)); print(s.getsockname()[1])'
}

plugins() { # LANGUAGE COUNT BODY
    for ((at = 0; at < $2; at++)); do
        echo "    - { name: header-$at, path: header-injection-$1.wasm, type: request, body: $3," \
            "priority: $at, maxInstances: 64, config: { addHeaders: { X-Gateway: Odin } } }"
    done
}

start() {
    local scenario=$1 gateway=$2 folder=$3
    run=$4
    local origin listed='  plugins: []' method=GET bytes=0
    case $scenario in
        plain) ;;
        header-rust | header-go | header-assemblyscript)
            listed="  plugins:"$'\n'$(plugins "${scenario#header-}" 1 false) ;;
        chain-10) listed="  plugins:"$'\n'$(plugins rust 10 false) ;;
        body-64k) listed="  plugins:"$'\n'$(plugins rust 1 true) method=POST bytes=65536 ;;
        *) echo "no scenario \"$scenario\"; there are $SCENARIOS" >&2; exit 64 ;;
    esac
    rm -rf "$run"
    mkdir -p "$run"
    origin=$(free_port)
    port=$(free_port)
    cat >"$run/nginx.conf" <<END
daemon off; pid $run/nginx.pid; error_log stderr crit; worker_processes 1;
events { worker_connections 1024; }
http {
    access_log off; keepalive_requests 1000000000; client_max_body_size 0;
    client_body_temp_path $run; proxy_temp_path $run; fastcgi_temp_path $run;
    uwsgi_temp_path $run; scgi_temp_path $run;
    server {
        listen 127.0.0.1:$origin;
        location / { return 200 "$(printf 'x%.0s' {1..128})"; }
    }
}
END
    cat >"$run/odin.yaml" <<END
server: { listen: 127.0.0.1:$port, workers: 1, pinCores: false }
admin: { listen: off }
wasm:
  pluginDir: $folder
  maxInstances: 256
$listed
services:
  - { name: users-service, basePath: /api/users, targets: ["http://127.0.0.1:$origin"] }
END
    cat >"$run/load.lua" <<END
wrk.method = "$method"
wrk.headers["Accept"] = "application/json, text/plain, */*"
wrk.headers["Accept-Language"] = "en-GB,en;q=0.9"
wrk.headers["Accept-Encoding"] = "gzip, deflate, br"
wrk.headers["Cookie"] = "session=0123456789abcdef0123456789abcdef; theme=dark"
wrk.headers["Authorization"] = "Bearer 0123456789abcdef0123456789abcdef0123456789abcdef"
wrk.headers["User-Agent"] = "Mozilla/5.0 (X11; Linux x86_64; rv:128.0) Gecko/20100101 Firefox/128.0"
if $bytes > 0 then
    local record = '{"id":1234,"name":"Ann Example","email":"ann@example.org","tags":["a","b"]},'
    wrk.body = string.rep(record, math.floor($bytes / #record))
end
END
    taskset -c 1 nginx -c "$run/nginx.conf" -p "$run" -e stderr &
    started=($!)
    # It is waited for at once, and the gateway's shell may not have made it yet.
    : >"$run/odin.log"
    XDG_CACHE_HOME=$run taskset -c 0 "$gateway" --config "$run/odin.yaml" 2>"$run/odin.log" &
    gateway_pid=$!
    started+=("$gateway_pid")
    for _ in {1..300}; do
        ! grep -q 'listening on' "$run/odin.log" || return 0
        kill -0 "$gateway_pid" 2>/dev/null || break
        sleep 0.1
    done
    cat "$run/odin.log" >&2
    exit 1
}

load() {
    taskset -c 1 wrk -t1 -c32 -d"$1" -s "$run/load.lua" \
        "http://127.0.0.1:$port/api/users?limit=10" | tee "$run/wrk.txt"
    if grep -q 'Non-2xx' "$run/wrk.txt"; then
        tail -n5 "$run/odin.log" >&2
        exit 1
    fi
}

stop() {
    [ ${#started[@]} -eq 0 ] || kill "${started[@]}" 2>/dev/null || true
    wait
    started=()
}

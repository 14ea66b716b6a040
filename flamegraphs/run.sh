#!/usr/bin/env bash
# Samples a gateway under load: run.sh SCENARIO [OUT.svg]. README.md lists the scenarios and what was
# found; `make flamegraph SCENARIO=plain` builds what this needs.
#
# Linux's perf takes 997 samples a second by the processor's clock (a virtual machine has no hardware
# counters) and follows frame pointers, which the gateway is built with for this and wasmtime keeps
# in guests; a map that wasmtime writes (ODIN_PERF_MAP) names the guests' functions.
set -euo pipefail
cd "$(dirname "$0")/.."
. perf/under-load.sh

scenario=${1:?"which scenario? $SCENARIOS"}
out=$(realpath -m "${2:-flamegraphs/$scenario.svg}")
seconds=${SAMPLED_SECONDS:-15}
inferno=$PWD/target/tools/bin
trap stop EXIT

export ODIN_PERF_MAP=1
start "$scenario" "$PWD/target/flamegraphs/odin" "$PWD/target/flamegraphs/guests" \
    "$PWD/target/flamegraphs/run"
load 2s >/dev/null
load "$((seconds + 1))s" >/dev/null &
loading=$!
perf record -q -e cpu-clock -F 997 --call-graph fp -p "$gateway_pid" -o "$run/perf.data" \
    -- sleep "$seconds"
wait $loading

# Only the worker: the other threads wait.
perf script --comm worker-0 -i "$run/perf.data" 2>/dev/null |
    c++filt | sed -E 's/::h[0-9a-f]{16}\b//' |
    "$inferno/inferno-collapse-perf" --kernel --jit 2>/dev/null >"$run/folded.txt"
rm -f "/tmp/perf-$gateway_pid.map"
samples=$(awk '{ sum += $NF } END { printf "%.0f", sum * 997 / 1e9 }' "$run/folded.txt")
commit=${COMMIT:-$(git rev-parse --short HEAD)}
"$inferno/inferno-flamegraph" --title "Odin, $scenario" --minwidth 0.2 --colors rust --hash \
    --subtitle "commit $commit, $(uname -sr), $samples samples of the worker" \
    <"$run/folded.txt" >"$out"
ls -l "$out" | awk '{ print $5 " bytes: " $9 }'

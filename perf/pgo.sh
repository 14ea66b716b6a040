#!/usr/bin/env bash
# Builds the gateway as a release that is optimised by a profile of itself: target/pgo/odin.
#
# Two builds with fat LTO; between them the first one, which counts its branches, serves each scenario
# of perf/under-load.sh for some seconds. Needs llvm-profdata of rustc's LLVM: rustup's component
# llvm-tools, which is added where rustup is, or Debian's package llvm-<version>.
set -euo pipefail
cd "$(dirname "$0")/.."
. perf/under-load.sh

seconds=${TRAINING_SECONDS:-10}
pgo=$PWD/target/pgo
version=$(rustc -vV | sed -n 's/^LLVM version: \([0-9]*\).*/\1/p')

find_profdata() {
    local tool
    for tool in "$(rustc --print sysroot)"/lib/rustlib/*/bin/llvm-profdata \
        "$(command -v "llvm-profdata-$version" || true)"; do
        if [ -x "$tool" ]; then
            echo "$tool"
            return
        fi
    done
    return 1
}

# What an earlier run built is of other sources.
rm -f "$pgo/odin"
if ! find_profdata >/dev/null && command -v rustup >/dev/null; then
    rustup component add llvm-tools || true
fi
profdata=$(find_profdata) || {
    echo "pgo: there is no llvm-profdata of LLVM $version. Install it: rustup component add" \
        "llvm-tools, or apt-get install llvm-$version" >&2
    exit 1
}

rm -rf "$pgo/raw"
RUSTFLAGS="-Cprofile-generate=$pgo/raw" cargo build --locked --release --bin odin \
    --target-dir "$pgo/counting"
trap stop EXIT
for scenario in $SCENARIOS; do
    echo "pgo: $scenario"
    start "$scenario" "$pgo/counting/release/odin" "$PWD/plugins/dist" "$pgo/run"
    load "${seconds}s" | grep Requests/sec
    stop
done
"$profdata" merge -o "$pgo/odin.profdata" "$pgo/raw"
RUSTFLAGS="-Cprofile-use=$pgo/odin.profdata" cargo build --locked --release --bin odin \
    --target-dir "$pgo/optimised"
cp "$pgo/optimised/release/odin" "$pgo/odin"
echo "pgo: target/pgo/odin"

#!/usr/bin/env bash
# run.sh SECONDS [TARGET...]: builds the fuzz targets and runs each (or those named) for so long.
#
# libFuzzer guides its search by what the compiler counts. The flags that make it count are those of
# `cargo fuzz --sanitizer none` and work with the ordinary toolchain; what needs another one is the
# address sanitizer, which finds little in code that is almost all safe.
set -euo pipefail

cd "$(dirname "$0")"
seconds=$1
shift
targets=("$@")
if [ ${#targets[@]} = 0 ]; then
    mapfile -t targets < <(sed -n 's/^path = "fuzz_targets\/\(.*\)\.rs"$/\1/p' Cargo.toml)
fi

host=$(rustc -vV | sed -n 's/^host: //p')
flags=(--cfg fuzzing -Cpasses=sancov-module)
for option in level=4 inline-8bit-counters pc-table trace-compares; do
    flags+=("-Cllvm-args=-sanitizer-coverage-$option")
done
# With --target, build scripts and macros are left alone.
RUSTFLAGS="${flags[*]}" cargo build --release --locked --target "$host" --bins

for target in "${targets[@]}"; do
    mkdir -p "corpus/$target" "artifacts/$target"
    log=target/$target.log
    dictionary=()
    [ ! -f "seeds/$target.dict" ] || dictionary=("-dict=seeds/$target.dict")
    echo "fuzz $target for $seconds s"
    # Finds go to the first folder; the seeds are only read.
    if ! "target/$host/release/$target" "corpus/$target" "seeds/$target" \
        -artifact_prefix="artifacts/$target/" -max_total_time="$seconds" -timeout=10 \
        -rss_limit_mb=4096 -print_final_stats=1 "${dictionary[@]}" >"$log" 2>&1; then
        tail -n 40 "$log"
        echo "fuzz: $target has failed; its input is under fuzz/artifacts/$target" >&2
        exit 1
    fi
    sed -n 's/^stat::number_of_executed_units: */  executions: /p' "$log"
done

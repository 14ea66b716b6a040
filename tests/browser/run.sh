#!/usr/bin/env bash
# Tests the dashboard of target/debug/odin in a headless Chromium.
set -euo pipefail

cd "$(dirname "$0")"
# Where `make plugins` has put Node.js, if it had to.
if [ -f ../../plugins/target/toolchain/node.env ]; then
    # shellcheck source=/dev/null
    . ../../plugins/target/toolchain/node.env
fi
for program in node npm; do
    command -v $program >/dev/null || {
        echo "browser tests: there is no $program; make plugins installs it" >&2
        exit 1
    }
done
[ -x "${CHROMIUM:-/usr/bin/chromium}" ] || {
    echo "browser tests: there is no ${CHROMIUM:-/usr/bin/chromium}; make setup installs it, or" \
        "set CHROMIUM" >&2
    exit 1
}
[ node_modules/.package-lock.json -nt package-lock.json ] || npm ci --silent
# The lines at the end say how many passed. Three at once: most of a test is waiting for a second
# to pass.
exec node --test --test-concurrency=3 --test-reporter=spec ./*.test.js

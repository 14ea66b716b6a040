#!/usr/bin/env bash
# Shows that the gate closes: in a copy of the sources the exchange is made to copy its request, which
# costs some allocations; `check.py` must fail for that, and say where it is.
set -euo pipefail
cd "$(dirname "$0")/.."

copy=$PWD/target/perf/slowed
rm -rf "$copy"
mkdir -p "$copy"
git ls-files -z --cached --others --exclude-standard | xargs -0 cp --parents -t "$copy"
ln -s "$PWD/plugins/dist" "$copy/plugins/dist"
place='    scratch.request_id.clear();'
slow='    for _ in 0..4 { drop(std::hint::black_box(scratch.request.clone())); }'
sed -i "/^pub async fn run(/,/^}/ s/^$place\$/$place\n$slow/" "$copy/src/exchange/mod.rs"
if cmp -s src/exchange/mod.rs "$copy/src/exchange/mod.rs"; then
    echo "selftest: exchange::run no longer has the line after which this inserts another" >&2
    exit 1
fi

if perf/check.py check --tree "$copy" >"$copy/report"; then
    cat "$copy/report"
    echo "selftest: the slowed path passed" >&2
    exit 1
fi
cat "$copy/report"
for expected in '^request/plain: .* what grew most' '^  *+.*clone'; do
    grep -q "$expected" "$copy/report" || {
        echo "selftest: it failed, but does not say \"$expected\"" >&2
        exit 1
    }
done
echo "selftest: the slowed path failed, as it should"

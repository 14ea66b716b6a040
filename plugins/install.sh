#!/usr/bin/env bash
# install.sh DIR FILE...: puts modules into DIR under their plugin's name (with - for cargo's _), at
# once and only if they differ, so that a gateway that watches DIR reloads what has changed.
set -euo pipefail

dir=$1
shift
for file in "$@"; do
    name=$(basename "$file" | tr _ -)
    # Cargo also leaves each example under a name that ends with its hash.
    [[ $name =~ -[0-9a-f]{16}\.wasm$ ]] && continue
    cmp -s "$file" "$dir/$name" && continue
    cp "$file" "$dir/$name.new"
    mv "$dir/$name.new" "$dir/$name"
done

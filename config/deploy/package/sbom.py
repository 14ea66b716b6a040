#!/usr/bin/env python3
"""Prints what the binaries are made of: every crate that is compiled into them, as CycloneDX 1.5.

By `cargo metadata` and Cargo.lock alone. Crates that only tests, benches or build scripts of nobody's
need are left out; those that build scripts and macros need are in, for they make code."""

import datetime
import json
import os
import subprocess
import tomllib
import uuid

root = os.path.join(os.path.dirname(os.path.abspath(__file__)), "../../..")
target = subprocess.run(["rustc", "-vV"], capture_output=True, text=True, check=True).stdout
target = next(line for line in target.splitlines() if line.startswith("host: "))[6:]
command = ["cargo", "metadata", "--locked", "--format-version", "1", "--filter-platform", target]
metadata = json.loads(
    subprocess.run(command, cwd=root, capture_output=True, text=True, check=True).stdout
)
with open(os.path.join(root, "Cargo.lock"), "rb") as lock:
    locked = {(p["name"], p["version"]): p for p in tomllib.load(lock)["package"]}

packages = {package["id"]: package for package in metadata["packages"]}
nodes = {node["id"]: node for node in metadata["resolve"]["nodes"]}
ours = metadata["resolve"]["root"]


def needed(node):
    """The crates that are compiled for this one: all but those of its tests."""
    for dependency in node["deps"]:
        if any(kind["kind"] != "dev" for kind in dependency["dep_kinds"]):
            yield dependency["pkg"]


found, queue = {ours}, [ours]
while queue:
    for dependency in needed(nodes[queue.pop()]):
        if dependency not in found:
            found.add(dependency)
            queue.append(dependency)


def reference(identifier):
    package = packages[identifier]
    return f"pkg:cargo/{package['name']}@{package['version']}"


def component(identifier):
    package = packages[identifier]
    entry = {
        "type": "application" if identifier == ours else "library",
        "bom-ref": reference(identifier),
        "name": package["name"],
        "version": package["version"],
        "purl": reference(identifier),
    }
    if package.get("license"):
        entry["licenses"] = [{"expression": package["license"].replace("/", " OR ")}]
    checksum = locked.get((package["name"], package["version"]), {}).get("checksum")
    if checksum:
        entry["hashes"] = [{"alg": "SHA-256", "content": checksum}]
    return entry


others = sorted(found - {ours}, key=reference)
seconds = int(os.environ.get("SOURCE_DATE_EPOCH", "0"))
when = datetime.datetime.fromtimestamp(seconds, datetime.timezone.utc)
bom = {
    "bomFormat": "CycloneDX",
    "specVersion": "1.5",
    "version": 1,
    "metadata": {
        "timestamp": when.strftime("%Y-%m-%dT%H:%M:%SZ"),
        "component": component(ours),
    },
    "components": [component(one) for one in others],
    "dependencies": [
        {
            "ref": reference(one),
            "dependsOn": sorted({reference(other) for other in needed(nodes[one])}),
        }
        for one in [ours, *others]
    ],
}
# The same content has the same number.
bom["serialNumber"] = f"urn:uuid:{uuid.uuid5(uuid.NAMESPACE_URL, json.dumps(bom, sort_keys=True))}"
print(json.dumps(bom, indent=1))

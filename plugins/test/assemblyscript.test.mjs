// Runs the AssemblyScript SDK's unit tests: each function that the module exports is one.

import test from "node:test";
import { Guest } from "./guest.mjs";

const module = new URL("../target/assemblyscript-unit.wasm", import.meta.url);
const { exports } = Guest.load(module).instance;

for (const [name, run] of Object.entries(exports)) {
  if (typeof run === "function") test(name.replaceAll("_", " "), () => run());
}

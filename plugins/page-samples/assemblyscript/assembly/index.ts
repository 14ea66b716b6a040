// On the page: from "assemblyscript-json", whose modules stand one folder deeper.
import { JSON } from "assemblyscript-json/assembly";

@external("env", "log")
declare function hostLog(ptr: usize, len: i32): void;

export function execute(inputPtr: usize, inputSize: i32): u64 {
  // Read input
  // On the page: String.UTF8.decode(memory.data(inputPtr, inputSize)); memory.data is for constants.
  const inputData = String.UTF8.decodeUnsafe(inputPtr, inputSize);

  const input = JSON.parse(inputData);

  // Process request
  // ... your logic here ...
  log(input.isObj ? "the input is an object" : "the input is something else");

  // Return result
  // On the page: an object literal. AssemblyScript's objects have a class.
  const result = new Result();
  result.modified = true;
  result.proceed = true;

  return returnResult(result);
}

// --- left out by the page ---

// `continue` is a keyword; it gets its name where it is written.
class Result {
  modified: bool = false;
  proceed: bool = false;
}

// Stays until the next call.
let output: ArrayBuffer = new ArrayBuffer(0);

function returnResult(result: Result): u64 {
  const object = new JSON.Obj();
  object.set("modified", new JSON.Bool(result.modified));
  object.set("continue", new JSON.Bool(result.proceed));
  output = String.UTF8.encode(object.stringify());
  return ((<u64>output.byteLength) << 32) | <u64>changetype<usize>(output);
}

function log(text: string): void {
  const utf8 = String.UTF8.encode(text);
  hostLog(changetype<usize>(utf8), utf8.byteLength);
}

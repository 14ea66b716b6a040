// Does what a body says, piece by piece, and at its end says how much of it there was. For tests of
// the SDKs: c/ does the same.

import {
  Body, Chunk, Failed, Passed, Request, Response, Result, info, onRequestBody, onResponseBody,
} from "odin-plugin/assembly";
export {
  alloc, dealloc, execute, init, on_request_chunk, on_response_chunk, on_stream_close,
  on_stream_open,
} from "odin-plugin/assembly";

class Counted extends Body {
  bytes: i32 = 0;
  pieces: i32 = 0;

  constructor(private obeys: bool) {
    super();
  }

  chunk(chunk: Chunk): Passed {
    const text = chunk.text;
    if (this.obeys && text.startsWith("hold") && chunk.size < 8 && !chunk.isEnd) {
      return Passed.hold();
    }
    this.bytes += chunk.size;
    this.pieces++;
    if (this.obeys) {
      if (text.startsWith("drop")) return Passed.replace(new Uint8Array(0));
      if (text.startsWith("end")) return Passed.endText("ended");
      if (text.startsWith("cut")) return Passed.cut("asked to cut");
      if (text.startsWith("fail")) return Passed.fail("asked to fail");
      if (text.startsWith("answer")) return Passed.answer(Result.respond(418).body("a pot"));
    }
    return chunk.isEnd ? Passed.replaceText(text + this.told) : Passed.pass();
  }

  close(): void {
    info("closed " + this.told);
  }

  get told(): string {
    return "[" + this.bytes.toString() + "/" + this.pieces.toString() + "]";
  }
}

onRequestBody((request: Request): Body | null => {
  if (request.path == "/wrong") return new Failed("the path is wrong");
  return request.path == "/pass" ? null : new Counted(true);
});

onResponseBody((_: Response): Body | null => new Counted(false));

package pieces

import "odin.internal/odin"

//go:wasmexport on_stream_open
func onStreamOpen(id, address, size uint32) { Open(id, odin.Given(address, size)) }

//go:wasmexport on_request_chunk
func onRequestChunk(id, address, size, flags uint32) uint64 {
	return packed(Give(id, false, odin.Given(address, size), flags))
}

//go:wasmexport on_response_chunk
func onResponseChunk(id, address, size, flags uint32) uint64 {
	return packed(Give(id, true, odin.Given(address, size), flags))
}

//go:wasmexport on_stream_close
func onStreamClose(id uint32) { Close(id) }

// packed is a result: the action above the length above the address.
func packed(action uint64, output []byte) uint64 { return action<<60 | odin.Place(output) }

package odin

import (
	"runtime/debug"
	"unsafe"

	"odin.internal/odin/internal/json"
)

// The border to the gateway: the exported functions, and who owns which memory.
//
// alloc hands the host a buffer, for the input and for what host functions return, which is kept
// here so that the collector leaves it alone (Go's does not move what it keeps). It is the host's,
// which gives it back with dealloc when it wants a larger one. The output lives in one buffer,
// valid until the next call.

// hostBuffers are the buffers made for the host, by address.
var hostBuffers = map[uint32][]byte{}

// output is reused from call to call.
var output []byte

// outputKeptMax bounds the output buffer that is kept, in bytes: one large body must not hold
// memory for the life of the instance.
const outputKeptMax = 64 << 10

// gcPercent keeps an instance within the default maxMemoryPages of 100 (6.4 MB): with Go's own 100
// % the collector first runs at 4 MB of garbage, and a plugin that copies every header grew to 128
// pages. At 25 % it stayed at 80, and a call took no longer.
const gcPercent = 25

func init() { debug.SetGCPercent(gcPercent) }

//go:wasmexport alloc
func alloc(size uint32) uint32 {
	// One byte at least: an empty slice has no address of its own.
	buffer := make([]byte, max(size, 1))
	address := addressOf(buffer)
	hostBuffers[address] = buffer
	return address
}

//go:wasmexport dealloc
func dealloc(address, _ uint32) { delete(hostBuffers, address) }

// start reads the configuration when an instance starts, so that a gateway refuses a wrong one when
// it is loaded. A gateway that does not tell it here tells it with the first call.
//
//go:wasmexport init
func start() {
	config, isTold := hostConfig("")
	if !isTold {
		return
	}
	if err := configure(json.Value(config)); err != nil {
		Log(Error, err.Error())
		exit(1)
	}
}

//go:wasmimport wasi_snapshot_preview1 proc_exit
func exit(code int32)

//go:wasmexport execute
func execute(address, size uint32) uint64 { return Execute(address, size) }

// Execute is the body of the exports execute and on_request (package onrequest). It is not for
// plugins to call.
func Execute(address, size uint32) uint64 {
	if cap(output) > outputKeptMax {
		output = nil
	}
	output = run(bytesAt(address, size), output[:0])
	return uint64(len(output))<<32 | uint64(addressOf(output))
}

//go:wasmexport cleanup
func cleanup() {
	if plugin.cleanup != nil {
		plugin.cleanup()
	}
}

// Given is what the host has put into one of its buffers, and Place where a copy of an output stands
// until the next call, packed. They are for package pieces, not for plugins to call.
func Given(address, size uint32) []byte { return bytesAt(address, size) }

// Place: see Given.
func Place(bytes []byte) uint64 {
	if cap(output) > outputKeptMax {
		output = nil
	}
	output = append(output[:0], bytes...)
	return uint64(len(output))<<32 | uint64(addressOf(output))
}

func addressOf(buffer []byte) uint32 {
	return uint32(uintptr(unsafe.Pointer(unsafe.SliceData(buffer))))
}

// bytesAt is what the host has put into one of its buffers. No pointer of Go's leads there, so it
// is made from the address (unsafe.Add of nil, the form that vet takes for intended).
func bytesAt(address, size uint32) []byte {
	return unsafe.Slice((*byte)(unsafe.Add(nil, uintptr(address))), size)
}

// unpacked copies a host function's packed result; the second result is false if it is 0.
func unpacked(packed uint64) (string, bool) {
	address, size := uint32(packed), uint32(packed>>32)
	if address == 0 {
		return "", false
	}
	return string(bytesAt(address, size)), true
}

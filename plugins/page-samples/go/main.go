package main

import (
	"encoding/json"
	"unsafe"
)

type Input struct {
	Context struct {
		RequestID string                 `json:"requestId"`
		Config    map[string]interface{} `json:"config"`
	} `json:"context"`
	Input map[string]interface{} `json:"input"`
}

type Result struct {
	Modified bool        `json:"modified"`
	Continue bool        `json:"continue"`
	Response interface{} `json:"response,omitempty"`
	Error    string      `json:"error,omitempty"`
}

// On the page: //export execute, which is TinyGo's.
//
//go:wasmexport execute
func execute(inputPtr uint32, inputSize uint32) uint64 {
	// Read input
	inputData := readMemory(inputPtr, inputSize)

	var input Input
	json.Unmarshal(inputData, &input)

	// Process request
	// ... your logic here ...

	// Return result
	result := Result{
		Modified: true,
		Continue: true,
	}

	return returnResult(&result)
}

func main() {}

// --- left out by the page ---

// Buffers that the gateway asked for, kept so that Go does not move or free them.
var buffers = map[uint32][]byte{}

// alloc gives the gateway room for the input: Go's own heap fills the whole memory.
//
//go:wasmexport alloc
func alloc(size uint32) uint32 {
	buffer := make([]byte, max(size, 1))
	address := uint32(uintptr(unsafe.Pointer(unsafe.SliceData(buffer))))
	buffers[address] = buffer
	return address
}

//go:wasmexport dealloc
func dealloc(address, _ uint32) { delete(buffers, address) }

func readMemory(address, size uint32) []byte {
	return buffers[address][:size]
}

// output stays until the next call.
var output []byte

func returnResult(result *Result) uint64 {
	output, _ = json.Marshal(result)
	address := uint32(uintptr(unsafe.Pointer(unsafe.SliceData(output))))
	return uint64(len(output))<<32 | uint64(address)
}

package onrequest

import "odin.internal/odin"

//go:wasmexport on_request
func onRequest(address, size uint32) uint64 { return odin.Execute(address, size) }

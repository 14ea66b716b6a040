package odin

import "unsafe"

//go:wasmimport env log
func envLog(level int32, address unsafe.Pointer, size uint32)

//go:wasmimport env get_time
func envGetTime() int64

//go:wasmimport env get_config
func envGetConfig(address unsafe.Pointer, size uint32) uint64

func hostLog(level Level, text string) {
	envLog(int32(level), unsafe.Pointer(unsafe.StringData(text)), uint32(len(text)))
}

func hostTime() int64 { return envGetTime() }

func hostConfig(key string) (string, bool) {
	return read(envGetConfig(unsafe.Pointer(unsafe.StringData(key)), uint32(len(key))))
}

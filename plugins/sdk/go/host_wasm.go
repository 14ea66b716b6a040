package odin

import "unsafe"

//go:wasmimport env log
func envLog(level int32, address unsafe.Pointer, size uint32)

//go:wasmimport env get_time
func envGetTime() int64

//go:wasmimport env get_time_ms
func envGetTimeMillis() int64

//go:wasmimport env read_file
func envReadFile(address unsafe.Pointer, size uint32) uint64

//go:wasmimport env http_call
func envHTTPCall(address unsafe.Pointer, size uint32) uint64

//go:wasmimport env metric_increment
func envMetricIncrement(address unsafe.Pointer, size uint32, delta int64)

//go:wasmimport env metric_record
func envMetricRecord(address unsafe.Pointer, size uint32, value int64)

//go:wasmimport env kv_get
func envKVGet(address unsafe.Pointer, size uint32) uint64

//go:wasmimport env kv_set
func envKVSet(
	key unsafe.Pointer, keySize uint32, value unsafe.Pointer, valueSize uint32, ttlMillis int64,
) int32

//go:wasmimport env kv_incr
func envKVIncrement(address unsafe.Pointer, size uint32, delta, ttlMillis int64) int64

//go:wasmimport env kv_cas
func envKVCompareAndSet(
	key unsafe.Pointer, keySize uint32, expected unsafe.Pointer, expectedSize uint32,
	value unsafe.Pointer, valueSize uint32, ttlMillis int64,
) int32

//go:wasmimport env kv_delete
func envKVDelete(address unsafe.Pointer, size uint32) int32

//go:wasmimport env get_config
func envGetConfig(address unsafe.Pointer, size uint32) uint64

// pointer and size are how a string is handed to the host, which reads it before it returns.
func pointer(text string) unsafe.Pointer { return unsafe.Pointer(unsafe.StringData(text)) }
func size(text string) uint32            { return uint32(len(text)) }

func hostLog(level Level, text string) { envLog(int32(level), pointer(text), size(text)) }
func hostTime() int64                  { return envGetTime() }
func hostTimeMillis() int64            { return envGetTimeMillis() }

func hostConfig(key string) (string, bool) { return unpacked(envGetConfig(pointer(key), size(key))) }
func hostReadFile(path string) (string, bool) {
	return unpacked(envReadFile(pointer(path), size(path)))
}
func hostHTTPCall(request string) (string, bool) {
	return unpacked(envHTTPCall(pointer(request), size(request)))
}

func hostMetricIncrement(name string, by int64) { envMetricIncrement(pointer(name), size(name), by) }
func hostMetricRecord(name string, value int64) { envMetricRecord(pointer(name), size(name), value) }

func hostKVGet(key string) (string, bool, error) {
	packed := envKVGet(pointer(key), size(key))
	// Negative: a size has 31 bits.
	if int64(packed) < 0 {
		return "", false, ErrShared
	}
	value, isThere := unpacked(packed)
	return value, isThere, nil
}

func hostKVSet(key, value string, ttlMillis int64) int32 {
	return envKVSet(pointer(key), size(key), pointer(value), size(value), ttlMillis)
}

func hostKVIncrement(key string, by, ttlMillis int64) int64 {
	return envKVIncrement(pointer(key), size(key), by, ttlMillis)
}

func hostKVCompareAndSet(key string, expected *string, value string, ttlMillis int64) int32 {
	// A size of -1 says that no key is expected.
	address, expectedSize := unsafe.Pointer(nil), ^uint32(0)
	if expected != nil {
		address, expectedSize = pointer(*expected), size(*expected)
	}
	return envKVCompareAndSet(
		pointer(key), size(key), address, expectedSize, pointer(value), size(value), ttlMillis,
	)
}

func hostKVDelete(key string) int32 { return envKVDelete(pointer(key), size(key)) }

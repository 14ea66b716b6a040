//go:build !wasm

package odin

import (
	"strconv"

	"odin.internal/odin/internal/json"
)

// Host is what a plugin under go test sees of the host. Tests set it and look at it; it is for one
// goroutine.
var Host struct {
	TimeMillis int64
	Logs       []LogLine
	Files      map[string]string
	// HTTP answers http_call, from the request's JSON to the answer's; nil reaches no host.
	HTTP    func(request string) string
	Metrics map[string]int64
	// KV is the shared state; nil is a shared state that can't be reached. Nothing expires.
	KV map[string]string
}

// LogLine is a line that a plugin wrote.
type LogLine struct {
	Level Level
	Text  string
}

func hostLog(level Level, text string) { Host.Logs = append(Host.Logs, LogLine{level, text}) }

func hostTime() int64 { return Host.TimeMillis / 1000 }

func hostTimeMillis() int64 { return Host.TimeMillis }

func hostReadFile(path string) (string, bool) {
	content, isThere := Host.Files[path]
	return content, isThere
}

func hostHTTPCall(request string) (string, bool) {
	if Host.HTTP == nil {
		return "", false
	}
	return Host.HTTP(request), true
}

func hostMetricIncrement(name string, by int64) {
	if Host.Metrics == nil {
		Host.Metrics = map[string]int64{}
	}
	Host.Metrics[name] += by
}

func hostMetricRecord(name string, value int64) { hostMetricIncrement(name, value) }

func hostKVGet(key string) (string, bool, error) {
	if Host.KV == nil {
		return "", false, ErrShared
	}
	value, isThere := Host.KV[key]
	return value, isThere, nil
}

func hostKVSet(key, value string, _ int64) int32 {
	if Host.KV == nil {
		return -1
	}
	Host.KV[key] = value
	return 0
}

func hostKVIncrement(key string, by, _ int64) int64 {
	if Host.KV == nil {
		return -1 << 63
	}
	value, _ := strconv.ParseInt(Host.KV[key], 10, 64)
	Host.KV[key] = strconv.FormatInt(value+by, 10)
	return value + by
}

func hostKVCompareAndSet(key string, expected *string, value string, _ int64) int32 {
	if Host.KV == nil {
		return -1
	}
	now, isThere := Host.KV[key]
	if isThere != (expected != nil) || isThere && now != *expected {
		return 0
	}
	Host.KV[key] = value
	return 1
}

func hostKVDelete(key string) int32 {
	if Host.KV == nil {
		return -1
	}
	_, wasThere := Host.KV[key]
	delete(Host.KV, key)
	if wasThere {
		return 1
	}
	return 0
}

// The configuration of the last call under test.
func hostConfig(key string) (string, bool) {
	value := json.Value(current.text)
	for start, at := 0, 0; at <= len(key); at++ {
		if at == len(key) || key[at] == '.' {
			value = value.Get(key[start:at])
			start = at + 1
		}
	}
	if value.IsString() {
		return value.String(), true
	}
	return string(value), value.Exists()
}

// Call runs one call as the gateway would: the input's JSON in, the output's JSON out.
func Call(input string) string { return string(run([]byte(input), nil)) }

//go:build !wasm

package odin

import "odin.internal/odin/internal/json"

// Host is what a plugin under go test sees of the host. Tests set it and look at it; it is for one
// goroutine.
var Host struct {
	Time int64
	Logs []LogLine
}

// LogLine is a line that a plugin wrote.
type LogLine struct {
	Level Level
	Text  string
}

func hostLog(level Level, text string) { Host.Logs = append(Host.Logs, LogLine{level, text}) }

func hostTime() int64 { return Host.Time }

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

package odin

// Level is how important a log line is; the gateway's logging.level decides what is shown.
type Level int32

// The levels, from every step to what failed.
const (
	Trace Level = iota
	Debug
	Info
	Warn
	Error
)

// Log writes one line to the gateway's log, under the plugin's name.
func Log(level Level, text string) { hostLog(level, text) }

// Now is Unix time in seconds.
func Now() int64 { return hostTime() }

// ConfigText is a key of the plugin's config as text, as the host function get_config gives it;
// dots reach into nested objects. The second result tells whether there is such a key.
func ConfigText(key string) (string, bool) { return hostConfig(key) }

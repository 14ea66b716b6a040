package odin

import "errors"

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

// NowMillis is Unix time in milliseconds.
func NowMillis() int64 { return hostTimeMillis() }

// ReadFile is the content of a file whose path stands in the plugin's config. The second result is
// false for a file that is not there, is too large, or stands not in config: the gateway's log says
// which.
func ReadFile(path string) (string, bool) { return hostReadFile(path) }

// Count adds to a counter of the plugin's own, in the gateway's metrics under the plugin's name.
func Count(metric string, by int64) { hostMetricIncrement(metric, by) }

// Record records a value in a histogram of the plugin's own.
func Record(metric string, value int64) { hostMetricRecord(metric, value) }

// ErrShared is what the functions of the shared state return when it can't be reached or is full,
// or a key or value is over its limit: the gateway's log says which.
var ErrShared = errors.New("the shared state can't be reached (the gateway's log says why)")

// KVGet is the value of a key that all instances of this plugin share, on every worker and, with a
// Redis, in every gateway. The second result tells whether it is there.
func KVGet(key string) (string, bool, error) { return hostKVGet(key) }

// KVSet sets a key, for ttlMillis; 0 is for ever, which in the bounded memory backend means until
// it is evicted.
func KVSet(key, value string, ttlMillis int64) error {
	if hostKVSet(key, value, ttlMillis) != 0 {
		return ErrShared
	}
	return nil
}

// KVIncrement adds to a counter and returns what it then is: atomic over all workers and gateways.
// A counter that is not there is made, with this time to live; one that is keeps its own.
func KVIncrement(key string, by, ttlMillis int64) (int64, error) {
	value := hostKVIncrement(key, by, ttlMillis)
	if value == -1<<63 {
		return 0, ErrShared
	}
	return value, nil
}

// KVCompareAndSet sets a key if it still has the expected value (nil: if it is not there) and tells
// whether it was set. With KVGet before it, any change of a value becomes atomic: try again until it
// is set.
func KVCompareAndSet(key string, expected *string, value string, ttlMillis int64) (bool, error) {
	return outcome(hostKVCompareAndSet(key, expected, value, ttlMillis))
}

// KVDelete removes a key and tells whether it was there.
func KVDelete(key string) (bool, error) { return outcome(hostKVDelete(key)) }

// outcome is what 1, 0 and everything else mean.
func outcome(code int32) (bool, error) {
	switch code {
	case 0:
		return false, nil
	case 1:
		return true, nil
	}
	return false, ErrShared
}

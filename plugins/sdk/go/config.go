package odin

import "odin.internal/odin/internal/json"

// Config is a value of the plugin's configuration (or of the metadata, or any JSON: see ParseJSON).
// Reading what is not there, or of another type, gives the zero value: Exists and the Is methods
// tell the difference.
//
// For a Go struct instead, give Raw to encoding/json in OnConfig. That adds about 1 MB to the
// module, and costs nothing per call.
type Config struct {
	value json.Value
}

// ParseJSON reads any JSON text, a body for example. It is not decoded before it is asked for. Of
// text that is not JSON, Exists is false.
func ParseJSON(text string) Config { return Config{json.Parse([]byte(text))} }

// Raw is the value's JSON text.
func (c Config) Raw() []byte { return c.value }

// Exists tells whether there is a value, null included.
func (c Config) Exists() bool { return c.value.Exists() }

// IsNull tells whether there is no value, or it is null.
func (c Config) IsNull() bool { return c.value.IsNull() }

// IsObject tells whether it is an object.
func (c Config) IsObject() bool { return c.value.IsObject() }

// IsArray tells whether it is an array.
func (c Config) IsArray() bool { return c.value.IsArray() }

// IsString tells whether it is a string.
func (c Config) IsString() bool { return c.value.IsString() }

// Get is the value under a key of an object.
func (c Config) Get(key string) Config { return Config{c.value.Get(key)} }

// String is a string's text.
func (c Config) String() string { return c.value.String() }

// StringOr is a string's text, or fallback where there is no string.
func (c Config) StringOr(fallback string) string {
	if !c.IsString() {
		return fallback
	}
	return c.String()
}

// Strings is an array's strings; a string alone counts as an array of one.
func (c Config) Strings() []string { return c.value.Strings() }

// Int is a whole number, or fallback where there is none.
func (c Config) Int(fallback int64) int64 {
	if number, ok := c.value.Int(); ok {
		return number
	}
	return fallback
}

// Float is a number, or fallback where there is none.
func (c Config) Float(fallback float64) float64 {
	if number, ok := c.value.Float(); ok {
		return number
	}
	return fallback
}

// Bool is a boolean, or fallback where there is none.
func (c Config) Bool(fallback bool) bool {
	switch string(c.value) {
	case "true":
		return true
	case "false":
		return false
	}
	return fallback
}

// Entries calls visit with each key and value of an object, in their order, until it returns false.
func (c Config) Entries(visit func(key string, value Config) bool) {
	c.value.Entries(func(name []byte, value json.Value) bool {
		return visit(json.Unescape(name), Config{value})
	})
}

// Items calls visit with each value of an array until it returns false.
func (c Config) Items(visit func(value Config) bool) {
	c.value.Items(func(value json.Value) bool { return visit(Config{value}) })
}

// Quote is a text as JSON: quotes around it, and what must be escaped.
func Quote(text string) string { return string(json.AppendString(nil, text)) }

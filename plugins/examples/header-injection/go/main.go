// Adds and removes headers, as its configuration says: addHeaders is a map of names to values (or
// lists of values), removeHeaders a list of names.
//
// As a request plugin it changes what the service sees, as a response plugin what the client sees,
// as middleware both. A header that stands in both lists is set.
package main

import (
	"errors"
	"strings"

	"odin.internal/odin"
)

// outcome is that of every call: it depends on the configuration alone. hiding is the same, and
// tells a cache behind this plugin that what it sees is not to be stored.
var outcome, hiding *odin.Result

// hides is what is taken off a response that a cache has to know.
var hides []string

func init() {
	odin.OnConfig(configure)
	odin.OnRequest(func(*odin.Request) *odin.Result { return outcome })
	odin.OnResponse(func(response *odin.Response) *odin.Result {
		for _, name := range hides {
			if response.HasHeader(name) {
				return hiding
			}
		}
		return outcome
	})
}

func configure(config odin.Config) error {
	var err error
	if outcome, err = newResult(config); err != nil {
		return err
	}
	hiding, err = newResult(config)
	hiding.MetadataJSON("odin.uncacheable", "true")
	hides = nil
	for _, name := range config.Get("removeHeaders").Strings() {
		switch strings.ToLower(name) {
		case "cache-control", "expires", "pragma", "set-cookie", "vary":
			hides = append(hides, name)
		}
	}
	config.Get("addHeaders").Entries(func(name string, _ odin.Config) bool {
		// What is put in their place says nothing of what the service had said.
		switch strings.ToLower(name) {
		case "set-cookie", "vary":
			hides = append(hides, name)
		}
		return true
	})
	return err
}

func newResult(config odin.Config) (*odin.Result, error) {
	result := odin.Next()
	for _, name := range config.Get("removeHeaders").Strings() {
		result.RemoveHeader(name)
	}
	var err error
	config.Get("addHeaders").Entries(func(name string, value odin.Config) bool {
		if !value.IsString() && !value.IsArray() {
			err = errors.New("addHeaders." + name + " is " + string(value.Raw()) +
				", must be a string or a list of strings")
			return false
		}
		result.SetHeader(name, value.Strings()...)
		return true
	})
	return result, err
}

func main() {}

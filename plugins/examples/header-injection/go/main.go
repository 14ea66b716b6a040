// Adds and removes headers, as its configuration says: addHeaders is a map of names to values (or
// lists of values), removeHeaders a list of names.
//
// As a request plugin it changes what the service sees, as a response plugin what the client sees,
// as middleware both. A header that stands in both lists is set.
package main

import (
	"errors"

	"odin.internal/odin"
)

// outcome is that of every call: it depends on the configuration alone.
var outcome *odin.Result

func init() {
	odin.OnConfig(configure)
	odin.OnRequest(func(*odin.Request) *odin.Result { return outcome })
	odin.OnResponse(func(*odin.Response) *odin.Result { return outcome })
}

func configure(config odin.Config) error {
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
	outcome = result
	return err
}

func main() {}

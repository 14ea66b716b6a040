// Adds a header with the method of each request.
package main

import "odin.internal/odin"

func init() {
	odin.OnRequest(func(request *odin.Request) *odin.Result {
		return odin.Next().SetHeader("X-Hello", request.Method())
	})
}

func main() {}

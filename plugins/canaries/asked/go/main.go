// Says in X-Asked what it was told of the request's target: "path limit". The same in both phases.
// For tests of the SDKs.
package main

import "odin.internal/odin"

func init() {
	odin.OnRequest(func(request *odin.Request) *odin.Result { return asked(request) })
	odin.OnResponse(func(response *odin.Response) *odin.Result { return asked(response.Request()) })
}

func asked(request *odin.Request) *odin.Result {
	return odin.Next().SetHeader("X-Asked", request.Path()+" "+request.Query("limit"))
}

func main() {}

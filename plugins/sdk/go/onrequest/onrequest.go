// Package onrequest makes a plugin of type response be called in the request phase too: a cache
// answers there, before the upstream is asked. Import it for its effect, the export on_request:
//
//	import _ "odin.internal/odin/onrequest"
package onrequest

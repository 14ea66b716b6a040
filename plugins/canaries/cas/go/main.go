// Numbers requests without a gap over all workers, by compare-and-set alone: the request of number
// n gets X-Number: n. For tests of the SDKs.
package main

import (
	"strconv"

	"odin.internal/odin"
)

func init() {
	odin.OnRequest(func(*odin.Request) *odin.Result {
		for {
			value, isThere, err := odin.KVGet("last")
			if err != nil {
				return odin.Fail(err)
			}
			last, _ := strconv.Atoi(value)
			var expected *string
			if isThere {
				expected = &value
			}
			next := strconv.Itoa(last + 1)
			isSet, err := odin.KVCompareAndSet("last", expected, next, 0)
			if err != nil {
				return odin.Fail(err)
			}
			if isSet {
				return odin.Next().SetHeader("X-Number", next)
			}
		}
	})
}

func main() {}

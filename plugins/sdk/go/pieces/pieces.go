// Package pieces is for plugins that bodies pass piece by piece (body: stream) or event by event
// (body: events). A plugin registers in init what opens a body:
//
//	pieces.OnResponse(func(response *odin.Response) (pieces.Body, error) {
//		return &upper{}, nil
//	})
//
// The exchanges of a worker are interleaved in one instance: what belongs to one of them stands in
// its Body and nowhere else.
package pieces

import "odin.internal/odin"

// Body is the state of one message's body while it passes.
type Body interface {
	// Chunk is given a piece. An error is a failure: the plugin's failureMode decides then.
	Chunk(chunk Chunk) (Passed, error)
	// Close is called when the exchange is over, whether the body has passed whole or not.
	Close()
}

// Chunk is a piece of a body.
type Chunk struct {
	// Bytes is valid until the call returns. Of the last piece there may be none.
	Bytes []byte
	// IsEnd says that nothing comes behind it.
	IsEnd bool
	// IsEvent says that it is one whole server-sent event.
	IsEvent bool
}

// Passed is what becomes of a piece.
type Passed struct {
	action uint64
	output []byte
}

const (
	pass uint64 = iota
	replace
	hold
	end
	cut
	answer
	fail
)

// Pass lets the piece go on as it is: the cheapest.
func Pass() Passed { return Passed{action: pass} }

// Replace lets these bytes go on in its place; none: nothing does. What the plugin has kept of it
// is its own to pass later.
func Replace(bytes []byte) Passed { return Passed{replace, bytes} }

// Hold has the gateway keep the piece, and give it again in front of the next one, within
// server.limits.pluginBodyBytesMax. Not of the last one.
func Hold() Passed { return Passed{action: hold} }

// End lets these bytes go on in its place, and ends the body: the other side sees a whole message.
func End(bytes []byte) Passed { return Passed{end, bytes} }

// Cut cuts the message off visibly; the reason goes to the log.
func Cut(reason string) Passed { return Passed{cut, []byte(reason)} }

// Answer answers the exchange so, as a refusal is; if some of a response has gone out, it is cut.
func Answer(result *odin.Result) Passed { return Passed{answer, odin.Written(result)} }

var (
	openRequest  func(*odin.Request) (Body, error)
	openResponse func(*odin.Response) (Body, error)
)

// OnRequest registers what opens the bodies of requests; a nil Body lets one pass as it is. The
// request is valid until the function returns.
func OnRequest(open func(request *odin.Request) (Body, error)) { openRequest = open }

// OnResponse registers what opens the bodies of responses; a nil Body lets one pass as it is. The
// response is valid until the function returns.
func OnResponse(open func(response *odin.Response) (Body, error)) { openResponse = open }

// which names a body: one exchange has two.
type which struct {
	id         uint32
	isResponse bool
}

var (
	bodies   = map[which]Body{}
	failures = map[which]error{}
)

// Open begins a body, of which input is the message as the gateway tells it. With Give and Close,
// it is what the module's exports do; tests call them in the place of the gateway.
func Open(id uint32, input []byte) {
	request, response, err := odin.Message(input)
	name := which{id, response != nil}
	var body Body
	switch {
	case err != nil:
	case response != nil && openResponse != nil:
		body, err = openResponse(response)
	case request != nil && openRequest != nil:
		body, err = openRequest(request)
	}
	if err != nil {
		failures[name] = err
	} else if body != nil {
		bodies[name] = body
	}
}

// Give gives a body a piece: the number of the action, and its output.
func Give(id uint32, isResponse bool, bytes []byte, flags uint32) (uint64, []byte) {
	name := which{id, isResponse}
	if err := failures[name]; err != nil {
		delete(failures, name)
		return fail, []byte(err.Error())
	}
	body := bodies[name]
	if body == nil {
		return pass, nil
	}
	passed, err := body.Chunk(Chunk{bytes, flags&1 != 0, flags&2 != 0})
	if err != nil {
		return fail, []byte(err.Error())
	}
	return passed.action, passed.output
}

// Close ends the bodies of an exchange.
func Close(id uint32) {
	for _, name := range [2]which{{id, false}, {id, true}} {
		if body := bodies[name]; body != nil {
			body.Close()
		}
		delete(bodies, name)
		delete(failures, name)
	}
}

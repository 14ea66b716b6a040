// Package odin is for writing plugins of the Odin gateway in Go.
//
// A plugin registers a function for each phase that it is about, in init:
//
//	package main
//
//	import "odin.internal/odin"
//
//	func init() {
//		odin.OnRequest(func(request *odin.Request) *odin.Result {
//			return odin.Next().SetHeader("X-Hello", request.Method())
//		})
//	}
//
//	func main() {}
//
// and is built with the standard toolchain (1.24 or newer):
//
//	GOOS=wasip1 GOARCH=wasm go build -buildmode=c-shared -ldflags="-s -w" -o plugin.wasm .
//
// main is never called: the gateway calls exported functions of the module, which this package
// provides. An instance serves one call at a time; package variables live as long as the instance,
// and every worker of the gateway has its own instances.
//
// The input stays the JSON text that the gateway wrote. Request, Response and Config find what they
// are asked for in it and decode only that, so a plugin pays for what it looks at.
package odin

import (
	"bytes"
	"errors"

	"odin.internal/odin/internal/json"
)

// plugin is what the module has registered.
var plugin struct {
	onConfig   func(Config) error
	onRequest  func(*Request) *Result
	onResponse func(*Response) *Result
	onAnswers  func(*Request, []Answer) *Result
	onTick     func()
	cleanup    func()
}

// OnConfig registers what reads the plugin's configuration: called when an instance starts, before
// its first call. An error refuses the configuration: the gateway does not take it in a reload, and
// where it has nothing else, the plugin's failureMode decides every request.
func OnConfig(read func(config Config) error) { plugin.onConfig = read }

// OnRequest registers the request phase. The request is valid until the function returns.
func OnRequest(decide func(request *Request) *Result) { plugin.onRequest = decide }

// OnResponse registers the response phase. The response is valid until the function returns.
func OnResponse(decide func(response *Response) *Result) { plugin.onResponse = decide }

// OnAnswers registers what makes one response of the answers of an aggregation's calls.
func OnAnswers(merge func(request *Request, answers []Answer) *Result) { plugin.onAnswers = merge }

// OnTick registers what is called by the clock, as often as the configuration's tick says, beside
// requests. Import package ontick for its export.
func OnTick(tick func()) { plugin.onTick = tick }

// Tick is the body of the export on_tick (package ontick). It is not for plugins to call.
func Tick() {
	if plugin.onTick != nil {
		plugin.onTick()
	}
}

// OnCleanup registers what is done before an instance is dropped (reload, unload, shutdown).
func OnCleanup(clean func()) { plugin.cleanup = clean }

// current is the configuration that was last read, and what came of it.
var current struct {
	text []byte
	err  error
	read bool
}

// run is one call: the input's JSON in, the output's JSON appended to out.
func run(input, out []byte) []byte {
	result := decide(input)
	if result == nil {
		result = Next()
	}
	return result.append(out)
}

func decide(input []byte) *Result {
	call, err := read(input)
	if err != nil {
		return Fail(err)
	}
	return call.dispatch()
}

// Message is what the message is about that a body belongs to: of the request or the response one
// is nil. It is for package pieces, not for plugins to call.
func Message(input []byte) (*Request, *Response, error) {
	call, err := read(input)
	if err != nil {
		return nil, nil, err
	}
	exchange := Exchange{context: call.context, config: call.config}
	if exchange.Phase() == "response" {
		response := newResponse(exchange, call.input)
		return nil, &response, nil
	}
	return &Request{exchange, message{text: call.input}}, nil, nil
}

// Written is a result as the gateway reads it. It is for package pieces, not for plugins to call.
func Written(result *Result) []byte { return result.append(nil) }

// read takes an input apart, and has the configuration read.
func read(input []byte) (call, error) {
	var call call
	json.Value(input).Entries(func(name []byte, value json.Value) bool {
		switch string(name) {
		case "context":
			call.context = value
		case "input":
			call.input = value
		case "config":
			call.config = value
		}
		return true
	})
	if !call.context.IsObject() || !call.input.IsObject() {
		return call, errors.New("input has no context and input objects")
	}
	return call, configure(call.config)
}

// configure calls OnConfig's function if the configuration is not the one that it read last.
func configure(config json.Value) error {
	if plugin.onConfig == nil || current.read && bytes.Equal(current.text, config) {
		return current.err
	}
	current.read = true
	current.text = bytes.Clone(config)
	current.err = nil
	if err := plugin.onConfig(Config{json.Value(current.text)}); err != nil {
		current.err = errors.New("config: " + err.Error())
	}
	return current.err
}

// call is the text of one call's input.
type call struct {
	context, input, config json.Value
}

// The two are reused from call to call: what a plugin gets is valid until it returns.
var (
	request  Request
	response Response
)

func (c call) dispatch() *Result {
	exchange := Exchange{context: c.context, config: c.config}
	switch exchange.Phase() {
	case "response":
		if plugin.onResponse == nil {
			return nil
		}
		response = newResponse(exchange, c.input)
		return plugin.onResponse(&response)
	case "aggregation":
		if plugin.onAnswers == nil {
			return Fail(errors.New("this plugin does not aggregate (it registers no OnAnswers)"))
		}
		request = Request{exchange, message{text: c.input}}
		return plugin.onAnswers(&request, newAnswers(c.input.Get("responses")))
	}
	if plugin.onRequest == nil {
		return nil
	}
	request = Request{exchange, message{text: c.input}}
	return plugin.onRequest(&request)
}

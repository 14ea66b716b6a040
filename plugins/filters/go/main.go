// An Envoy filter by the Go SDK of proxy-wasm, unmodified: headers, bodies, a call, shared data, by
// the first word of its configuration.
package main

import (
	"bytes"
	"encoding/binary"
	"strconv"
	"strings"

	"github.com/proxy-wasm/proxy-wasm-go-sdk/proxywasm"
	"github.com/proxy-wasm/proxy-wasm-go-sdk/proxywasm/types"
)

func main() {}

func init() {
	proxywasm.SetVMContext(&vm{})
}

type vm struct{ types.DefaultVMContext }

func (*vm) NewPluginContext(uint32) types.PluginContext { return &root{} }

type root struct {
	types.DefaultPluginContext
	mode, rest string
	ticks      int
}

func (r *root) OnPluginStart(int) types.OnPluginStartStatus {
	config, err := proxywasm.GetPluginConfiguration()
	if err != nil && err != types.ErrorStatusNotFound {
		return types.OnPluginStartStatusFailed
	}
	r.mode, r.rest, _ = strings.Cut(string(config), " ")
	if r.mode == "tick" {
		if err := proxywasm.SetTickPeriodMilliSeconds(10); err != nil {
			return types.OnPluginStartStatusFailed
		}
	}
	return types.OnPluginStartStatusOK
}

func (r *root) OnTick() { r.ticks++ }

func (r *root) NewHttpContext(uint32) types.HttpContext { return &exchange{root: r} }

type exchange struct {
	types.DefaultHttpContext
	root *root
}

func (e *exchange) OnHttpRequestHeaders(int, bool) types.Action {
	switch e.root.mode {
	case "headers":
		path, err := proxywasm.GetHttpRequestHeader(":path")
		must(err)
		must(proxywasm.ReplaceHttpRequestHeader("x-path", path))
		if _, err := proxywasm.GetHttpRequestHeader("x-none"); err != types.ErrorStatusNotFound {
			panic("x-none is there")
		}
	case "auth":
		headers := [][2]string{{":method", "GET"}, {":path", "/check"}, {":authority", "auth.test"}}
		_, err := proxywasm.DispatchHttpCall(e.root.rest, headers, nil, nil, 2000, e.answered)
		must(err)
		return types.ActionPause
	case "trap":
		panic("asked to")
	}
	return types.ActionContinue
}

func (e *exchange) answered(_, size, _ int) {
	body, _ := proxywasm.GetHttpCallResponseBody(0, size)
	if bytes.HasPrefix(body, []byte("yes")) {
		must(proxywasm.ResumeHttpRequest())
		return
	}
	must(proxywasm.SendHttpResponse(403, [][2]string{{"x-why", "go"}}, []byte("not allowed"), -1))
}

func (e *exchange) OnHttpResponseHeaders(int, bool) types.Action {
	switch e.root.mode {
	case "headers":
		must(proxywasm.AddHttpResponseHeader("x-go", "1"))
	case "body":
		must(proxywasm.RemoveHttpResponseHeader("content-length"))
	case "tick":
		must(proxywasm.AddHttpResponseHeader("x-ticks", strconv.Itoa(e.root.ticks)))
	case "shared":
		for {
			value, cas, err := proxywasm.GetSharedData("n")
			if err != nil {
				value = make([]byte, 8)
			}
			more := binary.LittleEndian.Uint64(value) + 1
			err = proxywasm.SetSharedData("n", binary.LittleEndian.AppendUint64(nil, more), cas)
			if err == types.ErrorStatusCasMismatch {
				continue
			}
			must(err)
			must(proxywasm.AddHttpResponseHeader("x-count", strconv.FormatUint(more, 10)))
			break
		}
	}
	return types.ActionContinue
}

func (e *exchange) OnHttpResponseBody(size int, isEnd bool) types.Action {
	if e.root.mode != "body" {
		return types.ActionContinue
	}
	if !isEnd {
		return types.ActionPause
	}
	body, err := proxywasm.GetHttpResponseBody(0, size)
	must(err)
	must(proxywasm.ReplaceHttpResponseBody(bytes.ReplaceAll(body, []byte("secret"), []byte("[go]"))))
	return types.ActionContinue
}

func must(err error) {
	if err != nil {
		panic(err)
	}
}

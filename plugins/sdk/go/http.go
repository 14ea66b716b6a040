package odin

import (
	"errors"
	"strconv"

	"odin.internal/odin/internal/json"
)

// HTTPCall is a call over HTTP that is being put together. The plugin waits for its answer, the
// worker does not. Reached are the gateway's services and the hosts that stand in the plugin's
// config as URLs, or in its allowedHosts.
type HTTPCall struct {
	method, url string
	headers     []header
	body        string
	hasBody     bool
	timeout     int
}

// HTTP begins a call.
func HTTP(method, url string) *HTTPCall { return &HTTPCall{method: method, url: url} }

// Header sets a header to these values.
func (c *HTTPCall) Header(name string, values ...string) *HTTPCall {
	c.headers = append(c.headers, header{name, values})
	return c
}

// Body sets the body.
func (c *HTTPCall) Body(body string) *HTTPCall {
	c.body, c.hasBody = body, true
	return c
}

// Timeout sets how long to wait, in milliseconds; the plugin's own timeout bounds it in any case.
func (c *HTTPCall) Timeout(milliseconds int) *HTTPCall {
	c.timeout = milliseconds
	return c
}

// Send makes the call. An error is that there is no answer: refused by the gateway, not connected,
// timed out. An answer of any status is one.
func (c *HTTPCall) Send() (*HTTPAnswer, error) {
	text, answered := hostHTTPCall(string(c.append(nil)))
	if !answered {
		return nil, errors.New("http_call gave nothing (the gateway's log says why)")
	}
	value := json.Parse([]byte(text))
	if reason := value.Get("error").String(); reason != "" {
		return nil, errors.New(c.url + ": " + reason)
	}
	return &HTTPAnswer{message{text: value}}, nil
}

func (c *HTTPCall) append(out []byte) []byte {
	out = json.AppendString(append(out, `{"method":`...), c.method)
	out = json.AppendString(append(out, `,"url":`...), c.url)
	if len(c.headers) > 0 {
		out = appendHeaders(append(out, `,"headers":`...), c.headers)
	}
	if c.hasBody {
		out = appendBody(append(out, `,"body":`...), c.body)
	}
	if c.timeout > 0 {
		out = strconv.AppendInt(append(out, `,"timeoutMs":`...), int64(c.timeout), 10)
	}
	return append(out, '}')
}

// HTTPAnswer is what came back.
type HTTPAnswer struct {
	message
}

// Status is the answer's status.
func (a *HTTPAnswer) Status() int {
	status, _ := a.get().statusCode.Int()
	return int(status)
}

package odin

import (
	"encoding/base64"
	"strings"

	"odin.internal/odin/internal/json"
)

// Exchange is where the exchange stands, the same for a request and its response.
type Exchange struct {
	context, config json.Value
}

// RequestID is the exchange's identifier, the same in the gateway's log and in X-Request-Id.
func (e *Exchange) RequestID() string { return e.context.Get("requestId").String() }

// ServiceID is the name of the service that the request was routed to.
func (e *Exchange) ServiceID() string { return e.context.Get("serviceId").String() }

// RoutePath is that service's basePath.
func (e *Exchange) RoutePath() string { return e.context.Get("routePath").String() }

// Timestamp is when the exchange began, RFC 3339 in UTC.
func (e *Exchange) Timestamp() string { return e.context.Get("timestamp").String() }

// Phase is "request", "response" or "aggregation".
func (e *Exchange) Phase() string { return e.context.Get("phase").String() }

// PluginName is the name under which this plugin is configured.
func (e *Exchange) PluginName() string { return e.context.Get("plugin").String() }

// ClientIP is the client's address, without a port.
func (e *Exchange) ClientIP() string { return e.context.Get("clientIp").String() }

// Metadata is what an earlier plugin of this exchange, or this one in the request phase, has left
// under a key.
func (e *Exchange) Metadata(key string) Config {
	return Config{e.context.Get("metadata").Get(key)}
}

// Config is the plugin's configuration. A plugin that needs it in another form on every call should
// read it once, with OnConfig.
func (e *Exchange) Config() Config { return Config{e.config} }

// message is the JSON object of a request or a response, taken apart when first looked at.
type message struct {
	text     json.Value
	isParsed bool
	parts    parts
}

type parts struct {
	method, url, path, headers, query, body, bodyEncoding, statusCode, request, name, service json.Value
}

func (m *message) get() *parts {
	if m.isParsed {
		return &m.parts
	}
	m.isParsed = true
	m.text.Entries(func(name []byte, value json.Value) bool {
		if part := m.parts.named(name); part != nil {
			*part = value
		}
		return true
	})
	return &m.parts
}

func (p *parts) named(name []byte) *json.Value {
	switch string(name) {
	case "method":
		return &p.method
	case "url":
		return &p.url
	case "path":
		return &p.path
	case "headers":
		return &p.headers
	case "query":
		return &p.query
	case "body":
		return &p.body
	case "bodyEncoding":
		return &p.bodyEncoding
	case "statusCode":
		return &p.statusCode
	case "request":
		return &p.request
	case "name":
		return &p.name
	case "service":
		return &p.service
	}
	return nil
}

// Header is the first value of a header, its name in any case; "" if there is none.
func (m *message) Header(name string) string {
	values := m.values(name)
	if values.IsString() {
		return values.String()
	}
	first := ""
	values.Items(func(value json.Value) bool {
		first = value.String()
		return false
	})
	return first
}

// HeaderValues is all values of a header, its name in any case.
func (m *message) HeaderValues(name string) []string { return m.values(name).Strings() }

// HasHeader tells whether there is such a header, even an empty one.
func (m *message) HasHeader(name string) bool { return m.values(name).Exists() }

// Headers calls visit with each header and its values until visit returns false.
func (m *message) Headers(visit func(name string, values []string) bool) {
	m.get().headers.Entries(func(name []byte, values json.Value) bool {
		return visit(json.Unescape(name), values.Strings())
	})
}

func (m *message) values(name string) json.Value {
	var found json.Value
	m.get().headers.Entries(func(known []byte, values json.Value) bool {
		if len(known) != len(name) || !strings.EqualFold(string(known), name) {
			return true
		}
		found = values
		return false
	})
	return found
}

// Body is the body as text or bytes; "" if there is none, or if this type of plugin is not given
// it. A body that is not UTF-8 travels as base64 and is decoded here.
func (m *message) Body() string {
	text := m.get().body.String()
	if m.get().bodyEncoding.String() != "base64" {
		return text
	}
	bytes, err := base64.StdEncoding.DecodeString(text)
	if err != nil {
		return ""
	}
	return string(bytes)
}

// Request is the request as the client sent it and earlier plugins changed it.
type Request struct {
	Exchange
	message
}

// Method is the method, as in GET.
func (r *Request) Method() string { return r.get().method.String() }

// URL is the whole URL, with scheme, host, normalised path and query.
func (r *Request) URL() string { return r.get().url.String() }

// Path is the normalised path, without the query.
func (r *Request) Path() string {
	if path := r.get().path.String(); path != "" {
		return path
	}
	return pathOf(r.URL())
}

// pathOf is the path of a URL, for inputs that do not name it. A scheme is what stands before the
// first "/", "?" or "#": a "://" behind that is the client's, and must not move where the path begins.
func pathOf(url string) string {
	if at := strings.IndexAny(url, "/?#"); at > 1 && strings.HasPrefix(url[at-1:], "://") {
		url = url[at+2:]
		at = strings.IndexAny(url, "/?#")
		if at < 0 {
			return ""
		}
		url = url[at:]
	}
	if at := strings.IndexAny(url, "?#"); at >= 0 {
		url = url[:at]
	}
	return url
}

// Query is the first value of a query parameter, decoded; "" if there is none.
func (r *Request) Query(name string) string {
	if values := r.get().query.Get(name).Strings(); len(values) > 0 {
		return values[0]
	}
	return ""
}

// QueryValues is all values of a query parameter, decoded.
func (r *Request) QueryValues(name string) []string { return r.get().query.Get(name).Strings() }

// Response is the response as the service sent it and earlier plugins changed it.
type Response struct {
	Exchange
	message
	request Request
}

func newResponse(exchange Exchange, input json.Value) Response {
	response := Response{Exchange: exchange, message: message{text: input}}
	response.request = Request{exchange, message{text: response.get().request}}
	head := response.request.get()
	// The gateway names the request's method and URL in both places; take either.
	if !head.method.Exists() {
		head.method = response.get().method
	}
	if !head.url.Exists() {
		head.url = response.get().url
	}
	if !head.path.Exists() {
		head.path = response.get().path
	}
	if !head.query.Exists() {
		head.query = response.get().query
	}
	return response
}

// Status is the status, as in 200.
func (r *Response) Status() int {
	status, _ := r.get().statusCode.Int()
	return int(status)
}

// Request is the request that this answers: its head, without a body.
func (r *Response) Request() *Request { return &r.request }

// Answer is one service's answer to a call of an aggregation.
type Answer struct {
	message
}

func newAnswers(value json.Value) []Answer {
	var answers []Answer
	value.Items(func(item json.Value) bool {
		answers = append(answers, Answer{message{text: item}})
		return true
	})
	return answers
}

// Name is the call's name in aggregation.calls.
func (a *Answer) Name() string { return a.get().name.String() }

// Service is the service that was asked.
func (a *Answer) Service() string { return a.get().service.String() }

// Status is its status; 0 if it could not be reached.
func (a *Answer) Status() int {
	status, _ := a.get().statusCode.Int()
	return int(status)
}

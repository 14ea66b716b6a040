package odin

import (
	"encoding/base64"
	"strconv"
	"strings"
	"unicode/utf8"

	"odin.internal/odin/internal/json"
)

// Result is what the gateway shall do. Begin with Next, Refuse, Respond or Fail; then say what
// changes. Only that is written.
type Result struct {
	verdict     verdict
	err         string
	status      int
	headers     []header
	body        string
	hasBody     bool
	method, url string
	metadata    []entry
}

type verdict int

const (
	goOn verdict = iota
	stop
	failed
)

type header struct {
	name   string
	values []string
}

// entry is a key of the metadata with its value, which is JSON already.
type entry struct{ key, value string }

// Next lets the exchange go on; what is not changed stays as it is.
func Next() *Result { return &Result{} }

// Refuse stops the chain; the client gets a refusal (by default 401 from an auth plugin, 429 from a
// rate limit, else 403) with {"error": reason} as its body.
func Refuse(reason string) *Result { return &Result{verdict: stop, err: reason} }

// Respond stops the chain; the client gets a response of this status.
func Respond(status int) *Result { return &Result{verdict: stop, status: status} }

// Fail says that the plugin could not decide. The gateway then acts as the plugin's failureMode
// says (auth and ratelimit: refuse; the other types: go on as if the plugin were not there).
func Fail(err error) *Result { return &Result{verdict: failed, err: err.Error()} }

// SetHeader sets a header to these values in the place of all it had. With no values it is removed.
func (r *Result) SetHeader(name string, values ...string) *Result {
	for at := range r.headers {
		if strings.EqualFold(r.headers[at].name, name) {
			r.headers[at] = header{name, values}
			return r
		}
	}
	r.headers = append(r.headers, header{name, values})
	return r
}

// RemoveHeader removes a header, with all its values.
func (r *Result) RemoveHeader(name string) *Result { return r.SetHeader(name) }

// Status sets the status, where this is about a response.
func (r *Result) Status(status int) *Result {
	r.status = status
	return r
}

// Body replaces the body. Bytes that are not UTF-8 travel as base64.
func (r *Result) Body(body string) *Result {
	r.body, r.hasBody = body, true
	return r
}

// JSON replaces the body by this JSON text, and says so in Content-Type.
func (r *Result) JSON(text string) *Result {
	return r.SetHeader("Content-Type", "application/json").Body(text)
}

// Method replaces the method, in the request phase.
func (r *Result) Method(method string) *Result {
	r.method = method
	return r
}

// URL replaces the URL (path and query; the route has been chosen already), in the request phase.
func (r *Result) URL(url string) *Result {
	r.url = url
	return r
}

// Metadata leaves a text for the later plugins of this exchange, both phases.
func (r *Result) Metadata(key, text string) *Result {
	return r.MetadataJSON(key, string(json.AppendString(nil, text)))
}

// MetadataJSON leaves a value that is JSON already.
func (r *Result) MetadataJSON(key, value string) *Result {
	r.metadata = append(r.metadata, entry{key, value})
	return r
}

func (r *Result) isModified() bool {
	return r.status != 0 || len(r.headers) > 0 || r.hasBody || r.method != "" || r.url != ""
}

// append writes the output's JSON.
func (r *Result) append(out []byte) []byte {
	if r.verdict == failed {
		// No word on whether to go on: that is for the failure mode to say.
		out = json.AppendString(append(out, `{"error":`...), r.err)
		return append(out, '}')
	}
	out = strconv.AppendBool(append(out, `{"modified":`...), r.isModified())
	out = strconv.AppendBool(append(out, `,"continue":`...), r.verdict == goOn)
	if r.err != "" {
		out = json.AppendString(append(out, `,"error":`...), r.err)
	}
	if r.isModified() {
		out = r.appendMessage(out)
	}
	if len(r.metadata) > 0 {
		out = append(out, `,"metadata":{`...)
		for at, entry := range r.metadata {
			out = appendKey(out, at == 0, entry.key)
			out = append(out, entry.value...)
		}
		out = append(out, '}')
	}
	return append(out, '}')
}

// appendMessage writes the object with the changes: request where method or URL are among them,
// else response.
func (r *Result) appendMessage(out []byte) []byte {
	if r.method != "" || r.url != "" {
		out = append(out, `,"request":{`...)
	} else {
		out = append(out, `,"response":{`...)
	}
	isFirst := true
	key := func(name string) {
		out = appendKey(out, isFirst, name)
		isFirst = false
	}
	if r.method != "" {
		key("method")
		out = json.AppendString(out, r.method)
	}
	if r.url != "" {
		key("url")
		out = json.AppendString(out, r.url)
	}
	if r.status != 0 {
		key("statusCode")
		out = strconv.AppendInt(out, int64(r.status), 10)
	}
	if len(r.headers) > 0 {
		key("headers")
		out = appendHeaders(out, r.headers)
	}
	if r.hasBody {
		key("body")
		out = appendBody(out, r.body)
	}
	return append(out, '}')
}

func appendHeaders(out []byte, headers []header) []byte {
	out = append(out, '{')
	for at, header := range headers {
		out = append(appendKey(out, at == 0, header.name), '[')
		for at, value := range header.values {
			if at > 0 {
				out = append(out, ',')
			}
			out = json.AppendString(out, value)
		}
		out = append(out, ']')
	}
	return append(out, '}')
}

func appendBody(out []byte, body string) []byte {
	if utf8.ValidString(body) {
		return json.AppendString(out, body)
	}
	out = json.AppendString(out, base64.StdEncoding.EncodeToString([]byte(body)))
	return append(out, `,"bodyEncoding":"base64"`...)
}

func appendKey(out []byte, isFirst bool, key string) []byte {
	if !isFirst {
		out = append(out, ',')
	}
	return append(json.AppendString(out, key), ':')
}

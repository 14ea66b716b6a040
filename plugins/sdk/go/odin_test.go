//go:build !wasm

package odin

import (
	"errors"
	"strings"
	"testing"
)

// input is a call's input with this phase, input object and configuration.
func input(phase, message, config string) string {
	return `{"context":{"requestId":"r-1","serviceId":"s","routePath":"/api","timestamp":"t","phase":"` + phase +
		`","plugin":"p","clientIp":"192.0.2.1","metadata":{"user":{"id":7}}},"input":` + message +
		`,"config":` + config + `}`
}

const requestJSON = `{"method":"POST","url":"http://h/a/b?q=1","headers":{"X-A":["1","2"],"x-b":["3"]},` +
	`"query":{"q":["1"]},"body":"caf\u00e9"}`

// with registers a plugin for one test.
func with(t *testing.T) {
	t.Helper()
	plugin.onConfig, plugin.onRequest, plugin.onResponse, plugin.onAnswers = nil, nil, nil, nil
	current.text, current.err, current.read = nil, nil, false
}

func TestARequestIsReadAsItCame(t *testing.T) {
	with(t)
	OnRequest(func(r *Request) *Result {
		for what, pair := range map[string][2]string{
			"method": {r.Method(), "POST"}, "url": {r.URL(), "http://h/a/b?q=1"}, "path": {r.Path(), "/a/b"},
			"header": {r.Header("x-a"), "1"}, "values": {strings.Join(r.HeaderValues("X-a"), ","), "1,2"},
			"no header": {r.Header("x-c"), ""}, "query": {r.Query("q"), "1"}, "body": {r.Body(), "café"},
			"request id": {r.RequestID(), "r-1"}, "client": {r.ClientIP(), "192.0.2.1"},
		} {
			if pair[0] != pair[1] {
				t.Errorf("%s: got %q, want %q", what, pair[0], pair[1])
			}
		}
		if id := r.Metadata("user").Get("id").Int(0); id != 7 {
			t.Errorf("metadata: got %d", id)
		}
		return Next()
	})
	if got := Call(input("request", requestJSON, "{}")); got != `{"modified":false,"continue":true}` {
		t.Error(got)
	}
}

func TestAResponseComesWithItsRequest(t *testing.T) {
	with(t)
	OnResponse(func(r *Response) *Result {
		if r.Status() != 201 || r.Header("x-r") != "1" || r.Body() != "\xff\x00" {
			t.Errorf("got %d, %q, %q", r.Status(), r.Header("x-r"), r.Body())
		}
		if r.Request().Method() != "PUT" || r.Request().Header("x-q") != "2" {
			t.Errorf("got %s, %q", r.Request().Method(), r.Request().Header("x-q"))
		}
		return Next().Status(202).Body("\xff\x00")
	})
	got := Call(input("response", `{"statusCode":201,"headers":{"X-R":["1"]},"body":"/wA=","bodyEncoding":"base64",`+
		`"request":{"method":"PUT","url":"/","headers":{"X-Q":["2"]}}}`, "{}"))
	want := `{"modified":true,"continue":true,"response":{"statusCode":202,"body":"/wA=","bodyEncoding":"base64"}}`
	if got != want {
		t.Errorf("got %s", got)
	}
}

func TestAnswersAreMerged(t *testing.T) {
	with(t)
	OnAnswers(func(r *Request, answers []Answer) *Result {
		return Respond(200).JSON(`{"` + answers[0].Name() + `":` + answers[0].Body() + `}`)
	})
	got := Call(input("aggregation", `{"method":"GET","responses":[{"name":"a","service":"s","statusCode":200,"body":"[1]"}]}`, "{}"))
	want := `{"modified":true,"continue":false,"response":{"statusCode":200,` +
		`"headers":{"Content-Type":["application/json"]},"body":"{\"a\":[1]}"}}`
	if got != want {
		t.Errorf("got %s", got)
	}
}

func TestConfigurationIsReadOncePerText(t *testing.T) {
	with(t)
	reads := 0
	OnConfig(func(config Config) error {
		reads++
		if config.Get("limit").Int(0) < 1 {
			return errors.New("limit is missing")
		}
		return nil
	})
	for _, config := range []string{`{"limit":1}`, `{"limit":1}`, `{"limit":2}`} {
		Call(input("request", requestJSON, config))
	}
	if reads != 2 {
		t.Errorf("read %d times", reads)
	}
	if got := Call(input("request", requestJSON, "{}")); got != `{"error":"config: limit is missing"}` {
		t.Error(got)
	}
}

func TestAResultSaysOnlyWhatChanges(t *testing.T) {
	cases := map[string]*Result{
		`{"modified":false,"continue":false,"error":"no"}`: Refuse("no"),
		`{"error":"no"}`: Fail(errors.New("no")),
		`{"modified":true,"continue":true,"response":{"headers":{"x-a":[]}}}`:            Next().SetHeader("X-A", "1").RemoveHeader("x-a"),
		`{"modified":true,"continue":true,"request":{"url":"/b","body":"x"}}`:            Next().URL("/b").Body("x"),
		`{"modified":false,"continue":true,"metadata":{"a":"b","c":[1]}}`:                Next().Metadata("a", "b").MetadataJSON("c", "[1]"),
		`{"modified":true,"continue":false,"response":{"statusCode":204}}`:               Respond(204),
		`{"modified":true,"continue":true,"response":{"headers":{"A":["1"],"B":["2"]}}}`: Next().SetHeader("A", "1").SetHeader("B", "2"),
	}
	for want, result := range cases {
		if got := string(result.append(nil)); got != want {
			t.Errorf("got %s, want %s", got, want)
		}
	}
}

func TestInputThatIsNoInputIsAnError(t *testing.T) {
	with(t)
	for _, text := range []string{"", "{", "null", "[]", `{"context":1,"input":{}}`} {
		if got := Call(text); !strings.HasPrefix(got, `{"error":`) {
			t.Errorf("%q: got %s", text, got)
		}
	}
}

func TestTheHostIsPlayed(t *testing.T) {
	with(t)
	Host.TimeMillis, Host.Logs = 42_000, nil
	OnConfig(func(Config) error { return nil })
	OnRequest(func(*Request) *Result {
		nested, _ := ConfigText("redis.host")
		Log(Warn, nested)
		return Next()
	})
	Call(input("request", requestJSON, `{"redis":{"host":"redis:6379"}}`))
	if Now() != 42 || len(Host.Logs) != 1 || Host.Logs[0] != (LogLine{Warn, "redis:6379"}) {
		t.Errorf("got %v", Host)
	}
}

func TestAnHTTPCallIsWrittenAndItsAnswerRead(t *testing.T) {
	var asked string
	Host.HTTP = func(request string) string {
		asked = request
		return `{"statusCode":201,"headers":{"X-A":["1"]},"body":"/wA=","bodyEncoding":"base64"}`
	}
	answer, err := HTTP("POST", "http://users/7").Header("X-B", "2").Body("\"x\"").Timeout(500).Send()
	if err != nil || answer.Status() != 201 || answer.Header("x-a") != "1" || answer.Body() != "\xff\x00" {
		t.Errorf("got %v, %v", answer, err)
	}
	want := `{"method":"POST","url":"http://users/7","headers":{"X-B":["2"]},"body":"\"x\"","timeoutMs":500}`
	if asked != want {
		t.Errorf("asked %s", asked)
	}
	Host.HTTP = func(string) string { return `{"error":"refused"}` }
	if _, err := HTTP("GET", "http://users/7").Send(); err == nil || err.Error() != "http://users/7: refused" {
		t.Errorf("got %v", err)
	}
	Host.HTTP = nil
	if _, err := HTTP("GET", "http://users/7").Send(); err == nil {
		t.Error("no host answered, and that was no error")
	}
}

func TestAValueIsSwappedOnlyIfItIsTheExpectedOne(t *testing.T) {
	Host.KV = map[string]string{}
	text := func(text string) *string { return &text }
	for _, step := range []struct {
		expected *string
		value    string
		isSet    bool
	}{
		{text(""), "a", false},
		{nil, "a", true},
		{nil, "b", false},
		{text("b"), "c", false},
		{text("a"), "", true},
		{nil, "d", false},
		{text(""), "e", true},
	} {
		isSet, err := KVCompareAndSet("k", step.expected, step.value, 0)
		if isSet != step.isSet || err != nil {
			t.Errorf("%+v: got %v, %v", step, isSet, err)
		}
	}
	if Host.KV["k"] != "e" {
		t.Errorf("got %q", Host.KV["k"])
	}
	Host.KV = nil
	if _, err := KVCompareAndSet("k", nil, "a", 0); err != ErrShared {
		t.Errorf("got %v", err)
	}
}

func TestSharedStateThatIsDownIsAnError(t *testing.T) {
	Host.KV = map[string]string{}
	if sum, err := KVIncrement("n", 2, 0); sum != 2 || err != nil {
		t.Errorf("got %d, %v", sum, err)
	}
	if value, isThere, err := KVGet("n"); value != "2" || !isThere || err != nil {
		t.Errorf("got %q, %v, %v", value, isThere, err)
	}
	Host.KV = nil
	if _, _, err := KVGet("n"); err != ErrShared {
		t.Errorf("got %v", err)
	}
	if _, err := KVIncrement("n", 1, 0); err != ErrShared {
		t.Errorf("got %v", err)
	}
}

package main

import (
	"strings"
	"testing"

	"odin.internal/odin"
)

func request(config, message string) string {
	return odin.Call(`{"context":{"phase":"request","requestId":"r-1","clientIp":"192.0.2.1",` +
		`"metadata":{"subject":"ann","level":7}},"input":` + message + `,"config":` + config + `}`)
}

func response(config, message string) string {
	return odin.Call(`{"context":{"phase":"response","requestId":"r-1","metadata":{}},"input":` +
		message + `,"config":` + config + `}`)
}

// changed is what stands after "continue":true in an output.
func changed(t *testing.T, output string) string {
	t.Helper()
	_, rest, isFound := strings.Cut(output, `"continue":true`)
	if !isFound {
		t.Fatalf("got %s", output)
	}
	return strings.TrimPrefix(strings.TrimSuffix(rest, "}"), ",")
}

func check(t *testing.T, what, got, want string) {
	t.Helper()
	if got != want {
		t.Errorf("%s:\n got %s\nwant %s", what, got, want)
	}
}

func TestHeadersAreRenamedRemovedAndSet(t *testing.T) {
	config := `{"request":{"headers":{"rename":{"X-Old":"X-New","X-None":"X-N"},"remove":["Cookie"],` +
		`"set":{"X-User":"{metadata.subject}/{metadata.level}","X-None":"{header.X-Nothing}",` +
		`"X-Brace":"{{{method}}}"}}}}`
	got := request(config, `{"method":"GET","url":"http://h/a","headers":{"x-old":["1","2"],"Cookie":["c"]}}`)
	want := `"response":{"headers":{"X-Old":[],"X-New":["1","2"],"Cookie":[],` +
		`"X-User":["ann/7"],"X-Brace":["{GET}"]}}`
	check(t, "headers", changed(t, got), want)
}

func TestTheQueryIsChangedAndTheRestOfItStays(t *testing.T) {
	config := `{"request":{"query":{"remove":["debug"],"rename":{"q":"search term"},` +
		`"set":{"limit":"50","from":"{clientIp}","none":"{query.none}"}}}}`
	got := request(config, `{"method":"GET","url":"http://h/a?q=%20x+y&limit=1&de%62ug&keep=%zz","query":{}}`)
	want := `"request":{"url":"http://h/a?search%20term=%20x+y&keep=%zz&limit=50&from=192.0.2.1"}`
	check(t, "query", changed(t, got), want)
	got = request(`{"request":{"query":{"remove":["a"]}}}`, `{"method":"GET","url":"http://h/?a=1"}`)
	check(t, "all removed", changed(t, got), `"request":{"url":"http://h/"}`)
	got = request(`{"request":{"query":{"remove":["b"]}}}`, `{"method":"GET","url":"http://h/?a=1"}`)
	check(t, "nothing to change", changed(t, got), "")
}

func TestBodiesAreEdited(t *testing.T) {
	cases := []struct{ name, changes, body, want string }{
		{"set", `"set":{"a":1,"b.c":{"d":[]},"e":"{requestId}"}`, `{"a":0,"z":1}`,
			`{"a":1,"z":1,"b":{"c":{"d":[]}},"e":"r-1"}`},
		{"set in each item", `"set":{"items.*.seen":true}`, `{"items":[{"n":1},{"seen":0}]}`,
			`{"items":[{"n":1,"seen":true},{"seen":true}]}`},
		{"set at a place", `"set":{"1":9}`, `[1,2,3]`, `[1,9,3]`},
		{"set nothing", `"set":{"a":"{header.None}"}`, `{"a":0}`, ""},
		{"set below a list that is not there", `"set":{"items.*.a":1}`, `{"b":0}`, ""},
		{"remove", `"remove":["password","users.*.password","none.at.all"]`,
			`{"password":"x","users":[{"password":"y","n":1},{}]}`, `{"users":[{"n":1},{}]}`},
		{"remove an item", `"remove":["0"]`, `[1,2]`, `[2]`},
		{"rename", `"rename":{"user.first_name":"firstName","none":"n"}`,
			`{"user":{"a":1,"first_name":"Ann","b":2}}`, `{"user":{"a":1,"firstName":"Ann","b":2}}`},
		{"wrap", `"wrap":"data"`, ` [1] `, `{"data":[1]}`},
		{"unwrap", `"unwrap":"data.user"`, `{"data":{"user":{"a":1}}}`, `{"a":1}`},
		{"unwrap nothing", `"unwrap":"data"`, `{"a":1}`, ""},
		{"all at once", `"wrap":"d","unwrap":"u","set":{"c":3},"remove":["a"],"rename":{"b":"B"}`,
			`{"u":{"a":1,"b":2}}`, `{"d":{"B":2,"c":3}}`},
		{"names with escapes", `"rename":{"a\"b":"c\"d"}`, `{"a\"b":"x\u00e4\n"}`, `{"c\"d":"x\u00e4\n"}`},
		{"not JSON", `"set":{"a":1}`, `a=1`, ""},
		{"a scalar", `"set":{"a":1}`, `7`, ""},
	}
	for _, c := range cases {
		message := `{"method":"POST","url":"/","body":` + odin.Quote(c.body) + `}`
		want := ""
		if c.want != "" {
			want = `"response":{"body":` + odin.Quote(c.want) + `}`
		}
		check(t, c.name, changed(t, request(`{"request":{"body":{`+c.changes+`}}}`, message)), want)
	}
}

func TestResponsesHaveTheirOwnChanges(t *testing.T) {
	config := `{"response":{"headers":{"set":{"X-Status":"{status}","X-Asked":"{method} {path}"}},` +
		`"body":{"remove":["secret"]}}}`
	message := `{"statusCode":201,"headers":{},"body":"{\"secret\":1,\"a\":2}",` +
		`"request":{"method":"PUT","url":"http://h/a/b?c"}}`
	want := `"response":{"headers":{"X-Status":["201"],"X-Asked":["PUT /a/b"]},"body":"{\"a\":2}"},` +
		`"metadata":{"odin.hidden":["secret"]}`
	check(t, "response", changed(t, response(config, message)), want)
	check(t, "request", changed(t, request(config, `{"method":"PUT","url":"/"}`)), "")
}

func TestMistakesOfTheConfigurationAreNamed(t *testing.T) {
	for config, part := range map[string]string{
		`{}`:                                 "neither request nor response",
		`{"request":[]}`:                     "must be an object",
		`{"request":{"header":{}}}`:          "header is unknown; known: headers",
		`{"request":{"headers":{"add":{}}}}`: "headers: add is unknown",
		`{"request":{"headers":{"set":{"a":1}}}}`:         "headers: set.a: is 1",
		`{"request":{"headers":{"set":{"a":"{b}"}}}}`:     "{b} is unknown",
		`{"request":{"headers":{"set":{"a":"{method"}}}}`: "not closed",
		`{"request":{"headers":{"rename":{"a":null}}}}`:   "rename.a",
		`{"request":{"body":{}}}`:                         "body: is empty",
		`{"request":{"body":{"wrap":""}}}`:                "body: wrap",
		`{"response":{"query":{"remove":["a"]}}}`:         "has no query",
	} {
		got := request(config, `{"method":"GET","url":"/"}`)
		if !strings.HasPrefix(got, `{"error":"config: `) || !strings.Contains(got, part) {
			t.Errorf("%s: got %s, wanted %s", config, got, part)
		}
	}
}

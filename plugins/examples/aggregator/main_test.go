package main

import (
	"strings"
	"testing"

	"odin.internal/odin"
)

// merged is the status and the body that come of these answers.
func merged(t *testing.T, config string, answers ...string) (string, string) {
	t.Helper()
	output := odin.Call(`{"context":{"phase":"aggregation"},"input":{"method":"GET","responses":[` +
		strings.Join(answers, ",") + `]},"config":` + config + `}`)
	response := odin.ParseJSON(output).Get("response")
	if !response.Exists() {
		return "", output
	}
	return string(response.Get("statusCode").Raw()), response.Get("body").String()
}

func answer(name, status, body string) string {
	return `{"name":"` + name + `","service":"s","statusCode":` + status + `,"body":` + odin.Quote(body) + `}`
}

func TestAnswersBecomeOneObject(t *testing.T) {
	user, orders := answer("user", "200", ` {"id":7,"n":"ä"} `), answer("orders", "200", `{"data":[1,2],"id":9}`)
	failed, down := answer("ads", "500", `{"trace":"x"}`), answer("ads", "0", "")
	plain, empty := answer("motd", "200", "hello \"you\""), answer("nothing", "204", "")
	cases := []struct {
		name, config string
		answers      []string
		status, body string
	}{
		{"under their names", `{}`, []string{user, orders}, "200",
			`{"user":{"id":7,"n":"ä"},"orders":{"data":[1,2],"id":9}}`},
		{"renamed, picked, wrapped", `{"rename":{"user":"customer"},"pick":{"orders":"data"},"envelope":"data"}`,
			[]string{user, orders}, "200", `{"data":{"customer":{"id":7,"n":"ä"},"orders":[1,2]}}`},
		{"flattened, the later counts", `{"flatten":["user","orders"]}`, []string{user, orders}, "200",
			`{"id":9,"n":"ä","data":[1,2]}`},
		{"text and nothing", `{}`, []string{plain, empty}, "200", `{"motd":"hello \"you\"","nothing":null}`},
		{"picked from nowhere", `{"pick":{"user":"a.b"}}`, []string{user}, "200", `{"user":null}`},
		{"a failure is null and told", `{}`, []string{user, failed}, "200",
			`{"user":{"id":7,"n":"ä"},"ads":null,"errors":[{"name":"ads","status":500,"error":"status 500"}]}`},
		{"a failure is left out", `{"onFailure":"omit","errorsKey":"problems"}`, []string{user, down}, "200",
			`{"user":{"id":7,"n":"ä"},"problems":[{"name":"ads","status":0,"error":"no answer"}]}`},
		{"a failure is not told", `{"onFailure":"omit","errorsKey":""}`, []string{user, down}, "200",
			`{"user":{"id":7,"n":"ä"}}`},
		{"a required one fails the whole", `{"required":["ads"]}`, []string{user, failed}, "502",
			`{"error":"status 500","name":"ads"}`},
		{"all fail", `{}`, []string{failed, down}, "502", `{"error":"no service answered"}`},
		{"none were asked", `{}`, nil, "200", `{}`},
	}
	for _, c := range cases {
		status, body := merged(t, c.config, c.answers...)
		if status != c.status || body != c.body {
			t.Errorf("%s:\n got %s %s\nwant %s %s", c.name, status, body, c.status, c.body)
		}
	}
}

func TestAMistakeOfTheConfigurationIsNamed(t *testing.T) {
	if _, output := merged(t, `{"onFailure":"drop"}`); !strings.Contains(output, "must be null or omit") {
		t.Errorf("got %s", output)
	}
}

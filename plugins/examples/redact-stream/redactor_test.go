package main

import (
	"strings"
	"testing"
)

func redact(t *testing.T, match string, parts ...string) string {
	t.Helper()
	made, err := newRule(match, "[x]")
	if err != nil {
		t.Fatal(err)
	}
	r := redactor{rule: &made}
	var out strings.Builder
	for at, part := range parts {
		out.Write(r.pass([]byte(part), at == len(parts)-1))
	}
	return out.String()
}

func TestNoWayOfCuttingATextChangesWhatIsReplaced(t *testing.T) {
	text := "sk-12345678 and sk-1234 and sk-sk-123456789abc, ünd añ sk-00000000"
	for _, match := range []string{`sk-[0-9]{8,10}`, `secret|sk-`, `a(b|ñ)?`, `(?i)SK-[0-9]`, `[0-9]{4}`} {
		whole := redact(t, match, text)
		for first := range len(text) + 1 {
			for second := first; second <= len(text); second++ {
				if got := redact(t, match, text[:first], text[first:second], text[second:]); got != whole {
					t.Fatalf("%s, cut at %d and %d: %q, whole %q", match, first, second, got, whole)
				}
			}
		}
		if got := redact(t, match, append(strings.Split(text, ""), "")...); got != whole {
			t.Errorf("%s, letter by letter: %q, whole %q", match, got, whole)
		}
	}
}

func TestNothingWaitsThatCannotBePartOfAMatch(t *testing.T) {
	made, err := newRule(`sk-[0-9]{8}`, "")
	if err != nil {
		t.Fatal(err)
	}
	r := redactor{rule: &made}
	if got := string(r.pass([]byte("data: hello\n\n"), false)); got != "data: hello\n\n" {
		t.Errorf("%q", got)
	}
	if got := string(r.pass([]byte("a sk-12"), false)); got != "a " {
		t.Errorf("%q", got)
	}
	if got := string(r.pass([]byte("x"), false)); got != "sk-12x" {
		t.Errorf("%q", got)
	}
}

func TestWhatCannotBeFoundInPiecesIsRefused(t *testing.T) {
	for _, match := range []string{`a+`, `a*b`, `^a`, `a\b`, `a{2,}`, `(`, `a?`, `[a-z]{1,1000}[a-z]{1,1000}`} {
		if _, err := newRule(match, ""); err == nil {
			t.Errorf("%s is taken", match)
		}
	}
}

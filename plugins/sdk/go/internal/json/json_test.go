package json

import (
	"bytes"
	stdjson "encoding/json"
	"strings"
	"testing"
	"unicode/utf8"
)

func TestGetFindsValuesWhateverStandsAroundThem(t *testing.T) {
	text := []byte(` { "a" : [1, {"b":"}"}] , "c\u0064" : "x\"y" , "n":null, "t" : true, "f":-1.5e2 } `)
	root := Parse(text)
	cases := map[string]string{
		"a": `[1, {"b":"}"}]`, "cd": `"x\"y"`, "n": "null", "t": "true", "f": "-1.5e2", "none": "",
	}
	for key, want := range cases {
		if got := string(root.Get(key)); got != want {
			t.Errorf("%s: got %q, want %q", key, got, want)
		}
	}
}

func TestMalformedTextIsNoValue(t *testing.T) {
	for _, text := range []string{
		"", "{", "[", `{"a"}`, `{"a":}`, `{"a":1`, `[1,`, `[1 2]`, `"open`, "tru", "{]", "1 2", `{a:1}`,
		strings.Repeat("[", 100_000),
	} {
		if Parse([]byte(text)).Exists() {
			t.Errorf("%.20q was taken for a value", text)
		}
	}
}

func TestStringsReadBackAsTheyWere(t *testing.T) {
	for _, text := range []string{"", "plain", "a\"b\\c\n\r\t\x00\x1f", "ü€𝄞", "\u007f"} {
		written := AppendString(nil, text)
		if got := Parse(written).String(); got != text {
			t.Errorf("got %q, want %q", got, text)
		}
		var std string
		if err := stdjson.Unmarshal(written, &std); err != nil || std != text {
			t.Errorf("the standard library reads %q from %s (%v)", std, written, err)
		}
	}
}

func TestEscapesDecodeAsTheStandardLibraryDecodesThem(t *testing.T) {
	for _, text := range []string{
		`"\b\f\n\r\t\"\\\/"`, `"\u00e4\u20ac"`, `"\ud834\udd1e"`, `"\ud834x"`, `"\udd1e"`, `"\ud834\u0041"`,
	} {
		var want string
		if err := stdjson.Unmarshal([]byte(text), &want); err != nil {
			t.Fatal(err)
		}
		if got := Parse([]byte(text)).String(); got != want {
			t.Errorf("%s: got %q, want %q", text, got, want)
		}
	}
}

func TestBytesThatAreNotUTF8AreReplaced(t *testing.T) {
	if got := AppendString(nil, "a\xffb"); !bytes.Equal(got, []byte("\"a\uFFFDb\"")) {
		t.Errorf("got %q", got)
	}
}

func FuzzParseAgreesWithTheStandardLibrary(f *testing.F) {
	f.Add([]byte(`{"a":["b",1,null,{"c":"\u0041"}]}`))
	f.Add([]byte(`"\ud834\udd1e"`))
	f.Fuzz(func(t *testing.T, text []byte) {
		if !utf8.Valid(text) {
			// The gateway writes UTF-8. The standard library replaces what is none, this package keeps it.
			Parse(text).Get("a").Strings()
			return
		}
		var want any
		if stdjson.Unmarshal(text, &want) != nil {
			Parse(text).Get("a").Strings()
			return
		}
		value := Parse(text)
		if !value.Exists() && strings.Count(string(text), "[")+strings.Count(string(text), "{") < depthMax {
			t.Fatalf("%q is JSON but was not taken for a value", text)
		}
		if want, isString := want.(string); isString && value.String() != want {
			t.Fatalf("%q: got %q, want %q", text, value.String(), want)
		}
	})
}

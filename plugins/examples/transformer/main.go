// Transforms requests and responses: headers, query parameters, JSON bodies. What is changed stands
// in the configuration, under request and response; how bodies are edited is in body.go, how values
// are made of what the exchange brings in template.go.
package main

import (
	"errors"
	"strings"

	"odin.internal/odin"
)

// onRequest and onResponse are what is changed in each phase; nil: nothing.
var onRequest, onResponse *transformation

func init() {
	odin.OnConfig(configure)
	odin.OnRequest(func(request *odin.Request) *odin.Result {
		return onRequest.request(request)
	})
	odin.OnResponse(func(response *odin.Response) *odin.Result {
		return onResponse.response(response)
	})
}

func main() {}

func configure(config odin.Config) error {
	var err error
	if onRequest, err = newTransformation(config.Get("request")); err != nil {
		return errors.New("request." + err.Error())
	}
	if onResponse, err = newTransformation(config.Get("response")); err != nil {
		return errors.New("response." + err.Error())
	}
	if onResponse != nil && len(onResponse.query.set)+len(onResponse.query.remove) > 0 {
		return errors.New("response.query: a response has no query")
	}
	if onRequest == nil && onResponse == nil {
		return errors.New("there is neither request nor response, so nothing would be changed")
	}
	return nil
}

// transformation is what is changed in one phase.
type transformation struct {
	headers, query fieldChanges
	body           bodyChanges
}

// fieldChanges are those of headers or query parameters.
type fieldChanges struct {
	set    []setting
	rename []renaming
	remove []string
}

type setting struct {
	name  string
	value template
}

type renaming struct{ from, to string }

func newTransformation(config odin.Config) (*transformation, error) {
	if config.IsNull() {
		return nil, nil
	}
	var t transformation
	err := each(config, func(key string, value odin.Config) error {
		var err error
		switch key {
		case "headers":
			t.headers, err = newFieldChanges(value)
		case "query":
			t.query, err = newFieldChanges(value)
		case "body":
			t.body, err = newBodyChanges(value)
		default:
			return unknown(key, "headers, query, body")
		}
		return within(key, err)
	})
	return &t, err
}

func newFieldChanges(config odin.Config) (fieldChanges, error) {
	var changes fieldChanges
	err := each(config, func(key string, value odin.Config) error {
		switch key {
		case "set":
			return each(value, func(name string, text odin.Config) error {
				template, err := parseTemplate(text.String())
				if !text.IsString() {
					err = errors.New("is " + string(text.Raw()) + ", must be a string")
				}
				changes.set = append(changes.set, setting{name, template})
				return within("set."+name, err)
			})
		case "rename":
			return each(value, func(name string, to odin.Config) error {
				changes.rename = append(changes.rename, renaming{name, to.String()})
				return within("rename."+name, needText(to))
			})
		case "remove":
			changes.remove = value.Strings()
			return nil
		}
		return unknown(key, "set, rename, remove")
	})
	return changes, err
}

// each visits the entries of an object until one is in error.
func each(object odin.Config, visit func(key string, value odin.Config) error) error {
	if !object.IsObject() {
		return errors.New("is " + string(object.Raw()) + ", must be an object")
	}
	var err error
	object.Entries(func(key string, value odin.Config) bool {
		err = visit(key, value)
		return err == nil
	})
	return err
}

func needText(value odin.Config) error {
	if value.String() == "" {
		return errors.New("is " + string(value.Raw()) + ", must be a string that is not empty")
	}
	return nil
}

func unknown(key, known string) error { return errors.New(key + " is unknown; known: " + known) }

// within puts the place of an error before it.
func within(place string, err error) error {
	if err == nil {
		return nil
	}
	return errors.New(place + ": " + err.Error())
}

// message is what headers and bodies are read from, a request or a response.
type message interface {
	HeaderValues(name string) []string
	Header(name string) string
	Body() string
}

func (t *transformation) request(request *odin.Request) *odin.Result {
	result := odin.Next()
	if t == nil {
		return result
	}
	source := source{&request.Exchange, request, request}
	t.headers.apply(result, request, &source)
	if moved := t.headers.movedCredentials(request); moved != "" {
		result.Metadata(identity, identify(request.Metadata(identity).String(), moved))
	}
	if err := t.body.apply(result, request, &source); err != nil {
		return odin.Fail(err)
	}
	if len(t.query.set)+len(t.query.rename)+len(t.query.remove) > 0 {
		if url := t.query.applyToURL(request.URL(), &source); url != request.URL() {
			result.URL(url)
		}
	}
	return result
}

func (t *transformation) response(response *odin.Response) *odin.Result {
	result := odin.Next()
	if t == nil {
		return result
	}
	source := source{&response.Exchange, response.Request(), response}
	t.headers.apply(result, response, &source)
	if t.headers.hidesFromCaches(response) {
		result.MetadataJSON("odin.uncacheable", "true")
	}
	if err := t.body.apply(result, response, &source); err != nil {
		return odin.Fail(err)
	}
	if hidden := t.body.hidden(response.Metadata("odin.hidden")); hidden != "" {
		result.MetadataJSON("odin.hidden", hidden)
	}
	return result
}

// apply changes headers: renamed first, then removed, then set, so that the last word is what is
// set.
func (c *fieldChanges) apply(result *odin.Result, from message, source *source) {
	for _, one := range c.rename {
		if values := from.HeaderValues(one.from); len(values) > 0 {
			result.RemoveHeader(one.from).SetHeader(one.to, values...)
		}
	}
	for _, name := range c.remove {
		result.RemoveHeader(name)
	}
	for _, one := range c.set {
		if value, isThere := one.value.fill(source); isThere {
			result.SetHeader(one.name, value)
		} else if one.value.isOfMetadata() {
			// Nobody's word may stand where the gateway's was to be.
			result.RemoveHeader(one.name)
		}
	}
}

// applyToURL changes the query in the same order; parameters that are not changed stay as they
// came.
func (c *fieldChanges) applyToURL(url string, source *source) string {
	path, query, _ := strings.Cut(url, "?")
	var kept []string
	for _, pair := range strings.Split(query, "&") {
		name, value, hasValue := strings.Cut(pair, "=")
		name = queryUnescape(name)
		if pair == "" || c.replaces(name, source) {
			continue
		}
		for _, one := range c.rename {
			if one.from == name {
				pair = queryEscape(one.to)
				if hasValue {
					pair += "=" + value
				}
			}
		}
		kept = append(kept, pair)
	}
	for _, one := range c.set {
		if value, isThere := one.value.fill(source); isThere {
			kept = append(kept, queryEscape(one.name)+"="+queryEscape(value))
		}
	}
	if len(kept) == 0 {
		return path
	}
	return path + "?" + strings.Join(kept, "&")
}

// replaces tells whether a parameter is removed, or set anew.
func (c *fieldChanges) replaces(name string, source *source) bool {
	for _, removed := range c.remove {
		if removed == name {
			return true
		}
	}
	for _, one := range c.set {
		if one.name != name {
			continue
		}
		if _, isThere := one.value.fill(source); isThere || one.value.isOfMetadata() {
			return true
		}
	}
	return false
}

const hex = "0123456789ABCDEF"

// queryEscape writes what is no unreserved character (RFC 3986 section 2.3) as %XX.
func queryEscape(text string) string {
	var out []byte
	for at := range len(text) {
		char := text[at]
		isPlain := char >= 'a' && char <= 'z' || char >= 'A' && char <= 'Z' ||
			char >= '0' && char <= '9' || strings.IndexByte("-._~", char) >= 0
		if isPlain {
			out = append(out, char)
		} else {
			out = append(out, '%', hex[char>>4], hex[char&15])
		}
	}
	return string(out)
}

func queryUnescape(text string) string {
	var out []byte
	for at := 0; at < len(text); at++ {
		char := text[at]
		if char == '+' {
			char = ' '
		} else if char == '%' && at+2 < len(text) {
			high, low := hexDigit(text[at+1]), hexDigit(text[at+2])
			if high >= 0 && low >= 0 {
				char = byte(high<<4 | low)
				at += 2
			}
		}
		out = append(out, char)
	}
	return string(out)
}

func hexDigit(char byte) int {
	return strings.IndexByte(hex, strings.ToUpper(string(rune(char)))[0])
}

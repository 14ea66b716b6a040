// Makes one JSON object of the answers of an aggregation's calls: each under its name, as the
// configuration says.
//
// An answer that is no success, or never came, is a failure: it is left out or null, told in the
// list of errors, or fails the whole, where it is required.
package main

import (
	"errors"
	"strconv"
	"strings"

	"odin.internal/odin"
)

// settings is the configuration.
var settings struct {
	required  map[string]bool
	rename    map[string]string
	flatten   map[string]bool
	pick      map[string]string
	omit      bool
	envelope  string
	errorsKey string
}

func init() {
	odin.OnConfig(configure)
	odin.OnAnswers(merge)
}

func main() {}

func configure(config odin.Config) error {
	settings.required = set(config.Get("required"))
	settings.flatten = set(config.Get("flatten"))
	settings.rename = texts(config.Get("rename"))
	settings.pick = texts(config.Get("pick"))
	settings.envelope = config.Get("envelope").String()
	settings.errorsKey = config.Get("errorsKey").StringOr("errors")
	onFailure := config.Get("onFailure").StringOr("null")
	settings.omit = onFailure == "omit"
	if onFailure != "null" && onFailure != "omit" {
		return errors.New("onFailure is " + odin.Quote(onFailure) + ", must be null or omit")
	}
	return nil
}

func set(list odin.Config) map[string]bool {
	names := map[string]bool{}
	for _, name := range list.Strings() {
		names[name] = true
	}
	return names
}

func texts(object odin.Config) map[string]string {
	entries := map[string]string{}
	object.Entries(func(key string, value odin.Config) bool {
		entries[key] = value.String()
		return true
	})
	return entries
}

// field is a key of the result with its JSON.
type field struct{ key, value string }

func merge(_ *odin.Request, answers []odin.Answer) *odin.Result {
	var fields []field
	var failures []string
	for at := range answers {
		answer := &answers[at]
		if reason := failure(answer); reason != "" {
			odin.Count("failed_total", 1)
			odin.Log(odin.Warn, answer.Name()+": "+reason)
			if settings.required[answer.Name()] {
				return unavailable(answer, reason)
			}
			failures = append(failures, describe(answer, reason))
			if !settings.omit && !settings.flatten[answer.Name()] {
				fields = put(fields, key(answer), "null")
			}
			continue
		}
		fields = add(fields, answer)
	}
	result := odin.Next().Status(200)
	storing := storing(answers)
	if len(failures) > 0 {
		// A cache would keep the gap for as long as it keeps the answer.
		storing = "no-store"
	}
	if storing != "" {
		result.SetHeader("Cache-Control", storing)
	}
	if vary := varying(answers); len(vary) > 0 {
		result.SetHeader("Vary", vary...)
	}
	if len(failures) > 0 && len(failures) == len(answers) {
		return unavailable(nil, "no service answered")
	}
	if len(failures) > 0 && settings.errorsKey != "" {
		fields = put(fields, settings.errorsKey, "["+strings.Join(failures, ",")+"]")
	}
	text := object(fields)
	if settings.envelope != "" {
		text = object([]field{{settings.envelope, text}})
	}
	return result.JSON(text)
}

// failure is why an answer can't be used; "" if it can.
func failure(answer *odin.Answer) string {
	status := answer.Status()
	switch {
	case status == 0:
		return "no answer"
	case status < 200 || status > 299:
		return "status " + strconv.Itoa(status)
	}
	return ""
}

// add puts an answer's JSON under its key, or its entries beside the others.
func add(fields []field, answer *odin.Answer) []field {
	body := answer.Body()
	value := odin.ParseJSON(body)
	if path := settings.pick[answer.Name()]; path != "" {
		for _, step := range strings.Split(path, ".") {
			value = value.Get(step)
		}
	}
	switch {
	case settings.flatten[answer.Name()] && value.IsObject():
		value.Entries(func(key string, value odin.Config) bool {
			fields = put(fields, key, string(value.Raw()))
			return true
		})
		return fields
	case value.Exists():
		return put(fields, key(answer), string(value.Raw()))
	case body == "" || settings.pick[answer.Name()] != "":
		return put(fields, key(answer), "null")
	}
	// Text that is no JSON is still an answer.
	return put(fields, key(answer), odin.Quote(body))
}

// put sets a key: of two answers for one, the later counts.
func put(fields []field, key, value string) []field {
	for at := range fields {
		if fields[at].key == key {
			fields[at].value = value
			return fields
		}
	}
	return append(fields, field{key, value})
}

func key(answer *odin.Answer) string {
	if renamed := settings.rename[answer.Name()]; renamed != "" {
		return renamed
	}
	return answer.Name()
}

func object(fields []field) string {
	var out strings.Builder
	out.WriteByte('{')
	for at, field := range fields {
		if at > 0 {
			out.WriteByte(',')
		}
		out.WriteString(odin.Quote(field.key))
		out.WriteByte(':')
		out.WriteString(field.value)
	}
	out.WriteByte('}')
	return out.String()
}

// describe tells a client which part failed, and not where it came from.
func describe(answer *odin.Answer, reason string) string {
	return object([]field{
		{"name", odin.Quote(answer.Name())},
		{"status", strconv.Itoa(answer.Status())},
		{"error", odin.Quote(reason)},
	})
}

func unavailable(answer *odin.Answer, reason string) *odin.Result {
	fields := []field{{"error", odin.Quote(reason)}}
	if answer != nil {
		fields = append(fields, field{"name", odin.Quote(answer.Name())})
	}
	return odin.Next().Status(502).JSON(object(fields))
}

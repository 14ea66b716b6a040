package main

import (
	"errors"
	"strconv"
	"strings"

	"odin.internal/odin"
)

// bodyChanges are edits of a JSON body, made in this order. A body that is not JSON stays as it is.
//
// A path has dots between its steps: names of an object, places of a list, or * for each value of a
// list or an object. Each edit writes the text anew and keeps the order of what it does not change.
type bodyChanges struct {
	unwrap string
	remove []string
	rename []renaming
	set    []bodySetting
	wrap   string
}

// bodySetting sets a path to a template's text, or to JSON as it stands.
type bodySetting struct {
	path  string
	text  template
	value string
}

func newBodyChanges(config odin.Config) (bodyChanges, error) {
	var changes bodyChanges
	err := each(config, func(key string, value odin.Config) error {
		switch key {
		case "unwrap":
			changes.unwrap = value.String()
			return within(key, needText(value))
		case "wrap":
			changes.wrap = value.String()
			return within(key, needText(value))
		case "remove":
			changes.remove = value.Strings()
			return nil
		case "rename":
			return each(value, func(path string, to odin.Config) error {
				changes.rename = append(changes.rename, renaming{path, to.String()})
				return within("rename."+path, needText(to))
			})
		case "set":
			return each(value, func(path string, to odin.Config) error {
				setting := bodySetting{path: path, value: string(to.Raw())}
				var err error
				if to.IsString() {
					setting.text, err = parseTemplate(to.String())
				}
				changes.set = append(changes.set, setting)
				return within("set."+path, err)
			})
		}
		return unknown(key, "unwrap, remove, rename, set, wrap")
	})
	if err == nil && changes.isEmpty() {
		err = errors.New("is empty")
	}
	return changes, err
}

func (c *bodyChanges) isEmpty() bool {
	return c.unwrap == "" && c.wrap == "" && len(c.remove)+len(c.rename)+len(c.set) == 0
}

// apply fails where a body says that it is JSON and can't be read as such: what was to be taken out
// of it may stand in it.
func (c *bodyChanges) apply(result *odin.Result, from message, source *source) error {
	before := from.Body()
	// Some senders put the mark of UTF-8 before it, and most readers skip it.
	text := strings.TrimPrefix(before, "\ufeff")
	if c.isEmpty() || strings.TrimSpace(text) == "" {
		return nil
	}
	body := odin.ParseJSON(text)
	if !body.Exists() {
		if saysJSON(from) {
			return errors.New("the body is not the JSON that it says it is, so it can't be changed")
		}
		return nil
	}
	if after := c.edit(body, source); after != before {
		result.Body(after)
	}
	return nil
}

func (c *bodyChanges) edit(body odin.Config, source *source) string {
	if c.unwrap != "" {
		if inner := find(body, c.unwrap); inner.Exists() {
			body = inner
		}
	}
	text := string(body.Raw())
	for _, path := range c.remove {
		text = change(text, path, remove)
	}
	for _, one := range c.rename {
		text = change(text, one.from, func(_ string, old odin.Config) (entry, bool) {
			return entry{one.to, string(old.Raw())}, old.Exists()
		})
	}
	for _, one := range c.set {
		value := one.value
		if one.text != nil {
			filled, isThere := one.text.fill(source)
			if !isThere && one.text.isOfMetadata() {
				text = change(text, one.path, remove)
			}
			if !isThere {
				continue
			}
			value = odin.Quote(filled)
		}
		text = change(text, one.path, func(name string, _ odin.Config) (entry, bool) {
			return entry{name, value}, true
		})
	}
	if c.wrap != "" {
		text = "{" + odin.Quote(c.wrap) + ":" + text + "}"
	}
	return text
}

func find(value odin.Config, path string) odin.Config {
	for _, step := range strings.Split(path, ".") {
		value = value.Get(step)
	}
	return value
}

// entry is a name with its value as JSON; in a list the name counts for nothing.
type entry struct{ name, value string }

// edit says what becomes of the value at a path: another entry in its place, or (false) none. Where
// nothing is at the path, old is absent.
type edit func(name string, old odin.Config) (entry, bool)

func remove(string, odin.Config) (entry, bool) { return entry{}, false }

func change(text, path string, edit edit) string {
	return rewrite(odin.ParseJSON(text), strings.Split(path, "."), edit)
}

// rewrite is value with the edit made at the path below it.
func rewrite(value odin.Config, path []string, edit edit) string {
	switch {
	case value.IsObject():
		return rewriteObject(value, path, edit)
	case value.IsArray():
		return rewriteArray(value, path, edit)
	}
	return string(value.Raw())
}

func rewriteObject(object odin.Config, path []string, edit edit) string {
	step, isLast := path[0], len(path) == 1
	var entries []entry
	isFound := step == "*"
	object.Entries(func(name string, value odin.Config) bool {
		one, isKept := entry{name, string(value.Raw())}, true
		if step == "*" || step == name {
			isFound = true
			if isLast {
				one, isKept = edit(name, value)
			} else {
				one.value = rewrite(value, path[1:], edit)
			}
		}
		if isKept {
			entries = append(entries, one)
		}
		return true
	})
	if !isFound {
		entries = appendMissing(entries, path, edit)
	}
	return joined(entries)
}

// appendMissing makes what an edit sets where nothing was, with the objects on the way to it.
func appendMissing(entries []entry, path []string, edit edit) []entry {
	if len(path) == 1 {
		if one, isKept := edit(path[0], odin.Config{}); isKept {
			return append(entries, one)
		}
		return entries
	}
	inner := appendMissing(nil, path[1:], edit)
	if inner == nil || path[1] == "*" {
		return entries
	}
	return append(entries, entry{path[0], joined(inner)})
}

func joined(entries []entry) string {
	var out strings.Builder
	out.WriteByte('{')
	for at, one := range entries {
		if at > 0 {
			out.WriteByte(',')
		}
		out.WriteString(odin.Quote(one.name))
		out.WriteByte(':')
		out.WriteString(one.value)
	}
	out.WriteByte('}')
	return out.String()
}

func rewriteArray(array odin.Config, path []string, edit edit) string {
	step, isLast := path[0], len(path) == 1
	var items []string
	place := 0
	array.Items(func(value odin.Config) bool {
		name := strconv.Itoa(place)
		one, isKept := string(value.Raw()), true
		if step == "*" || step == name {
			if isLast {
				var changed entry
				changed, isKept = edit(name, value)
				one = changed.value
			} else {
				one = rewrite(value, path[1:], edit)
			}
		}
		if isKept {
			items = append(items, one)
		}
		place++
		return true
	})
	return "[" + strings.Join(items, ",") + "]"
}

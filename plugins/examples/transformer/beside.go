package main

import (
	"crypto/sha256"
	encoding "encoding/hex"
	"strings"

	"odin.internal/odin"
)

// What other plugins of the chain have to know of the changes made here.

// identity is the metadata that says who asks, for plugins that must tell clients apart.
const identity = "odin.identity"

// identify is the identity that was known, with what a client has shown beside it.
func identify(earlier, shown string) string {
	sum := sha256.Sum256([]byte(earlier + "|transformer|" + shown))
	return encoding.EncodeToString(sum[:])
}

// movedCredentials is what a request shows of who asks that is moved to another header: behind this
// plugin nobody would know it by its name.
func (c *fieldChanges) movedCredentials(from message) string {
	var moved strings.Builder
	move := func(name string) {
		if isCredential(name) {
			for _, value := range from.HeaderValues(name) {
				moved.WriteString("|" + value)
			}
		}
	}
	for _, one := range c.rename {
		move(one.from)
	}
	for _, one := range c.set {
		for _, piece := range one.value {
			if piece.name == "header" && !strings.EqualFold(piece.key, one.name) {
				move(piece.key)
			}
		}
	}
	return moved.String()
}

func isCredential(name string) bool {
	switch strings.ToLower(name) {
	case "authorization", "proxy-authorization", "cookie", "x-api-key", "api-key", "apikey",
		"x-auth-token", "x-access-token", "x-client-cert", "x-forwarded-client-cert":
		return true
	}
	return false
}

// hidesFromCaches tells whether a cache behind this plugin would not see that the service's response
// is not to be stored, or is one client's.
func (c *fieldChanges) hidesFromCaches(from message) bool {
	for _, one := range c.rename {
		if isOfStoring(one.from) && len(from.HeaderValues(one.from)) > 0 {
			return true
		}
	}
	for _, name := range c.remove {
		if isOfStoring(name) && len(from.HeaderValues(name)) > 0 {
			return true
		}
	}
	for _, one := range c.set {
		// What is put in their place says nothing of what the service had said.
		isReplaced := strings.EqualFold(one.name, "set-cookie") || strings.EqualFold(one.name, "vary")
		if isReplaced && len(from.HeaderValues(one.name)) > 0 {
			return true
		}
	}
	return false
}

func isOfStoring(name string) bool {
	switch strings.ToLower(name) {
	case "cache-control", "expires", "pragma", "set-cookie", "vary":
		return true
	}
	return false
}

// hidden is, as a list in JSON, where in the changed body nothing may stand that was removed from
// it, with what earlier plugins have removed; "" if nothing was.
func (c *bodyChanges) hidden(earlier odin.Config) string {
	if len(c.remove) == 0 {
		return ""
	}
	var paths []string
	for _, path := range append(earlier.Strings(), c.remove...) {
		for _, one := range c.rename {
			if path == one.from || strings.HasPrefix(path, one.from+".") {
				last := strings.LastIndexByte(one.from, '.') + 1
				path = one.from[:last] + one.to + path[len(one.from):]
			}
		}
		if c.wrap != "" {
			path = c.wrap + "." + path
		}
		paths = append(paths, odin.Quote(path))
	}
	return "[" + strings.Join(paths, ",") + "]"
}

// isOfMetadata tells whether a template stands for what other plugins have said.
func (t template) isOfMetadata() bool {
	for _, piece := range t {
		if piece.name == "metadata" {
			return true
		}
	}
	return false
}

// saysJSON tells whether a message says of its body that it is JSON.
func saysJSON(from message) bool {
	for _, value := range from.HeaderValues("content-type") {
		essence, _, _ := strings.Cut(value, ";")
		essence = strings.ToLower(strings.TrimSpace(essence))
		if essence == "application/json" || strings.HasSuffix(essence, "+json") {
			return true
		}
	}
	return false
}

package main

import (
	"strconv"
	"strings"

	"odin.internal/odin"
)

// storing is what Cache-Control has to say of a response that is made of these: it may be stored as
// far as all of them may; "" if none says anything.
func storing(answers []odin.Answer) string {
	shortest := -1
	for at := range answers {
		answer := &answers[at]
		if answer.HasHeader("set-cookie") {
			return "no-store"
		}
		seconds := -1
		for _, line := range answer.HeaderValues("cache-control") {
			for _, directive := range strings.Split(line, ",") {
				name, value, _ := strings.Cut(strings.TrimSpace(directive), "=")
				switch strings.ToLower(name) {
				case "no-store", "no-cache", "private":
					return "no-store"
				case "max-age", "s-maxage":
					// A value that is no number counts as the shortest time.
					number, _ := strconv.Atoi(strings.Trim(value, `"`))
					if seconds < 0 || strings.ToLower(name) == "s-maxage" {
						seconds = max(number, 0)
					}
				}
			}
		}
		if seconds >= 0 && (shortest < 0 || seconds < shortest) {
			shortest = seconds
		}
	}
	if shortest < 0 {
		return ""
	}
	return "max-age=" + strconv.Itoa(shortest)
}

// varying is the request headers that make a difference to any of them.
func varying(answers []odin.Answer) []string {
	var names []string
	for at := range answers {
		names = append(names, answers[at].HeaderValues("vary")...)
	}
	return names
}

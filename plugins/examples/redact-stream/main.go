// Replaces what matches patterns in bodies that pass, whatever pieces they come in. How a match is
// found that a piece cuts is in redactor.go.
package main

import (
	"errors"
	"fmt"

	"odin.internal/odin"
	"odin.internal/odin/pieces"
)

// rules are what the configuration says; nil before it was read.
var rules []rule

func init() {
	odin.OnConfig(configure)
	pieces.OnRequest(func(*odin.Request) (pieces.Body, error) { return newBody(), nil })
	pieces.OnResponse(func(*odin.Response) (pieces.Body, error) { return newBody(), nil })
}

func main() {}

func configure(config odin.Config) error {
	var read []rule
	var err error
	config.Get("patterns").Items(func(one odin.Config) bool {
		var made rule
		made, err = newRule(one.Get("match").String(), one.Get("replace").StringOr("[redacted]"))
		if err != nil {
			err = fmt.Errorf("patterns[%d].match: %w", len(read), err)
		}
		read = append(read, made)
		return err == nil
	})
	if err != nil {
		return err
	}
	if len(read) == 0 {
		return errors.New("patterns: there is none, so nothing would be replaced")
	}
	rules = read
	return nil
}

// body is one message's.
type body struct{ redactors []redactor }

func newBody() *body {
	made := &body{}
	for at := range rules {
		made.redactors = append(made.redactors, redactor{rule: &rules[at]})
	}
	return made
}

// Chunk passes a piece through one pattern after the other.
func (b *body) Chunk(chunk pieces.Chunk) (pieces.Passed, error) {
	bytes := chunk.Bytes
	for at := range b.redactors {
		// No match goes beyond an event: nothing of it waits for the next.
		bytes = b.redactors[at].pass(bytes, chunk.IsEnd || chunk.IsEvent)
	}
	return pieces.Replace(bytes), nil
}

// Close has nothing to do.
func (b *body) Close() {}

package main

import (
	"testing"

	"odin.internal/odin"
)

func TestHeadersAreAddedAndRemoved(t *testing.T) {
	got := odin.Call(`{"context":{"phase":"request"},"input":{"method":"GET"},` +
		`"config":{"addHeaders":{"X-Gateway":"Odin"},"removeHeaders":["Cookie"]}}`)
	want := `{"modified":true,"continue":true,"response":{"headers":{"Cookie":[],"X-Gateway":["Odin"]}}}`
	if got != want {
		t.Errorf("got %s", got)
	}
}

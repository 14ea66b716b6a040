package ontick

import "odin.internal/odin"

//go:wasmexport on_tick
func onTick() { odin.Tick() }

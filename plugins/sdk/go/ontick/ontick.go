// Package ontick makes a plugin be called by the clock, as often as the configuration's tick says.
// Import it for its effect, the export on_tick:
//
//	import _ "odin.internal/odin/ontick"
package ontick

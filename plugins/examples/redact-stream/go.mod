module redact-stream

go 1.24

require odin.internal/odin v0.0.0

replace odin.internal/odin => ../../sdk/go

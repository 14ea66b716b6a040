module odin.internal/odin

go 1.24

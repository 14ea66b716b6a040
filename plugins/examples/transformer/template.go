package main

import (
	"errors"
	"strings"

	"odin.internal/odin"
)

// source is what a template's names stand for.
type source struct {
	exchange *odin.Exchange
	request  *odin.Request
	message  message
}

// template is a text with names in braces: "Bearer {metadata.token}". Doubled braces are braces.
type template []piece

// piece is literal text, or a name with what comes after its dot.
type piece struct {
	text, name, key string
}

const knownNames = "header.NAME, query.NAME, metadata.KEY, requestId, serviceId, clientIp, " +
	"method, path, timestamp, status"

func parseTemplate(text string) (template, error) {
	var pieces template
	var literal strings.Builder
	for len(text) > 0 {
		if strings.HasPrefix(text, "{{") || strings.HasPrefix(text, "}}") {
			literal.WriteByte(text[0])
			text = text[2:]
			continue
		}
		if text[0] != '{' {
			literal.WriteByte(text[0])
			text = text[1:]
			continue
		}
		inner, rest, isClosed := strings.Cut(text[1:], "}")
		if !isClosed {
			return nil, errors.New("a brace is not closed (write {{ for a brace)")
		}
		name, key, _ := strings.Cut(inner, ".")
		if !isKnown(name, key) {
			return nil, errors.New("{" + inner + "} is unknown; known: " + knownNames)
		}
		pieces = append(pieces, piece{text: literal.String()}, piece{name: name, key: key})
		literal.Reset()
		text = rest
	}
	return append(pieces, piece{text: literal.String()}), nil
}

func isKnown(name, key string) bool {
	switch name {
	case "header", "query", "metadata":
		return key != ""
	case "requestId", "serviceId", "clientIp", "method", "path", "timestamp", "status":
		return key == ""
	}
	return false
}

// fill puts in what the names stand for. The second result is false if one of them stands for
// nothing: what would be set to it is then left alone.
func (t template) fill(source *source) (string, bool) {
	var out strings.Builder
	for _, piece := range t {
		out.WriteString(piece.text)
		if piece.name == "" {
			continue
		}
		value := piece.value(source)
		if value == "" {
			return "", false
		}
		out.WriteString(value)
	}
	return out.String(), true
}

func (p piece) value(source *source) string {
	switch p.name {
	case "header":
		return source.message.Header(p.key)
	case "query":
		return source.request.Query(p.key)
	case "metadata":
		value := source.exchange.Metadata(p.key)
		if value.IsString() {
			return value.String()
		}
		return string(value.Raw())
	case "requestId":
		return source.exchange.RequestID()
	case "serviceId":
		return source.exchange.ServiceID()
	case "clientIp":
		return source.exchange.ClientIP()
	case "method":
		return source.request.Method()
	case "path":
		return source.request.Path()
	case "timestamp":
		return source.exchange.Timestamp()
	case "status":
		return statusText(source.message)
	}
	return ""
}

// statusText is a response's status; a request has none.
func statusText(message message) string {
	response, isResponse := message.(*odin.Response)
	if !isResponse {
		return ""
	}
	status := response.Status()
	return string([]byte{byte('0' + status/100%10), byte('0' + status/10%10), byte('0' + status%10)})
}

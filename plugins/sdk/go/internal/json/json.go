// Package json reads JSON lazily and writes it by hand.
//
// A plugin looks at two or three of an input's values. encoding/json would build all of them,
// through reflection, and add 2 MB to the module; this package finds a value by skipping over the
// others, and decodes only what is asked for. Input comes from the gateway, so malformed text is
// answered by "not there" rather than by a precise error; Valid tells where that is not enough.
package json

import (
	"encoding/binary"
	"math/bits"
	"strconv"
	"unicode/utf16"
	"unicode/utf8"
)

// Value is the text of one JSON value, without space around it; empty if there is none.
type Value []byte

// depthMax bounds the nesting that Valid and Skip follow: a deeper text is refused, as it would
// otherwise be a way to exhaust the stack.
const depthMax = 256

// Parse returns the value that is all of text, or an empty one if text is not JSON.
func Parse(text []byte) Value {
	start := skipSpace(text, 0)
	end := skipValue(text, start, 0)
	if end < 0 || skipSpace(text, end) != len(text) {
		return nil
	}
	return Value(text[start:end])
}

// Exists tells a value that is there (null included) from one that is not.
func (v Value) Exists() bool { return len(v) > 0 }

// IsNull tells whether there is no value, or it is null.
func (v Value) IsNull() bool { return len(v) == 0 || v[0] == 'n' }

// IsObject tells whether it is an object.
func (v Value) IsObject() bool { return len(v) > 0 && v[0] == '{' }

// IsArray tells whether it is an array.
func (v Value) IsArray() bool { return len(v) > 0 && v[0] == '[' }

// IsString tells whether it is a string.
func (v Value) IsString() bool { return len(v) > 0 && v[0] == '"' }

// Get returns the value of a key of an object; empty if it is no object or has no such key.
func (v Value) Get(key string) Value {
	var found Value
	v.Entries(func(name []byte, value Value) bool {
		if !nameIs(name, key) {
			return true
		}
		found = value
		return false
	})
	return found
}

// Entries calls visit with each key (its text between the quotes, escapes and all; Unescape decodes
// it) and value of an object, until visit returns false.
func (v Value) Entries(visit func(name []byte, value Value) bool) {
	if !v.IsObject() {
		return
	}
	for at := skipSpace(v, 1); at < len(v) && v[at] == '"'; {
		nameEnd := skipString(v, at)
		if nameEnd < 0 {
			return
		}
		start := skipSpace(v, skipSpace(v, nameEnd)+1)
		end := skipValue(v, start, 0)
		if end < 0 || !visit(v[at+1:nameEnd-1], v[start:end]) {
			return
		}
		at = skipSpace(v, end)
		if at >= len(v) || v[at] != ',' {
			return
		}
		at = skipSpace(v, at+1)
	}
}

// Items calls visit with each value of an array until visit returns false.
func (v Value) Items(visit func(value Value) bool) {
	if !v.IsArray() {
		return
	}
	for at := skipSpace(v, 1); at < len(v) && v[at] != ']'; {
		end := skipValue(v, at, 0)
		if end < 0 || !visit(v[at:end]) {
			return
		}
		at = skipSpace(v, end)
		if at >= len(v) || v[at] != ',' {
			return
		}
		at = skipSpace(v, at+1)
	}
}

// String decodes a string; "" if it is none.
func (v Value) String() string {
	if !v.IsString() {
		return ""
	}
	return Unescape(v[1 : len(v)-1])
}

// Strings decodes an array of strings; a string alone counts as an array of one. What is neither
// gives nil, and what is no string inside is left out.
func (v Value) Strings() []string {
	if v.IsString() {
		return []string{v.String()}
	}
	var texts []string
	v.Items(func(item Value) bool {
		if item.IsString() {
			texts = append(texts, item.String())
		}
		return true
	})
	return texts
}

// Float returns a number, and whether it is one.
func (v Value) Float() (float64, bool) {
	number, err := strconv.ParseFloat(string(v), 64)
	return number, err == nil
}

// Int returns a whole number, and whether it is one.
func (v Value) Int() (int64, bool) {
	number, err := strconv.ParseInt(string(v), 10, 64)
	return number, err == nil
}

// Bool returns true for true and nothing else.
func (v Value) Bool() bool { return string(v) == "true" }

// Unescape decodes the text between a string's quotes.
func Unescape(text []byte) string {
	plain := 0
	for plain < len(text) && text[plain] != '\\' {
		plain++
	}
	if plain == len(text) {
		return string(text)
	}
	out := append(make([]byte, 0, len(text)), text[:plain]...)
	for at := plain; at < len(text); {
		if text[at] != '\\' || at+1 == len(text) {
			out = append(out, text[at])
			at++
			continue
		}
		out, at = appendEscape(out, text, at+1)
	}
	return string(out)
}

// appendEscape decodes the escape whose letter is at text[at], and returns where the next one is.
func appendEscape(out, text []byte, at int) ([]byte, int) {
	switch text[at] {
	case 'b':
		return append(out, '\b'), at + 1
	case 'f':
		return append(out, '\f'), at + 1
	case 'n':
		return append(out, '\n'), at + 1
	case 'r':
		return append(out, '\r'), at + 1
	case 't':
		return append(out, '\t'), at + 1
	case 'u':
		return appendUnicode(out, text, at+1)
	default:
		return append(out, text[at]), at + 1
	}
}

func appendUnicode(out, text []byte, at int) ([]byte, int) {
	unit := hex4(text, at)
	at += 4
	if utf16.IsSurrogate(unit) {
		if at+1 < len(text) && text[at] == '\\' && text[at+1] == 'u' {
			if pair := utf16.DecodeRune(unit, hex4(text, at+2)); pair != utf8.RuneError {
				return utf8.AppendRune(out, pair), at + 6
			}
		}
		unit = utf8.RuneError
	}
	return utf8.AppendRune(out, unit), min(at, len(text))
}

func hex4(text []byte, at int) rune {
	if at+4 > len(text) {
		return utf8.RuneError
	}
	number, err := strconv.ParseUint(string(text[at:at+4]), 16, 32)
	if err != nil {
		return utf8.RuneError
	}
	return rune(number)
}

// nameIs compares a key as it stands with a name; only a key with an escape is decoded for it.
func nameIs(name []byte, key string) bool {
	if string(name) == key {
		return true
	}
	for _, char := range name {
		if char == '\\' {
			return Unescape(name) == key
		}
	}
	return false
}

func skipSpace(text []byte, at int) int {
	for at < len(text) && (text[at] == ' ' || text[at] == '\n' || text[at] == '\t' || text[at] == '\r') {
		at++
	}
	return at
}

// skipValue returns the end of the value at text[at], -1 if there is none that is well formed.
func skipValue(text []byte, at, depth int) int {
	if at < 0 || at >= len(text) || depth > depthMax {
		return -1
	}
	switch char := text[at]; {
	case char == '"':
		return skipString(text, at)
	case char == '{' || char == '[':
		return skipContainer(text, at, depth)
	case char == 't':
		return skipWord(text, at, "true")
	case char == 'f':
		return skipWord(text, at, "false")
	case char == 'n':
		return skipWord(text, at, "null")
	default:
		return skipNumber(text, at)
	}
}

// skipString looks at eight bytes together: most of a string is neither quote nor backslash.
func skipString(text []byte, at int) int {
	for at++; at+8 <= len(text); {
		word := binary.LittleEndian.Uint64(text[at:])
		found := equalBytes(word, '"') | equalBytes(word, '\\')
		if found == 0 {
			at += 8
			continue
		}
		at += bits.TrailingZeros64(found) / 8
		if text[at] == '"' {
			return at + 1
		}
		at += 2
	}
	for ; at < len(text); at++ {
		switch text[at] {
		case '"':
			return at + 1
		case '\\':
			at++
		}
	}
	return -1
}

const ones = 0x0101010101010101

// equalBytes is a word whose lowest set bit is in the first byte of word that equals char; 0 if none
// does. (Bytes behind the first may be marked wrongly: the subtraction borrows.)
func equalBytes(word uint64, char byte) uint64 {
	different := word ^ ones*uint64(char)
	return (different - ones) &^ different & (ones << 7)
}

func skipContainer(text []byte, at, depth int) int {
	isObject := text[at] == '{'
	closing := text[at] + 2 // in ASCII, } is { + 2 and ] is [ + 2
	at = skipSpace(text, at+1)
	if at < len(text) && text[at] == closing {
		return at + 1
	}
	for at < len(text) {
		if isObject {
			if text[at] != '"' {
				return -1
			}
			name := skipString(text, at)
			if name < 0 {
				return -1
			}
			at = skipSpace(text, name)
			if at >= len(text) || text[at] != ':' {
				return -1
			}
			at = skipSpace(text, at+1)
		}
		end := skipValue(text, at, depth+1)
		if end < 0 {
			return -1
		}
		at = skipSpace(text, end)
		if at >= len(text) {
			return -1
		}
		if text[at] == closing {
			return at + 1
		}
		if text[at] != ',' {
			return -1
		}
		at = skipSpace(text, at+1)
	}
	return -1
}

func skipWord(text []byte, at int, word string) int {
	if len(text)-at < len(word) || string(text[at:at+len(word)]) != word {
		return -1
	}
	return at + len(word)
}

func skipNumber(text []byte, at int) int {
	start := at
	for at < len(text) && (text[at] >= '0' && text[at] <= '9' || text[at] == '-' || text[at] == '+' ||
		text[at] == '.' || text[at] == 'e' || text[at] == 'E') {
		at++
	}
	if at == start {
		return -1
	}
	return at
}

const hexDigits = "0123456789abcdef"

// AppendString writes text as a JSON string. Bytes that are not UTF-8 become U+FFFD, because JSON
// has no form for them.
func AppendString(out []byte, text string) []byte {
	out = append(out, '"')
	plain := 0
	for at := 0; at < len(text); {
		char := text[at]
		if char >= utf8.RuneSelf {
			r, size := utf8.DecodeRuneInString(text[at:])
			if r == utf8.RuneError && size == 1 {
				out = append(append(out, text[plain:at]...), "\uFFFD"...)
				plain = at + 1
			}
			at += size
			continue
		}
		if char >= 0x20 && char != '"' && char != '\\' {
			at++
			continue
		}
		out = append(out, text[plain:at]...)
		switch char {
		case '"', '\\':
			out = append(out, '\\', char)
		case '\n':
			out = append(out, '\\', 'n')
		case '\r':
			out = append(out, '\\', 'r')
		case '\t':
			out = append(out, '\\', 't')
		default:
			out = append(out, '\\', 'u', '0', '0', hexDigits[char>>4], hexDigits[char&15])
		}
		at++
		plain = at
	}
	return append(append(out, text[plain:]...), '"')
}

package tasks

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"errors"
	"strconv"
	"unicode/utf8"
)

// The parts of reading and writing JSON in which encoding/json is too kind or
// too busy: it matches names whatever their case, takes the last of duplicates,
// and rewrites raw values.

// maxJSONDepth is how deep a payload may be nested. A record nests it deeper, and
// encoding/json reads 10,000 levels.
const maxJSONDepth = 1000

// checkJSON returns raw without the space around it, or what is wrong with it.
func checkJSON(raw json.RawMessage) (json.RawMessage, error) {
	trimmed := json.RawMessage(bytes.Trim(raw, " \t\r\n"))
	if !json.Valid(trimmed) {
		return nil, errors.New("it is not valid JSON")
	}
	depth, inString := 0, false
	for i := 0; i < len(trimmed); i++ {
		switch c := trimmed[i]; {
		case inString && c == '\\':
			i++
		case c == '"':
			inString = !inString
		case inString:
		case c == '{' || c == '[':
			if depth++; depth > maxJSONDepth {
				return nil, errors.New("it is nested more than 1000 levels deep")
			}
		case c == '}' || c == ']':
			depth--
		}
	}
	return trimmed, nil
}

var (
	errNotObject = errors.New("not an object")
	errNotArray  = errors.New("not an array")
	errDuplicate = errors.New("a name twice in one object")
	errNumber    = errors.New("not a whole number in range, plainly written")
	errEmpty     = errors.New("empty")
	errString    = errors.New("not a string")
	errBoolean   = errors.New("not a boolean")
	errBase64    = errors.New("not base64")
)

// splitObject calls f with each name and raw value of the object valid, which is
// valid JSON. The values are parts of valid.
func splitObject(valid []byte, f func(name string, value json.RawMessage) error) error {
	s := splitter(bytes.Trim(valid, " \t\r\n"))
	if len(s) == 0 || s[0] != '{' {
		return errNotObject
	}
	seen := make(map[string]struct{}, 16)
	s = s[1:]
	for s.skipSpace(); s[0] != '}'; s.skipSpace() {
		name, err := jsonString(s.value())
		if err != nil {
			return err
		}
		if _, dup := seen[name]; dup {
			return errDuplicate
		}
		seen[name] = struct{}{}
		s.skipSpace()
		s = s[1:] // the colon
		s.skipSpace()
		if err := f(name, s.value()); err != nil {
			return err
		}
		if s.skipSpace(); s[0] == ',' {
			s = s[1:]
		}
	}
	return nil
}

// splitArray is splitObject for an array.
func splitArray(valid []byte, f func(value json.RawMessage) error) error {
	s := splitter(bytes.Trim(valid, " \t\r\n"))
	if len(s) == 0 || s[0] != '[' {
		return errNotArray
	}
	s = s[1:]
	for s.skipSpace(); s[0] != ']'; s.skipSpace() {
		if err := f(s.value()); err != nil {
			return err
		}
		if s.skipSpace(); s[0] == ',' {
			s = s[1:]
		}
	}
	return nil
}

// A splitter is the rest of a valid JSON text.
type splitter []byte

func (s *splitter) skipSpace() { *s = bytes.TrimLeft(*s, " \t\r\n") }

// value takes the value, or the name, that s starts with.
func (s *splitter) value() json.RawMessage {
	depth := 0
	for i := 0; i < len(*s); i++ {
		switch (*s)[i] {
		case '"':
			for i++; (*s)[i] != '"'; i++ {
				if (*s)[i] == '\\' {
					i++
				}
			}
			if depth == 0 {
				return s.take(i + 1)
			}
		case '{', '[':
			depth++
		case '}', ']':
			if depth == 0 {
				return s.take(i) // a number or a word that the container's end follows
			}
			if depth--; depth == 0 {
				return s.take(i + 1)
			}
		case ',', ' ', '\t', '\r', '\n':
			if depth == 0 {
				return s.take(i)
			}
		}
	}
	return s.take(len(*s))
}

func (s *splitter) take(n int) json.RawMessage {
	v := json.RawMessage((*s)[:n:n])
	*s = (*s)[n:]
	return v
}

func jsonString(raw json.RawMessage) (string, error) {
	if len(raw) == 0 || raw[0] != '"' {
		return "", errString
	}
	if inner := raw[1 : len(raw)-1]; plainText(inner) {
		return string(inner), nil
	}
	var s string
	if err := json.Unmarshal(raw, &s); err != nil {
		return "", errString
	}
	return s, nil
}

// jsonName is jsonString but for the empty one: what is empty is left out.
func jsonName(raw json.RawMessage) (string, error) {
	s, err := jsonString(raw)
	if err == nil && s == "" {
		err = errEmpty
	}
	return s, err
}

// plainText reports whether the inside of a string is ASCII without escapes.
func plainText(b []byte) bool {
	for _, c := range b {
		if c == '\\' || c >= utf8.RuneSelf {
			return false
		}
	}
	return true
}

// jsonUint and jsonInt take the plain form only: no fraction, exponent or -0.
func jsonUint(raw json.RawMessage) (uint64, error) {
	n, err := strconv.ParseUint(string(raw), 10, 64)
	if err != nil || strconv.FormatUint(n, 10) != string(raw) {
		return 0, errNumber
	}
	return n, nil
}

func jsonInt(raw json.RawMessage) (int64, error) {
	n, err := strconv.ParseInt(string(raw), 10, 64)
	if err != nil || strconv.FormatInt(n, 10) != string(raw) {
		return 0, errNumber
	}
	return n, nil
}

// jsonTrue takes true only: what is false is left out.
func jsonTrue(raw json.RawMessage) (bool, error) {
	if string(raw) != "true" {
		return false, errBoolean
	}
	return true, nil
}

// jsonBase64 takes the one form that encoding has, and not the empty one: Go's
// decoder skips line breaks.
func jsonBase64(raw json.RawMessage) ([]byte, error) {
	s, err := jsonString(raw)
	if err != nil {
		return nil, err
	}
	b, err := base64.StdEncoding.DecodeString(s)
	if err != nil || len(b) == 0 || base64.StdEncoding.EncodeToString(b) != s {
		return nil, errBase64
	}
	return b, nil
}

// An objectWriter writes one JSON object, name by name.
type objectWriter struct {
	buf   []byte
	comma bool
}

func (w *objectWriter) open() { w.buf, w.comma = append(w.buf, '{'), false }

func (w *objectWriter) close() { w.buf, w.comma = append(w.buf, '}'), true }

func (w *objectWriter) name(name string) {
	if w.comma {
		w.buf = append(w.buf, ',')
	}
	w.comma = true
	w.buf = appendJSONString(w.buf, name)
	w.buf = append(w.buf, ':')
}

func (w *objectWriter) raw(name string, value json.RawMessage) {
	w.name(name)
	w.buf = append(w.buf, value...)
}

func (w *objectWriter) string(name, value string) {
	w.name(name)
	w.buf = appendJSONString(w.buf, value)
}

func (w *objectWriter) int(name string, value int64) {
	w.name(name)
	w.buf = strconv.AppendInt(w.buf, value, 10)
}

func (w *objectWriter) uint(name string, value uint64) {
	w.name(name)
	w.buf = strconv.AppendUint(w.buf, value, 10)
}

func appendJSONString(buf []byte, s string) []byte {
	b, _ := json.Marshal(s) // a string has no error
	return append(buf, b...)
}

package tasks

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"errors"
	"strconv"
	"unicode/utf8"
)

// This file has the parts of JSON in which encoding/json is too lenient or too eager:
// it matches names in any case, takes the last of duplicates, and rewrites raw values.

// maxJSONDepth is how deep a payload may be nested. maxScanDepth is how deep a record
// may be, which nests its payloads deeper: it is the limit of encoding/json.
const (
	maxJSONDepth = 1000
	maxScanDepth = 10_000
)

// checkJSON returns raw without the space around it, or the fault in it.
func checkJSON(raw json.RawMessage) (json.RawMessage, error) {
	s := scanner{text: bytes.Trim(raw, " \t\r\n"), depth: maxJSONDepth}
	value, err := s.value()
	switch {
	case errors.Is(err, errTooDeep):
		return nil, errors.New("it is nested more than 1000 levels deep")
	case err != nil || s.at != len(s.text):
		return nil, errors.New("it is not valid JSON")
	}
	return value, nil
}

var (
	errNumber  = errors.New("not a whole number in range, plainly written")
	errEmpty   = errors.New("empty")
	errString  = errors.New("not a string")
	errBoolean = errors.New("not a boolean")
	errBase64  = errors.New("not base64")
)

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

// jsonName is jsonString but refuses an empty text: encode leaves out empty values.
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

// jsonTrue takes true only: encode leaves out false.
func jsonTrue(raw json.RawMessage) (bool, error) {
	if string(raw) != "true" {
		return false, errBoolean
	}
	return true, nil
}

// jsonBase64 takes only the form that the encoder writes, and refuses an empty text:
// Go's decoder skips line breaks.
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

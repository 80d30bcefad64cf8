package tasks

import (
	"bytes"
	"encoding/json"
	"errors"
	"slices"
)

// A scanner walks once over a JSON text and checks it on the way, by the same grammar as
// encoding/json, which would take one walk to check, and another for each look inside.
type scanner struct {
	text  []byte
	at    int
	depth int // how many levels more the text may be nested
}

var (
	errSyntax    = errors.New("it is not JSON")
	errTooDeep   = errors.New("it is nested too deep")
	errNotObject = errors.New("not an object")
	errNotArray  = errors.New("not an array")
	errDuplicate = errors.New("a name twice in one object")
)

// A member is a name of an object, without its escapes, and what stands for it, raw.
type member struct {
	name  []byte
	value json.RawMessage
}

// members are those of one object, in order.
type members []member

func (m members) has(name string) bool {
	return slices.ContainsFunc(m, func(m member) bool { return string(m.name) == name })
}

// fewMembers is up to how many names are compared with each other one by one.
const fewMembers = 32

// splitObject returns the members of an object, which must have no name twice, appended
// to into. The values are parts of text.
func splitObject(text []byte, into members) (members, error) {
	s := scanner{text: text, depth: maxScanDepth}
	var seen map[string]bool // of many
	err := s.elements('{', '}', errNotObject, func() error {
		raw, err := s.string()
		if err != nil {
			return err
		}
		name := raw[1 : len(raw)-1]
		if !plainText(name) {
			unquoted, err := jsonString(raw)
			if err != nil {
				return err
			}
			name = []byte(unquoted)
		}
		if s.space(); !s.take(':') {
			return errSyntax
		}
		s.space()
		value, err := s.value()
		if err != nil {
			return err
		}
		switch {
		case seen == nil && into.has(string(name)), seen[string(name)]:
			return errDuplicate
		case seen == nil && len(into) == fewMembers:
			seen = make(map[string]bool)
			for _, m := range into {
				seen[string(m.name)] = true
			}
		}
		if seen != nil {
			seen[string(name)] = true
		}
		into = append(into, member{name, value})
		return nil
	})
	if err != nil {
		return nil, err
	}
	return into, nil
}

// splitArray returns the values of an array.
func splitArray(text []byte) (values []json.RawMessage, err error) {
	s := scanner{text: text, depth: maxScanDepth}
	err = s.elements('[', ']', errNotArray, func() error {
		value, err := s.value()
		values = append(values, value)
		return err
	})
	return values, err
}

// elements walks over a whole text, which is one object or array, and calls f before each
// element.
func (s *scanner) elements(open, end byte, other error, f func() error) error {
	s.space()
	if !s.take(open) {
		if _, err := s.value(); err != nil {
			return err
		}
		return other
	}
	if err := s.list(end, f); err != nil {
		return err
	}
	if s.space(); s.at != len(s.text) {
		return errSyntax
	}
	return nil
}

// list walks over the elements up to end and calls f before each.
func (s *scanner) list(end byte, f func() error) error {
	if s.space(); s.take(end) {
		return nil
	}
	for {
		s.space()
		if err := f(); err != nil {
			return err
		}
		if s.space(); s.take(end) {
			return nil
		}
		if !s.take(',') {
			return errSyntax
		}
	}
}

// value takes a value.
func (s *scanner) value() (json.RawMessage, error) {
	from := s.at
	var err error
	switch c := s.next(); {
	case c == '"':
		_, err = s.string()
	case c == '{':
		err = s.nested('}', func() error {
			if _, err := s.string(); err != nil {
				return err
			}
			if s.space(); !s.take(':') {
				return errSyntax
			}
			s.space()
			_, err := s.value()
			return err
		})
	case c == '[':
		err = s.nested(']', func() error { _, err := s.value(); return err })
	case c == '-' || c >= '0' && c <= '9':
		err = s.number()
	default:
		err = s.word()
	}
	return s.text[from:s.at:s.at], err
}

func (s *scanner) nested(end byte, f func() error) error {
	if s.depth--; s.depth < 0 {
		return errTooDeep
	}
	s.at++
	err := s.list(end, f)
	s.depth++
	return err
}

// string takes a string, with its quotes.
func (s *scanner) string() ([]byte, error) {
	from := s.at
	if !s.take('"') {
		return nil, errSyntax
	}
	for ; s.at < len(s.text); s.at++ {
		switch c := s.text[s.at]; {
		case c == '"':
			s.at++
			return s.text[from:s.at], nil
		case c < ' ':
			return nil, errSyntax
		case c == '\\':
			s.at++
			switch s.next() {
			case '"', '\\', '/', 'b', 'f', 'n', 'r', 't':
			case 'u':
				for range 4 {
					s.at++
					if c := s.next() | 0x20; (c < '0' || c > '9') && (c < 'a' || c > 'f') {
						return nil, errSyntax
					}
				}
			default:
				return nil, errSyntax
			}
		}
	}
	return nil, errSyntax
}

func (s *scanner) number() error {
	s.take('-')
	if !s.take('0') && !s.digits() {
		return errSyntax
	}
	if s.take('.') && !s.digits() {
		return errSyntax
	}
	if s.take('e') || s.take('E') {
		if !s.take('+') {
			s.take('-')
		}
		if !s.digits() {
			return errSyntax
		}
	}
	return nil
}

func (s *scanner) digits() bool {
	from := s.at
	for c := s.next(); c >= '0' && c <= '9'; c = s.next() {
		s.at++
	}
	return s.at > from
}

func (s *scanner) word() error {
	for _, word := range []string{"true", "false", "null"} {
		if bytes.HasPrefix(s.text[s.at:], []byte(word)) {
			s.at += len(word)
			return nil
		}
	}
	return errSyntax
}

func (s *scanner) space() {
	for c := s.next(); c == ' ' || c == '\t' || c == '\r' || c == '\n'; c = s.next() {
		s.at++
	}
}

// next returns the byte that comes next, 0 at the end.
func (s *scanner) next() byte {
	if s.at == len(s.text) {
		return 0
	}
	return s.text[s.at]
}

// take takes c, if it comes next.
func (s *scanner) take(c byte) bool {
	if s.next() != c {
		return false
	}
	s.at++
	return true
}

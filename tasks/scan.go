package tasks

import (
	"encoding/json"
	"errors"
	"slices"
	"strings"
)

// A scanner walks once over a JSON text and checks it on the way, by the grammar of
// encoding/json, which would need one walk to check and another for each part.
type scanner struct {
	text  []byte
	at    int
	depth int // how many more levels of nesting are allowed
}

var (
	errSyntax    = errors.New("it is not JSON")
	errTooDeep   = errors.New("it is nested too deep")
	errNotObject = errors.New("not an object")
	errNotArray  = errors.New("not an array")
	errDuplicate = errors.New("a name twice in one object")
)

// A member is a name of an object, without its escapes, and its raw value.
type member struct {
	name  []byte
	value json.RawMessage
}

// members holds the members of one object, in order.
type members []member

func (m members) has(name string) bool {
	return slices.ContainsFunc(m, func(m member) bool { return string(m.name) == name })
}

// fewMembers is the number of names up to which each is compared with all others.
const fewMembers = 32

// splitObject returns the members of an object, which must have no name twice, appended
// to into. The values are parts of text.
func splitObject(text []byte, into members) (members, error) {
	s := scanner{text: text, depth: maxScanDepth}
	var seen map[string]bool // used beyond fewMembers
	err := s.elements('{', '}', errNotObject, func() error {
		raw, value, err := s.member()
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
	if err != nil {
		return nil, err
	}
	return values, nil
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
	switch s.next() {
	case '"':
		_, err = s.string()
	case '{':
		err = s.nested('}', func() error { _, _, err := s.member(); return err })
	case '[':
		err = s.nested(']', func() error { _, err := s.value(); return err })
	default:
		err = s.scalar()
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

// member takes a name, with its quotes, and the value that stands for it.
func (s *scanner) member() (name []byte, value json.RawMessage, err error) {
	if name, err = s.string(); err != nil {
		return nil, nil, err
	}
	if s.space(); !s.take(':') {
		return nil, nil, errSyntax
	}
	s.space()
	value, err = s.value()
	return name, value, err
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
					if strings.IndexByte("0123456789abcdefABCDEF", s.next()) < 0 {
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

// scalar takes a number or a word.
func (s *scanner) scalar() error {
	from, plain := s.at, s.next() != '0'
	for c := s.next(); c > ' ' && c != ',' && c != ']' && c != '}'; c = s.next() {
		plain = plain && c >= '0' && c <= '9'
		s.at++
	}
	if plain && s.at > from || json.Valid(s.text[from:s.at]) {
		return nil
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

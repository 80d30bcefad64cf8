package mcptasks

import (
	"bufio"
	"bytes"
	"errors"
	"io"
)

// maxHeld is the size of the largest event that an eventReader holds back to look
// at it, the SDK's default limit. Larger ones pass as they come, so that the SDK's
// MaxEventSize decides about them.
const maxHeld = 16 << 20

// An eventReader passes server-sent events on, whole, and has look replace their data. It
// reads them as the SDK does. It pads an event that gets shorter, so that the SDK counts
// as many bytes as were sent.
type eventReader struct {
	io.Closer
	lines *bufio.Reader
	look  func(data []byte) []byte

	event   []byte // the part of the current event that has come
	filled  bool   // the line under way is not empty
	passing bool   // the event under way is too large to be held
	begun   bool
	ready   []byte
	err     error
}

func newEventReader(body io.ReadCloser, look func([]byte) []byte) *eventReader {
	return &eventReader{Closer: body, lines: bufio.NewReader(body), look: look}
}

func (r *eventReader) Read(p []byte) (int, error) {
	for len(r.ready) == 0 {
		if r.err != nil {
			return 0, r.err
		}
		r.next()
	}
	n := copy(p, r.ready)
	r.ready = r.ready[n:]
	return n, nil
}

// next reads a line, or a part of one.
func (r *eventReader) next() {
	part, err := r.lines.ReadSlice('\n')
	whole := err == nil
	if errors.Is(err, bufio.ErrBufferFull) {
		err = nil
	}
	if r.err = err; !r.begun {
		r.begun = true
		part = bytes.TrimPrefix(part, []byte("\xef\xbb\xbf")) // a byte order mark, as the standard says
	}
	r.event = append(r.event, part...)
	r.filled = r.filled || len(bytes.Trim(part, "\r\n")) > 0
	ended := whole && !r.filled
	if whole {
		r.filled = false
	}
	switch {
	case r.passing || err != nil && err != io.EOF || !ended && len(r.event) > maxHeld:
		r.passing = !ended
		r.ready, r.event = r.event, nil
	case ended || err != nil:
		r.ready, r.event = r.replaced(r.event), nil
	}
}

// replaced returns the event with the data that look puts in the place of its own.
func (r *eventReader) replaced(event []byte) []byte {
	var name string
	var data []byte
	first := true
	for line := range bytes.Lines(event) {
		field, value, _ := bytes.Cut(bytes.TrimRight(line, "\r\n"), []byte(":"))
		switch value = bytes.TrimSpace(value); string(field) {
		case "event":
			name = string(value)
		case "data":
			if !first {
				data = append(data, '\n')
			}
			data, first = append(data, value...), false
		}
	}
	if len(data) == 0 || name != "" && name != "message" {
		return event
	}
	instead := r.look(data)
	if instead == nil {
		return event
	}
	var others []byte
	for line := range bytes.Lines(event) {
		if field, _, _ := bytes.Cut(line, []byte(":")); string(field) != "data" {
			others = append(others, line...)
		}
	}
	padding := max(0, len(event)-len("data: \n")-len(instead)-len(others))
	out := append([]byte("data: "), instead...)
	out = append(out, bytes.Repeat([]byte(" "), padding)...)
	out = append(out, '\n')
	return append(out, others...)
}

package faultproxy

import (
	"bufio"
	"errors"
	"io"
	"strconv"
	"strings"
)

var errProtocol = errors.New("faultproxy: not the Redis protocol")

// Working clients and servers stay below these limits.
const (
	maxBulk  = 512 << 20
	maxArray = 1 << 20
	maxDepth = 32
)

// ReadRequest reads one command: its raw bytes, and its arguments, at least one.
func ReadRequest(r *bufio.Reader) (raw []byte, args []string, err error) {
	var line []byte
	n := 0
	for n < 1 { // servers do not answer an empty command
		if raw, line, err = appendLine(nil, r); err != nil {
			return nil, nil, err
		}
		if len(line) == 0 || line[0] != '*' { // an inline command
			if args = strings.Fields(string(line)); len(args) > 0 {
				return raw, args, nil
			}
			continue
		}
		if n, err = length(line[1:], maxArray); err != nil {
			return nil, nil, err
		}
	}
	for range n {
		if raw, line, err = appendLine(raw, r); err != nil {
			return nil, nil, err
		}
		if len(line) == 0 || line[0] != '$' {
			return nil, nil, errProtocol
		}
		size, err := length(line[1:], maxBulk)
		if err != nil || size < 0 {
			return nil, nil, errProtocol
		}
		start := len(raw)
		if raw, err = appendBytes(raw, r, size+2); err != nil {
			return nil, nil, err
		}
		args = append(args, string(raw[start:start+size]))
	}
	return raw, args, nil
}

// readReply reads the raw bytes of one reply, in either version of the protocol. push says
// that it is a message, which answers no command.
func readReply(r *bufio.Reader) (raw []byte, push bool, err error) {
	first, err := r.Peek(1)
	if err != nil {
		return nil, false, err
	}
	push = first[0] == '>'
	raw, err = appendReply(nil, r, 0)
	return raw, push, err
}

func appendReply(raw []byte, r *bufio.Reader, depth int) ([]byte, error) {
	raw, line, err := appendLine(raw, r)
	if err != nil {
		return nil, err
	}
	if len(line) == 0 || depth > maxDepth {
		return nil, errProtocol
	}
	elements := 0
	switch line[0] {
	case '+', '-', ':', '_', '#', ',', '(':
		return raw, nil
	case '$', '!', '=':
		n, err := length(line[1:], maxBulk)
		if err != nil || n < 0 { // -1 is null
			return raw, err
		}
		return appendBytes(raw, r, n+2)
	case '*', '~', '>':
		elements, err = length(line[1:], maxArray)
	case '%':
		elements, err = length(line[1:], maxArray)
		elements *= 2
	case '|': // attributes precede the reply proper
		elements, err = length(line[1:], maxArray)
		elements = 2*elements + 1
	default:
		err = errProtocol
	}
	for ; elements > 0 && err == nil; elements-- {
		raw, err = appendReply(raw, r, depth+1)
	}
	return raw, err
}

// appendLine appends a line with its line end, and returns the line without it.
func appendLine(raw []byte, r *bufio.Reader) (all, line []byte, err error) {
	start := len(raw)
	for {
		part, err := r.ReadSlice('\n')
		raw = append(raw, part...)
		if err == nil {
			break
		}
		if !errors.Is(err, bufio.ErrBufferFull) {
			return nil, nil, err
		}
	}
	line = raw[start : len(raw)-1]
	if n := len(line); n > 0 && line[n-1] == '\r' {
		line = line[:n-1]
	}
	return raw, line, nil
}

func appendBytes(raw []byte, r *bufio.Reader, n int) ([]byte, error) {
	// In steps, so that a false length does not cost its memory.
	for n > 0 {
		step := min(n, 1<<16)
		start := len(raw)
		raw = append(raw, make([]byte, step)...)
		if _, err := io.ReadFull(r, raw[start:]); err != nil {
			return nil, err
		}
		n -= step
	}
	return raw, nil
}

func length(text []byte, limit int) (int, error) {
	n, err := strconv.Atoi(string(text))
	if err != nil || n < -1 || n > limit {
		return 0, errProtocol
	}
	return n, nil
}

// subscribes reports whether messages may follow a command.
func subscribes(args []string) bool {
	if len(args) == 0 {
		return false
	}
	switch strings.ToLower(args[0]) {
	case "subscribe", "psubscribe", "ssubscribe", "monitor":
		return true
	}
	return false
}

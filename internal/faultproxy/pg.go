package faultproxy

import (
	"bufio"
	"bytes"
	"encoding/binary"
	"io"
)

// NewPostgres returns a proxy for connections without TLS to PostgreSQL, or to a pooler
// before it. A command is a unit that the server answers with ReadyForQuery: a simple
// query, or the messages up to a Sync. Its arguments are its SQL and then its parameters in
// their wire format. The messages that open and end a connection have one argument, a word
// without a blank.
func NewPostgres() *Proxy {
	p := New()
	p.protocol = func() protocol { return &postgres{} }
	return p
}

// postgres reads the messages of one connection.
type postgres struct{ started bool }

// maxMessage is above the limit of servers.
const maxMessage = 1 << 30

func (p *postgres) readRequest(r *bufio.Reader) (raw []byte, args []string, err error) {
	if !p.started {
		p.started = true
		raw, _, err = appendPacket(nil, r)
		return raw, []string{"startup"}, err
	}
	sql, params := "", []string(nil)
	for {
		kind, err := r.ReadByte()
		if err != nil {
			return nil, nil, err
		}
		var body []byte
		if raw, body, err = appendPacket(append(raw, kind), r); err != nil {
			return nil, nil, err
		}
		switch kind {
		case 'P':
			_, rest, _ := bytes.Cut(body, []byte{0}) // the statement's name
			text, _, _ := bytes.Cut(rest, []byte{0})
			sql = string(text)
		case 'B':
			params = parameters(body)
		case 'Q':
			return raw, []string{string(bytes.TrimRight(body, "\x00"))}, nil
		case 'S':
			return raw, append([]string{sql}, params...), nil
		case 'p':
			return raw, []string{"password"}, nil
		case 'X':
			return raw, []string{"terminate"}, nil
		}
	}
}

// parameters reads the parameters of a Bind message, a null as an empty one.
func parameters(body []byte) (params []string) {
	defer func() { _ = recover() }() // a truncated message has fewer
	for range 2 {                    // the names of portal and statement
		_, body, _ = bytes.Cut(body, []byte{0})
	}
	next := func(n int) []byte {
		part := body[:n]
		body = body[n:]
		return part
	}
	short := func() int { return int(binary.BigEndian.Uint16(next(2))) }
	next(2 * short()) // formats
	for range short() {
		n := int32(binary.BigEndian.Uint32(next(4)))
		params = append(params, string(next(int(max(n, 0)))))
	}
	return params
}

func (p *postgres) readReply(r *bufio.Reader) (raw []byte, push bool, err error) {
	for {
		kind, err := r.ReadByte()
		if err != nil {
			return nil, false, err
		}
		first := len(raw) == 0
		var body []byte
		if raw, body, err = appendPacket(append(raw, kind), r); err != nil {
			return nil, false, err
		}
		switch {
		case first && (kind == 'A' || kind == 'N' || kind == 'S'):
			return raw, true, nil // it answers no command
		case kind == 'Z', kind == 'E' && isFatal(body), kind == 'R' && asks(body):
			return raw, false, nil
		}
	}
}

func (*postgres) subscribes([]string) bool { return false }

// isFatal reports whether the server closes the connection after an error.
func isFatal(body []byte) bool {
	return bytes.Contains(body, []byte("VFATAL\x00")) || bytes.Contains(body, []byte("VPANIC\x00"))
}

// asks reports whether an authentication message requires the client's answer.
func asks(body []byte) bool {
	if len(body) < 4 {
		return false
	}
	kind := binary.BigEndian.Uint32(body)
	return kind != 0 && kind != 12 // AuthenticationOk, AuthenticationSASLFinal
}

// appendPacket appends a length and that many bytes, and also returns those bytes.
func appendPacket(raw []byte, r *bufio.Reader) (all, body []byte, err error) {
	var head [4]byte
	if _, err := io.ReadFull(r, head[:]); err != nil {
		return nil, nil, err
	}
	n := int(binary.BigEndian.Uint32(head[:])) - 4
	if n < 0 || n > maxMessage {
		return nil, nil, errProtocol
	}
	raw = append(raw, head[:]...)
	start := len(raw)
	if raw, err = appendBytes(raw, r, n); err != nil {
		return nil, nil, err
	}
	return raw, raw[start:], nil
}

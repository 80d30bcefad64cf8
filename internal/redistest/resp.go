package redistest

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"net"
	"slices"
	"strconv"
	"strings"
	"time"
)

const commandTimeout = 2 * time.Second

// replyError is an error reply of the server.
type replyError string

func (e replyError) Error() string { return string(e) }

// isReplyError reports whether err is a reply with one of these codes.
func isReplyError(err error, codes ...string) bool {
	var reply replyError
	if !errors.As(err, &reply) {
		return false
	}
	code, _, _ := strings.Cut(string(reply), " ")
	return slices.Contains(codes, code)
}

// do sends one command over a connection of its own and returns the reply: nil,
// a string, an int64 or a []any. A client library would hide a server's state
// behind its pools and retries.
func (s *Server) do(args ...string) (any, error) {
	c, err := net.DialTimeout("tcp", s.Addr(), commandTimeout)
	if err != nil {
		return nil, err
	}
	defer c.Close()
	if err := c.SetDeadline(time.Now().Add(commandTimeout)); err != nil {
		return nil, err
	}
	r := bufio.NewReader(c)
	if s.password != "" {
		if _, err := roundTrip(c, r, "AUTH", s.password); err != nil {
			return nil, err
		}
	}
	return roundTrip(c, r, args...)
}

// text is do for a command that replies with a string.
func (s *Server) text(args ...string) (string, error) {
	reply, err := s.do(args...)
	if err != nil {
		return "", err
	}
	str, ok := reply.(string)
	if !ok {
		return "", fmt.Errorf("%s replied %v", args[0], reply)
	}
	return str, nil
}

// info returns the fields of a section of INFO.
func (s *Server) info(section string) (map[string]string, error) {
	str, err := s.text("INFO", section)
	return fields(str), err
}

// fields parses lines of the form "name:value".
func fields(str string) map[string]string {
	m := make(map[string]string)
	for line := range strings.Lines(str) {
		if name, value, ok := strings.Cut(strings.TrimSpace(line), ":"); ok {
			m[name] = value
		}
	}
	return m
}

func roundTrip(w io.Writer, r *bufio.Reader, args ...string) (any, error) {
	var b strings.Builder
	fmt.Fprintf(&b, "*%d\r\n", len(args))
	for _, arg := range args {
		fmt.Fprintf(&b, "$%d\r\n%s\r\n", len(arg), arg)
	}
	if _, err := io.WriteString(w, b.String()); err != nil {
		return nil, err
	}
	return readReply(r)
}

func readReply(r *bufio.Reader) (any, error) {
	line, err := r.ReadString('\n')
	if err != nil {
		return nil, err
	}
	line = strings.TrimSuffix(line, "\r\n")
	if line == "" {
		return nil, errors.New("empty reply line")
	}
	kind, rest := line[0], line[1:]
	switch kind {
	case '+':
		return rest, nil
	case '-':
		return nil, replyError(rest)
	}
	n, err := strconv.ParseInt(rest, 10, 64)
	if err != nil {
		return nil, fmt.Errorf("reply %q: %w", line, err)
	}
	switch {
	case kind == ':':
		return n, nil
	case n < 0:
		return nil, nil
	case kind == '$':
		buf := make([]byte, n+2)
		_, err := io.ReadFull(r, buf)
		return string(buf[:n]), err
	case kind == '*':
		list := make([]any, n)
		for i := range list {
			if list[i], err = readReply(r); err != nil {
				return nil, err
			}
		}
		return list, nil
	}
	return nil, fmt.Errorf("unknown reply %q", line)
}

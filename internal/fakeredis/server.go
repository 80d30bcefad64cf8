// Package fakeredis has a server for tests that answers as a test decides and records the
// commands that it received.
package fakeredis

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"strings"
	"sync"
	"testing"

	"github.com/taskstore/taskstore/internal/faultproxy"
)

// A Server answers commands as a test decides.
type Server struct {
	Addr string // host and port

	answer func(args []string) string

	mu       sync.Mutex
	commands []Command
}

// A Command is one that a server received.
type Command struct {
	Connection int    // the server's first is 1
	Text       string // in lower case, with a space between two arguments
}

// Answers other than a reply.
const (
	Unknown = "-" // stands for the error of an unknown command
	HangUp  = ""  // closes the connection instead
)

// Serve starts a server that accepts connections until the test ends. answer returns the
// reply to a command as it is sent, or one of the constants. It is called for several
// connections at the same time.
func Serve(tb testing.TB, answer func(args []string) string) *Server {
	tb.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() { _ = l.Close() })
	s := &Server{Addr: l.Addr().String(), answer: answer}
	go func() {
		for connection := 1; ; connection++ {
			c, err := l.Accept()
			if err != nil {
				return
			}
			go s.talk(connection, c)
		}
	}()
	return s
}

func (s *Server) talk(connection int, c net.Conn) {
	defer c.Close()
	for r := bufio.NewReader(c); ; {
		_, args, err := faultproxy.ReadRequest(r)
		if err != nil {
			return
		}
		s.mu.Lock()
		s.commands = append(s.commands, Command{connection, strings.ToLower(strings.Join(args, " "))})
		s.mu.Unlock()
		answer := s.answer(args)
		switch answer {
		case HangUp:
			return
		case Unknown:
			answer = "-ERR unknown command '" + args[0] + "'\r\n"
		}
		if _, err := io.WriteString(c, answer); err != nil {
			return
		}
	}
}

// Got returns the commands whose text begins with prefix.
func (s *Server) Got(prefix string) (commands []Command) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, c := range s.commands {
		if strings.HasPrefix(c.Text, prefix) {
			commands = append(commands, c)
		}
	}
	return commands
}

// Bulk returns a string as a server sends it.
func Bulk(s string) string { return fmt.Sprintf("$%d\r\n%s\r\n", len(s), s) }

package redislink

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// A server answers commands as a test says, and keeps what came.
type server struct {
	addr   string
	answer func(args []string) string // "": the connection is closed instead

	mu       sync.Mutex
	commands []command
}

// A command is one that a server was sent.
type command struct {
	connection int
	text       string
}

// serve starts a server. It knows no command that answer has none for: "-".
func serve(t *testing.T, answer func(args []string) string) *server {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	t.Cleanup(func() { _ = l.Close() })
	s := &server{addr: l.Addr().String(), answer: answer}
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

func (s *server) talk(connection int, c net.Conn) {
	defer c.Close()
	for r := bufio.NewReader(c); ; {
		args, err := readCommand(r)
		if err != nil {
			return
		}
		s.mu.Lock()
		s.commands = append(s.commands, command{connection, strings.ToLower(strings.Join(args, " "))})
		s.mu.Unlock()
		answer := s.answer(args)
		if answer == "" {
			return
		}
		if answer == "-" {
			answer = "-ERR unknown command '" + args[0] + "'\r\n"
		}
		if _, err := io.WriteString(c, answer); err != nil {
			return
		}
	}
}

// got returns the commands that begin with prefix.
func (s *server) got(prefix string) (commands []command) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, c := range s.commands {
		if strings.HasPrefix(c.text, prefix) {
			commands = append(commands, c)
		}
	}
	return commands
}

// waitFor waits until n commands that begin with prefix have come.
func (s *server) waitFor(t *testing.T, prefix string, n int) {
	require.Eventually(t, func() bool { return len(s.got(prefix)) >= n }, 10*time.Second, time.Millisecond, prefix)
}

func readCommand(r *bufio.Reader) (args []string, err error) {
	number := func() (n int) {
		if err == nil {
			var line string
			if line, err = r.ReadString('\n'); err == nil {
				n, err = strconv.Atoi(strings.TrimSpace(line[1:]))
			}
		}
		return n
	}
	for range number() {
		b := make([]byte, number()+2)
		if err == nil {
			_, err = io.ReadFull(r, b)
		}
		if err != nil {
			return nil, err
		}
		args = append(args, string(b[:len(b)-2]))
	}
	if len(args) == 0 && err == nil {
		err = io.EOF
	}
	return args, err
}

func bulk(s string) string { return fmt.Sprintf("$%d\r\n%s\r\n", len(s), s) }

// held answers "hold" when release is closed, and others at once.
func held(t *testing.T) (answer func(args []string) string, release func()) {
	gate := make(chan struct{})
	release = sync.OnceFunc(func() { close(gate) })
	t.Cleanup(release)
	return func(args []string) string {
		switch args[0] {
		case "hold":
			<-gate
		case "echo", "other":
		default:
			return "-"
		}
		return "+OK\r\n"
	}, release
}

// connect returns a client of s.
func connect(t *testing.T, s *server, o redis.Options) *redis.Client {
	o.Addr, o.Protocol, o.DisableIdentity = s.addr, 2, true
	client := redis.NewClient(&o)
	t.Cleanup(func() { assert.NoError(t, client.Close()) })
	return client
}

// hold has one connection of client wait for an answer, and returns what ends with it.
func hold(t *testing.T, s *server, client *redis.Client) (done chan error) {
	done = make(chan error, 1)
	go func() { done <- client.Process(context.Background(), redis.NewCmd(context.Background(), "hold")) }()
	s.waitFor(t, "hold", 1)
	return done
}

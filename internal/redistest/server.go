package redistest

import (
	"errors"
	"fmt"
	"net"
	"net/url"
	"os"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/taskstore/taskstore/internal/testproc"
)

const (
	startTimeout  = 20 * time.Second
	startAttempts = 5
	// stopTimeout is above Redis' own shutdown-timeout of 10 seconds, for which
	// a master waits for its replicas.
	stopTimeout = 15 * time.Second
)

// spec is what [launch] needs to start a process.
type spec struct {
	dir      string // the caller's directory, or empty for a temporary one
	password string
	port     func() (int, error) // nil: testproc.FreePort
	args     func(dir string, port int) ([]string, error)
}

// Server is one server process. Its methods may be called from any goroutine.
// After Kill or Stop, Restart starts it again with the same port and data.
type Server struct {
	bin      string
	args     []string
	dir      string
	keepDir  bool
	port     int
	password string
	log      testproc.Tail

	tb testing.TB // nil for a shared server

	mu   sync.Mutex
	proc *testproc.Process
}

// Addr returns "127.0.0.1:port", which stays the same after a Restart.
func (s *Server) Addr() string { return net.JoinHostPort(loopback, strconv.Itoa(s.port)) }

// Port returns the port, which stays the same after a Restart.
func (s *Server) Port() int { return s.port }

// URL returns redis://127.0.0.1:port/0, with the password if the server was
// started with one.
func (s *Server) URL() string { return baseURL(s.Addr(), s.password) + "/0" }

// Dir returns the data directory.
func (s *Server) Dir() string { return s.dir }

// Pid returns the id of the running process or, after Kill or Stop, of the last
// one.
func (s *Server) Pid() int { return s.process().Pid() }

// Log returns the last part of the log, from before and after a Restart.
func (s *Server) Log() string { return s.log.String() }

// Kill ends the process with SIGKILL, suspended or not, and waits for its end.
// It does nothing if the process has ended.
func (s *Server) Kill() { s.process().Kill() }

// Stop ends the process with SIGTERM, so that it shuts down in order, and waits
// for its end. A process that takes too long is killed.
func (s *Server) Stop() {
	p := s.process()
	p.Resume() // a suspended process would not see SIGTERM
	p.Terminate()
	select {
	case <-p.Done():
	case <-time.After(stopTimeout):
		p.Kill()
	}
}

// Suspend stops the process with SIGSTOP: its connections stay open, without answers until
// Resume.
func (s *Server) Suspend() { s.process().Suspend() }

// Resume continues a suspended process.
func (s *Server) Resume() { s.process().Resume() }

// Restart starts the server again with the same port, arguments and data directory, and
// returns when it answers; a process that still runs is killed first. It fails the test if
// the server does not answer in time, so call it from the test's goroutine.
func (s *Server) Restart() {
	if s.tb != nil {
		s.tb.Helper()
	}
	s.Kill()
	if err := s.run(); err != nil {
		if s.tb == nil {
			panic(err)
		}
		s.tb.Fatal(err)
	}
}

// launch starts a process on a free port and returns when it answers. If another program
// takes the port between the choice and the start, launch tries another one.
func launch(sp spec) (*Server, error) {
	bin, err := Binary()
	if err != nil {
		return nil, err
	}
	for attempt := 1; ; attempt++ {
		s := &Server{bin: bin, dir: sp.dir, keepDir: sp.dir != "", password: sp.password}
		if err = s.prepare(sp); err == nil {
			err = s.run()
		}
		if err == nil {
			return s, nil
		}
		s.close()
		if !errors.Is(err, errPortTaken) || attempt == startAttempts {
			return nil, err
		}
	}
}

func (s *Server) prepare(sp spec) (err error) {
	choose := testproc.FreePort
	if sp.port != nil {
		choose = sp.port
	}
	if s.port, err = choose(); err != nil {
		return err
	}
	if !s.keepDir {
		if s.dir, err = testproc.NewDir(); err != nil {
			return err
		}
	}
	s.args, err = sp.args(s.dir, s.port)
	return err
}

var errPortTaken = errors.New("a port is in use")

// run starts the process and waits until it answers.
func (s *Server) run() error {
	mark := s.log.Mark()
	p, err := testproc.Command{Bin: s.bin, Dir: s.dir, Args: s.args, Log: &s.log}.Start()
	if err != nil {
		return fmt.Errorf("redistest: %w", err)
	}
	s.mu.Lock()
	s.proc = p
	s.mu.Unlock()

	err = poll(startTimeout, func() error {
		if p.Ended() {
			return errExited
		}
		return s.answers(p.Pid())
	})
	if err == nil {
		return nil
	}
	p.Kill()
	log := s.log.Since(mark)
	if strings.Contains(log, "ddress already in use") {
		err = errors.Join(err, errPortTaken)
	}
	return fmt.Errorf("redistest: %s on port %d: %w\n%s", s.bin, s.port, err, log)
}

// answers returns nil if the process itself, and not a program that has taken the port,
// serves commands.
func (s *Server) answers(pid int) error {
	info, err := s.info("server")
	switch {
	case isReplyError(err, "NOAUTH", "NOPERM", "WRONGPASS"):
		return nil // alive, with unknown access rules
	case err != nil:
		return err
	case info["process_id"] != strconv.Itoa(pid):
		return fmt.Errorf("process %s answers on port %d, not ours, %d", info["process_id"], s.port, pid)
	}
	return nil
}

func (s *Server) process() *testproc.Process {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.proc
}

// attach makes the server end with the test.
func (s *Server) attach(tb testing.TB) {
	s.tb = tb
	tb.Cleanup(func() {
		if tb.Failed() {
			tb.Log(s.logOnFailure())
		}
		s.close()
	})
}

// logOnFailure returns less than Log, because a failed test may show nine servers.
func (s *Server) logOnFailure() string {
	log := s.Log()
	if excess := len(log) - 4<<10; excess > 0 {
		log = "..." + log[excess:]
	}
	return fmt.Sprintf("end of the log of the server on %s (pid %d):\n%s", s.Addr(), s.Pid(), log)
}

func (s *Server) close() {
	if p := s.process(); p != nil {
		p.Kill()
	}
	if !s.keepDir && s.dir != "" {
		os.RemoveAll(s.dir) //nolint:errcheck // what remains goes with the root directory
	}
}

func closeAll(servers []*Server) {
	for _, s := range servers {
		if s != nil {
			s.close()
		}
	}
}

// baseURL returns a redis:// URL without path and query.
func baseURL(addr, password string) string {
	u := url.URL{Scheme: "redis", Host: addr}
	if password != "" {
		u.User = url.UserPassword("", password)
	}
	return u.String()
}

// seedURL returns a URL with the first address as host and the others as addr parameters.
// The parameters need no escaping.
func seedURL(addrs []string, password string, params ...string) string {
	for _, addr := range addrs[1:] {
		params = append(params, "addr="+addr)
	}
	return baseURL(addrs[0], password) + "?" + strings.Join(params, "&")
}

func addrsOf(servers ...*Server) []string {
	addrs := make([]string, len(servers))
	for i, s := range servers {
		addrs[i] = s.Addr()
	}
	return addrs
}

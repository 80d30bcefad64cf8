package pgtest

import (
	"errors"
	"fmt"
	"net"
	"net/url"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/taskstore/taskstore/internal/testproc"
)

const (
	startTimeout  = 30 * time.Second
	startAttempts = 5
)

// A Server is a PostgreSQL server. Its superuser is postgres, without a password.
type Server struct {
	dir      string
	port     int
	settings []string
	log      testproc.Tail

	mu   sync.Mutex
	proc *testproc.Process
}

// launch starts a server on a copy of the template.
func launch(settings []string) (*Server, error) {
	from, err := template()
	if err != nil {
		return nil, err
	}
	return launchOn(settings, func(parent, dir string) error { return run(parent, "cp", "-a", from, dir) })
}

// launchOn starts a server on the directory that fill makes. If another program takes the
// port between the choice and the start, launchOn tries another one.
func launchOn(settings []string, fill func(parent, dir string) error) (*Server, error) {
	user, err := testproc.Unprivileged()
	if err != nil {
		return nil, err
	}
	parent, err := testproc.NewDir()
	if err == nil {
		err = user.Own(parent)
	}
	s := &Server{dir: filepath.Join(parent, "data"), settings: settings}
	if err == nil {
		err = fill(parent, s.dir)
	}
	for attempt := 1; err == nil; attempt++ {
		if s.port, err = testproc.FreePort(); err != nil {
			break
		}
		if err = s.run(); err == nil {
			return s, nil
		}
		if errors.Is(err, errPortTaken) && attempt < startAttempts {
			err = nil
		}
	}
	return nil, err
}

// run starts the process and waits until it accepts connections.
func (s *Server) run() error {
	bin, err := program("postgres")
	if err != nil {
		return err
	}
	user, err := testproc.Unprivileged()
	if err != nil {
		return err
	}
	args := []string{"-D", s.dir, "-p", strconv.Itoa(s.port)}
	for _, setting := range append([]string{"listen_addresses=127.0.0.1", "unix_socket_directories=", "fsync=off", "max_connections=200", "wal_level=replica"}, s.settings...) {
		args = append(args, "-c", setting)
	}
	mark := s.log.Mark()
	p, err := testproc.Command{Bin: bin, Args: args, Dir: s.dir, Log: &s.log, User: user}.Start()
	if err != nil {
		return fmt.Errorf("pgtest: %w", err)
	}
	s.mu.Lock()
	s.proc = p
	s.mu.Unlock()
	for deadline := time.Now().Add(startTimeout); ; time.Sleep(5 * time.Millisecond) {
		log := s.log.Since(mark)
		switch {
		case strings.Contains(log, "ready to accept"):
			return nil
		case strings.Contains(log, "ddress already in use"):
			p.Kill()
			return errPortTaken
		case p.Ended(), time.Now().After(deadline):
			p.Kill()
			return fmt.Errorf("pgtest: the server on port %d does not start:\n%s", s.port, log)
		}
	}
}

// Addr returns "127.0.0.1:port", which stays the same after a Restart.
func (s *Server) Addr() string { return net.JoinHostPort(testproc.Loopback, strconv.Itoa(s.port)) }

// URL returns the superuser's URL, with parameters such as "application_name=x".
func (s *Server) URL(params ...string) string { return URL("postgres", s.Addr(), params...) }

// URL returns the URL of the database postgres for a user, given as "user" or
// "user:password".
func URL(user, addr string, params ...string) string {
	u := url.URL{Scheme: "postgres", Host: addr, Path: "/postgres"}
	name, password, ok := strings.Cut(user, ":")
	u.User = url.User(name)
	if ok {
		u.User = url.UserPassword(name, password)
	}
	return u.String() + "?" + strings.Join(append([]string{"sslmode=disable"}, params...), "&")
}

// Log returns the last part of the log.
func (s *Server) Log() string { return s.log.String() }

func (s *Server) process() *testproc.Process {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.proc
}

// Crash ends the server at once, as pg_ctl stop -m immediate does: the server must recover
// committed data from its log.
func (s *Server) Crash() {
	p := s.process()
	p.Quit()
	select {
	case <-p.Done():
	case <-time.After(10 * time.Second):
		p.Kill()
	}
}

// Restart starts the server again on its port and data, and crashes it first if it runs.
func (s *Server) Restart(tb testing.TB) {
	tb.Helper()
	if err := s.restart(); err != nil {
		tb.Fatal(err)
	}
}

func (s *Server) restart() error {
	s.Crash()
	var err error
	for range startAttempts {
		// Connections of the crashed server may hold the port for a moment.
		if err = s.run(); !errors.Is(err, errPortTaken) {
			break
		}
		time.Sleep(50 * time.Millisecond)
	}
	return err
}

// attach makes the server end with the test.
func (s *Server) attach(tb testing.TB) {
	tb.Cleanup(func() {
		if tb.Failed() {
			tb.Logf("end of the log of the server on %s:\n%s", s.Addr(), s.Log())
		}
		s.Crash()
	})
}

// StartStandby starts a standby of s, which ends with the test.
func (s *Server) StartStandby(tb testing.TB) *Server {
	tb.Helper()
	backup, err := program("pg_basebackup")
	if err != nil {
		tb.Fatal(err)
	}
	standby, err := launchOn(nil, func(parent, dir string) error {
		return run(parent, backup, "-D", dir, "-h", testproc.Loopback, "-p", strconv.Itoa(s.port), "-U", "postgres", "-c", "fast", "-R", "--no-sync")
	})
	if err != nil {
		tb.Fatal(err)
	}
	standby.attach(tb)
	return standby
}

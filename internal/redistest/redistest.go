// Package redistest starts real redis-server processes, 6.2 or later, or valkey-server
// processes for tests: one server, a cluster of one node, a cluster of three masters and
// three replicas, or a master with replicas and sentinels.
//
// Every process listens on a free port of the loopback interface and keeps its data in a
// temporary directory. A test's processes are killed when the test ends, and shared
// processes when [Main] returns. A test binary that dies (a panic, the time limit of go
// test, SIGKILL) takes its processes and their directories with it.
//
// A missing server binary fails a test instead of skipping it. A test that needs a feature
// some programs lack says so with [Need], and is skipped on those.
package redistest

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

const (
	binaryEnv = "TASKSTORE_REDIS_SERVER"
	urlEnv    = "TASKSTORE_REDIS_URL"
	remedy    = `run "make test", which finds or installs it, or set ` + binaryEnv
)

// Binary returns the absolute path of the server program: the one that the
// environment variable TASKSTORE_REDIS_SERVER names or, without it, the first
// redis-server or valkey-server of PATH and the usual installation
// directories. The error says how to get one.
func Binary() (path string, err error) {
	if name := os.Getenv(binaryEnv); name != "" {
		path, err := exec.LookPath(name)
		if err != nil {
			return "", fmt.Errorf("redistest: %s: %w: %s", binaryEnv, err, remedy)
		}
		return filepath.Abs(path)
	}
	for _, name := range []string{"redis-server", "valkey-server"} {
		// PATH often lacks these for an ordinary user, or in an editor's shell.
		for _, dir := range []string{"", "/usr/sbin", "/usr/local/bin", "/usr/local/sbin", "/opt/homebrew/bin"} {
			if path, err := exec.LookPath(filepath.Join(dir, name)); err == nil {
				return filepath.Abs(path)
			}
		}
	}
	return "", fmt.Errorf("redistest: no redis-server or valkey-server found: %s", remedy)
}

// Require returns [Binary]'s path, or fails the test at once with its error.
func Require(tb testing.TB) string {
	tb.Helper()
	path, err := Binary()
	if err != nil {
		tb.Fatal(err)
	}
	return path
}

// CLI returns the path of a redis-cli or valkey-cli, beside [Binary] or on PATH. If there
// is none, it skips the test and says so.
func CLI(tb testing.TB) string {
	tb.Helper()
	dir := filepath.Dir(Require(tb))
	for _, name := range []string{
		filepath.Join(dir, "redis-cli"), filepath.Join(dir, "valkey-cli"), "redis-cli", "valkey-cli",
	} {
		if path, err := exec.LookPath(name); err == nil {
			return path
		}
	}
	tb.Skip("redistest: there is no redis-cli")
	return ""
}

// ExternalURL returns the URL of a running server that the environment variable
// TASKSTORE_REDIS_URL names, and whether it names one. [URL] and [SharedURL]
// give that server to tests that need no control over its process.
func ExternalURL() (string, bool) {
	url := os.Getenv(urlEnv)
	return url, url != ""
}

// URL returns [ExternalURL] or else the URL of a new server, which ends with the test. An
// external server may hold the data of other tests.
func URL(tb testing.TB) string {
	tb.Helper()
	if url, ok := ExternalURL(); ok {
		return url
	}
	return Start(tb).URL()
}

// Config says how [StartConfig] starts a server.
type Config struct {
	// Args are further arguments of redis-server, such as "--appendonly",
	// "yes". They win over the defaults. A "--requirepass" among them becomes
	// part of the server's URL.
	Args []string
	// Dir is the data directory. It must exist, and it stays after the test.
	// If it is empty, the server has a directory of its own, removed with it.
	Dir string
}

// Start starts a server without persistence, with further redis-server arguments, and
// returns when it answers. If it does not answer, Start fails the test. At the end of the
// test the server is killed and its directory removed; if the test failed by then, the end
// of the server's log goes to the test's log.
func Start(tb testing.TB, args ...string) *Server {
	tb.Helper()
	return StartConfig(tb, Config{Args: args})
}

// StartConfig is [Start] with a [Config].
func StartConfig(tb testing.TB, cfg Config) *Server {
	tb.Helper()
	s, err := startServer(cfg)
	if err != nil {
		tb.Fatal(err)
	}
	s.attach(tb)
	return s
}

func startServer(cfg Config) (*Server, error) {
	return launch(spec{
		dir:      cfg.Dir,
		password: passwordOf(cfg.Args),
		args: func(dir string, port int) ([]string, error) {
			return serverArgs(dir, port, cfg.Args), nil
		},
	})
}

// serverArgs returns the arguments of a data node; a later one wins.
func serverArgs(dir string, port int, extra ...[]string) []string {
	args := []string{
		"--port", fmt.Sprint(port), "--bind", loopback, "--protected-mode", "no",
		"--dir", dir, "--save", "", "--appendonly", "no",
		// The default delay of 5 seconds waits for more replicas than a test has.
		"--repl-diskless-sync-delay", "0",
	}
	for _, more := range extra {
		args = append(args, more...)
	}
	return args
}

// passwordOf returns the password that redis-server arguments set.
func passwordOf(args []string) string {
	password := ""
	for i, arg := range args[:max(0, len(args)-1)] {
		if strings.EqualFold(arg, "--requirepass") {
			password = args[i+1]
		}
	}
	return password
}

// errExited marks a failure for which poll stops at once.
var errExited = errors.New("the process has ended")

// poll calls cond until it returns nil, and reports its last error after the time limit.
func poll(limit time.Duration, cond func() error) error {
	deadline := time.Now().Add(limit)
	for {
		err := cond()
		if err == nil || errors.Is(err, errExited) {
			return err
		}
		if time.Now().After(deadline) {
			return fmt.Errorf("not ready after %v: %w", limit, err)
		}
		time.Sleep(pollInterval)
	}
}

const pollInterval = 5 * time.Millisecond

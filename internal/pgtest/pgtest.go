// Package pgtest starts real PostgreSQL servers, 14 or later, and PgBouncer for tests.
//
// Every server listens on a free port of the loopback interface, keeps its data in a
// temporary directory and runs as an unprivileged user. A test's servers are killed when
// the test ends, and the shared server of a test binary when [Main] returns. A test binary
// that dies takes its servers and their directories with it.
//
// A missing program fails a test instead of skipping it.
package pgtest

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"sync"
	"testing"

	"github.com/taskstore/taskstore/internal/testproc"
)

const (
	binEnv = "TASKSTORE_POSTGRES_BIN"
	remedy = `run "bash scripts/ensure-postgres.sh", which finds or installs it, or set ` + binEnv + ` to the directory of initdb`
)

// program returns the path of a program of PostgreSQL: in the directory that the
// environment variable TASKSTORE_POSTGRES_BIN names, or else on PATH, or else the newest
// version in the usual directories.
func program(name string) (string, error) {
	if dir := os.Getenv(binEnv); dir != "" {
		path, err := exec.LookPath(filepath.Join(dir, name))
		if err != nil {
			return "", fmt.Errorf("pgtest: %s: %w: %s", binEnv, err, remedy)
		}
		return path, nil
	}
	if path, err := exec.LookPath(name); err == nil {
		return filepath.Abs(path)
	}
	for _, pattern := range []string{"/usr/lib/postgresql/*/bin", "/usr/pgsql-*/bin", "/usr/local/pgsql/bin", "/opt/homebrew/opt/postgresql@*/bin"} {
		dirs, _ := filepath.Glob(pattern)
		slices.Sort(dirs)
		for _, dir := range slices.Backward(dirs) {
			if path, err := exec.LookPath(filepath.Join(dir, name)); err == nil {
				return path, nil
			}
		}
	}
	return "", fmt.Errorf("pgtest: no %s found: %s", name, remedy)
}

// Main runs the tests of a package that shares a server, and ends the server after the last
// test. It is the body of TestMain, or its last call.
func Main(m *testing.M) {
	defer testproc.RemoveRoot()
	m.Run()
}

var shared = sync.OnceValues(func() (*Server, error) { return launch(nil) })

// Shared returns one server for the whole test binary, as [Start] makes it without
// settings. It needs [Main]. Its tests must use schemas of their own, and must not stop the
// server.
func Shared(tb testing.TB) *Server {
	tb.Helper()
	s, err := shared()
	if err != nil {
		tb.Fatal(err)
	}
	return s
}

// Start starts a server that ends with the test, with settings such as "fsync=on". The
// default is fsync=off, because the crash of a process loses no data by that.
func Start(tb testing.TB, settings ...string) *Server {
	tb.Helper()
	s, err := launch(settings)
	if err != nil {
		tb.Fatal(err)
	}
	s.attach(tb)
	return s
}

// hba lets all users in without a password, except Guarded.
const hba = `host all ` + Guarded + ` 127.0.0.1/32 scram-sha-256
host all all 127.0.0.1/32 trust
host replication all 127.0.0.1/32 trust
`

// Guarded is the name of the only user that needs a password. A test must create it.
const Guarded = "guarded"

// template is a data directory to copy for each server, because initdb takes a second.
var template = sync.OnceValues(func() (string, error) {
	initdb, err := program("initdb")
	if err != nil {
		return "", err
	}
	user, err := testproc.Unprivileged()
	if err != nil {
		return "", err
	}
	parent, err := testproc.NewDir()
	if err != nil {
		return "", err
	}
	if err := user.Own(parent); err != nil {
		return "", err
	}
	dir := filepath.Join(parent, "data")
	if err := run(parent, initdb, "-D", dir, "-U", "postgres", "-A", "trust", "-E", "UTF8", "--locale=C", "--no-sync"); err != nil {
		return "", err
	}
	return dir, os.WriteFile(filepath.Join(dir, "pg_hba.conf"), []byte(hba), 0o644)
})

// run runs a program to its end, as the servers' user.
func run(dir, bin string, args ...string) error {
	user, err := testproc.Unprivileged()
	if err != nil {
		return err
	}
	var log testproc.Tail
	p, err := testproc.Command{Bin: bin, Args: args, Dir: dir, Log: &log, User: user}.Start()
	if err != nil {
		return fmt.Errorf("pgtest: %w", err)
	}
	<-p.Done()
	if !p.Succeeded() {
		return fmt.Errorf("pgtest: %s failed:\n%s", bin, log.String())
	}
	return nil
}

var errPortTaken = errors.New("the port is in use")

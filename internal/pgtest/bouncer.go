package pgtest

import (
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"testing"
	"time"

	"github.com/taskstore/taskstore/internal/testproc"
)

// A Bouncer is a PgBouncer in transaction mode before a server.
type Bouncer struct {
	port int
	proc *testproc.Process
	log  testproc.Tail
}

// StartBouncer starts a PgBouncer that ends with the test. All its clients connect as the
// server's superuser.
func (s *Server) StartBouncer(tb testing.TB) *Bouncer {
	tb.Helper()
	b, err := s.startBouncer()
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() {
		if tb.Failed() {
			tb.Logf("end of the log of PgBouncer:\n%s", b.log.String())
		}
		b.proc.Kill()
	})
	return b
}

const bouncerConfig = `[databases]
postgres = host=127.0.0.1 port=%d user=postgres dbname=postgres
[pgbouncer]
listen_addr = 127.0.0.1
listen_port = %d
unix_socket_dir =
auth_type = any
pool_mode = transaction
default_pool_size = 10
max_client_conn = 2000
server_login_retry = 0.2
`

func (s *Server) startBouncer() (*Bouncer, error) {
	bin := ""
	for _, name := range []string{"pgbouncer", "/usr/sbin/pgbouncer", "/usr/local/bin/pgbouncer", "/opt/homebrew/bin/pgbouncer"} {
		if path, err := exec.LookPath(name); err == nil {
			bin = path
			break
		}
	}
	if bin == "" {
		return nil, fmt.Errorf("pgtest: no pgbouncer found: %s", remedy)
	}
	user, err := testproc.Unprivileged()
	if err != nil {
		return nil, err
	}
	dir, err := testproc.NewDir()
	if err == nil {
		err = user.Own(dir)
	}
	if err != nil {
		return nil, err
	}
	b := new(Bouncer)
	if b.port, err = testproc.FreePort(); err != nil {
		return nil, err
	}
	file := filepath.Join(dir, "pgbouncer.ini")
	if err := os.WriteFile(file, fmt.Appendf(nil, bouncerConfig, s.port, b.port), 0o644); err != nil {
		return nil, err
	}
	if b.proc, err = (testproc.Command{Bin: bin, Args: []string{file}, Dir: dir, Log: &b.log, User: user}).Start(); err != nil {
		return nil, err
	}
	for deadline := time.Now().Add(startTimeout); ; time.Sleep(5 * time.Millisecond) {
		conn, err := net.Dial("tcp", b.Addr())
		if err == nil {
			return b, conn.Close()
		}
		if b.proc.Ended() || time.Now().After(deadline) {
			b.proc.Kill()
			return nil, fmt.Errorf("pgtest: PgBouncer does not start: %w\n%s", err, b.log.String())
		}
	}
}

// Addr returns "127.0.0.1:port".
func (b *Bouncer) Addr() string { return net.JoinHostPort(testproc.Loopback, strconv.Itoa(b.port)) }

// URL returns the URL of the database, with parameters.
func (b *Bouncer) URL(params ...string) string { return URL("postgres", b.Addr(), params...) }

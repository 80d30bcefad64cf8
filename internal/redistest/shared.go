package redistest

import (
	"sync"
	"sync/atomic"
	"testing"

	"github.com/taskstore/taskstore/internal/testproc"
)

var (
	mainRuns atomic.Bool

	closersMu sync.Mutex
	closers   []func()
)

// Main runs the tests of a package that shares servers, and ends these after the last test.
// It is the body of TestMain, or its last call:
//
//	func TestMain(m *testing.M) { redistest.Main(m) }
func Main(m *testing.M) {
	mainRuns.Store(true)
	// TestMain must return instead of exiting: go test then exits with the result.
	defer testproc.RemoveRoot()
	defer closeShared()
	m.Run()
}

func closeShared() {
	closersMu.Lock()
	defer closersMu.Unlock()
	for _, closer := range closers {
		closer()
	}
	closers = nil
}

// The shared servers start at their first use. A failed start is not retried, because each
// later use would cost its time limit. Tests must not kill them, so their timeouts are
// long: on a busy machine a second of silence does not mean that a server is dead.
var (
	sharedServer = sync.OnceValues(func() (*Server, error) {
		s, err := startServer(Config{})
		return share(s, err, func() []*Server { return []*Server{s} })
	})
	sharedCluster = sync.OnceValues(func() (*Cluster, error) {
		c, err := startCluster([]string{"--cluster-node-timeout", "15000"})
		return share(c, err, func() []*Server { return c.nodes() })
	})
	sharedSentinel = sync.OnceValues(func() (*Sentinel, error) {
		s, err := startSentinel(15000, nil)
		return share(s, err, func() []*Server { return s.servers() })
	})
)

// share hands the servers of a successful start to Main.
func share[T any](v T, err error, servers func() []*Server) (T, error) {
	if err == nil {
		closersMu.Lock()
		defer closersMu.Unlock()
		closers = append(closers, func() { closeAll(servers()) })
	}
	return v, err
}

// Shared returns one server for the whole test binary, as [Start] makes it. The first call
// starts it; if that fails, every call fails its test with the same message. It needs
// [Main]. Its tests must use keys of their own, and must not stop or change the server,
// because that would disturb other tests.
func Shared(tb testing.TB) *Server {
	tb.Helper()
	s := use(tb, sharedServer)
	logSharedOnFailure(tb, s)
	return s
}

// SharedURL returns [ExternalURL] or else the URL of the [Shared] server.
func SharedURL(tb testing.TB) string {
	tb.Helper()
	if url, ok := ExternalURL(); ok {
		return url
	}
	return Shared(tb).URL()
}

// SharedCluster is [Shared] for [StartCluster].
func SharedCluster(tb testing.TB) *Cluster {
	tb.Helper()
	c := use(tb, sharedCluster)
	logSharedOnFailure(tb, c.nodes()...)
	return c
}

// SharedSentinel is [Shared] for [StartSentinel].
func SharedSentinel(tb testing.TB) *Sentinel {
	tb.Helper()
	s := use(tb, sharedSentinel)
	logSharedOnFailure(tb, s.servers()...)
	return s
}

func use[T any](tb testing.TB, start func() (T, error)) T {
	tb.Helper()
	if !mainRuns.Load() {
		tb.Fatal("redistest: a shared server needs redistest.Main in TestMain")
	}
	v, err := start()
	if err != nil {
		tb.Fatal(err)
	}
	return v
}

func logSharedOnFailure(tb testing.TB, servers ...*Server) {
	tb.Cleanup(func() {
		if !tb.Failed() {
			return
		}
		for _, s := range servers {
			tb.Log(s.logOnFailure())
		}
	})
}

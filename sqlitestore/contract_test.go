package sqlitestore_test

import (
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/taskstore/taskstore"
	"github.com/taskstore/taskstore/backendtest"
	"github.com/taskstore/taskstore/sqlitestore"
)

// open opens the file at path for a test.
func open(tb testing.TB, path string, opts *sqlitestore.Options) *sqlitestore.Backend {
	tb.Helper()
	b, err := sqlitestore.Open(tb.Context(), path, opts)
	require.NoError(tb, err)
	tb.Cleanup(func() { _ = b.Close() })
	return b
}

// fresh opens a file of the test's own.
func fresh(tb testing.TB, opts *sqlitestore.Options) *sqlitestore.Backend {
	tb.Helper()
	return open(tb, filepath.Join(tb.TempDir(), "tasks.db"), opts)
}

// paths remembers the path and options of each backend, to open it again.
type paths struct {
	mu  sync.Mutex
	all map[taskstore.StorageBackend]opened
}

type opened struct {
	path string
	opts sqlitestore.Options
}

func (p *paths) open(tb testing.TB, o opened) taskstore.StorageBackend {
	b := open(tb, o.path, &o.opts)
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.all == nil {
		p.all = make(map[taskstore.StorageBackend]opened)
	}
	p.all[b] = o
	return b
}

func (p *paths) reopen(tb testing.TB, b taskstore.StorageBackend) taskstore.StorageBackend {
	p.mu.Lock()
	o := p.all[b]
	p.mu.Unlock()
	require.NoError(tb, b.(*sqlitestore.Backend).Close())
	return p.open(tb, o)
}

func TestSQLiteKeepsTheContract(t *testing.T) {
	var p paths
	backendtest.Run(t, func(tb testing.TB) taskstore.StorageBackend {
		return p.open(tb, opened{path: filepath.Join(tb.TempDir(), "tasks.db")})
	}, p.hooks())
}

func (p *paths) hooks() *backendtest.Hooks {
	return &backendtest.Hooks{
		OpenLimited: func(tb testing.TB, records, bytes int) taskstore.StorageBackend {
			return p.open(tb, opened{filepath.Join(tb.TempDir(), "tasks.db"), sqlitestore.Options{MaxRecordsPerOwner: records, MaxDataBytes: bytes}})
		},
		Reopen: p.reopen,
	}
}

// The backends of one file share its records as those of one server do. Everybody's
// watchers look at everybody's writes, from other connections.
func TestOneFileKeepsTheContract(t *testing.T) {
	var p paths
	path := filepath.Join(t.TempDir(), "tasks.db")
	backendtest.Run(t, func(tb testing.TB) taskstore.StorageBackend {
		return p.open(tb, opened{path, sqlitestore.Options{SynchronousNormal: true, WatchInterval: time.Millisecond}})
	}, p.hooks())
}

//go:build integration

package pgstore

import (
	"crypto/rand"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/taskstore/taskstore"
	"github.com/taskstore/taskstore/backendtest"
	"github.com/taskstore/taskstore/internal/faultproxy"
	"github.com/taskstore/taskstore/internal/pgtest"
)

func TestKeepsTheContract(t *testing.T) {
	s := pgtest.Shared(t)
	keepsTheContract(t, s, Options{Schema: newSchema(t, s.URL())})
}

func TestKeepsTheContractWithNotify(t *testing.T) {
	s := pgtest.Shared(t)
	// Polls alone would be too late for the rules.
	keepsTheContract(t, s, Options{Schema: newSchema(t, s.URL()), Notify: true, PollInterval: time.Hour})
}

// keepsTheContract runs the suite on connections that lead to the server itself.
func keepsTheContract(t *testing.T, s *pgtest.Server, opts Options) {
	root := admin(t, s.URL())
	openNamed := func(tb testing.TB, opts Options) taskstore.StorageBackend {
		name := rand.Text()
		b := open(tb, s.URL("application_name="+name), opts)
		names.Store(b, name)
		return b
	}
	backendtest.Run(t,
		func(tb testing.TB) taskstore.StorageBackend { return openNamed(tb, opts) },
		&backendtest.Hooks{
			OpenLimited: func(tb testing.TB, records, bytes int) taskstore.StorageBackend {
				o := opts
				o.MaxRecordsPerOwner, o.MaxDataBytes = records, bytes
				return openNamed(tb, o)
			},
			Break: func(tb testing.TB, b taskstore.StorageBackend) {
				name, _ := names.Load(b)
				// The server waits for the end of each for a second at most.
				query[int](tb, root, "", "SELECT count(pg_terminate_backend(pid, 1000)) FROM pg_stat_activity WHERE application_name = $1", name)
			},
			Reopen: func(tb testing.TB, b taskstore.StorageBackend) taskstore.StorageBackend {
				require.NoError(tb, b.(*Backend).Close())
				return openNamed(tb, b.(*Backend).opts)
			},
		})
}

// A backend keeps the contract behind a pooler that gives each transaction another
// connection.
func TestKeepsTheContractBehindPgBouncer(t *testing.T) {
	s := pgtest.Shared(t)
	bouncer := s.StartBouncer(t)
	schema := newSchema(t, bouncer.URL())
	proxies := make(chan map[taskstore.StorageBackend]*faultproxy.Proxy, 1)
	proxies <- map[taskstore.StorageBackend]*faultproxy.Proxy{}
	openProxied := func(tb testing.TB, opts Options) taskstore.StorageBackend {
		p := faultproxy.NewPostgres()
		addr, err := p.Addr(bouncer.Addr())
		require.NoError(tb, err)
		opts.Schema = schema
		tb.Cleanup(p.Close)
		b := open(tb, pgtest.URL("postgres", addr), opts)
		all := <-proxies
		all[b] = p
		proxies <- all
		return b
	}
	backendtest.Run(t,
		func(tb testing.TB) taskstore.StorageBackend { return openProxied(tb, Options{}) },
		&backendtest.Hooks{
			OpenLimited: func(tb testing.TB, records, bytes int) taskstore.StorageBackend {
				return openProxied(tb, Options{MaxRecordsPerOwner: records, MaxDataBytes: bytes})
			},
			Break: func(_ testing.TB, b taskstore.StorageBackend) {
				all := <-proxies
				all[b].Cut()
				proxies <- all
			},
		})
}

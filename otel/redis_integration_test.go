//go:build integration

package taskotel_test

import (
	"testing"

	"github.com/stretchr/testify/assert"

	"github.com/taskstore/taskstore"
	"github.com/taskstore/taskstore/backendtest"
	"github.com/taskstore/taskstore/internal/redistest"
	"github.com/taskstore/taskstore/internal/storetest"
)

func TestMain(m *testing.M) { redistest.Main(m) }

func TestMeasuredRedisKeepsTheContract(t *testing.T) {
	e := newExporter(t)
	url := redistest.SharedURL(t)
	open := func(tb testing.TB, opts taskstore.RedisOptions) taskstore.StorageBackend {
		opts.Resent = e.Resent
		return e.Backend(storetest.Open(tb, url, opts))
	}
	backendtest.Run(t,
		func(tb testing.TB) taskstore.StorageBackend { return open(tb, taskstore.RedisOptions{}) },
		&backendtest.Hooks{
			OpenLimited: func(tb testing.TB, records, bytes int) taskstore.StorageBackend {
				return open(tb, taskstore.RedisOptions{MaxRecordsPerOwner: records, MaxDataBytes: bytes})
			},
		})
}

// A server that goes away and comes back has the backend send again.
func TestResendsOfARedisBackendAreCounted(t *testing.T) {
	e := newExporter(t)
	server := redistest.Start(t)
	b := e.Backend(storetest.Open(t, server.URL(), taskstore.RedisOptions{Resent: e.Resent}))
	key := taskstore.Key{Owner: "alice", Task: "one"}
	_, err := b.Put(t.Context(), key, taskstore.Value{})
	assert.NoError(t, err)
	assert.Equal(t, map[string]int64{"": 0}, e.counts("taskstore.operation.resends"))
	server.Kill()
	written := make(chan error, 1)
	go func() {
		_, err := b.Put(t.Context(), key, taskstore.Value{})
		written <- err
	}()
	eventually(t, "a resend", func() bool { return e.counts("taskstore.operation.resends")[""] > 0 })
	server.Restart()
	assert.NoError(t, <-written)
}

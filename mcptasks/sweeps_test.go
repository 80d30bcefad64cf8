package mcptasks_test

import (
	"context"
	"log/slog"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/modelcontextprotocol/go-sdk/mcp"

	"github.com/taskstore/taskstore"
	"github.com/taskstore/taskstore/mcptasks"
	"github.com/taskstore/taskstore/tasks"
)

// A looked store counts its lists, and calls end after too many.
type looked struct {
	taskstore.StorageBackend
	n   atomic.Int32
	end context.CancelFunc
}

func (l *looked) ListByPrefix(ctx context.Context, prefix taskstore.Key) ([]taskstore.Record, error) {
	if l.n.Add(1) > 100_000 {
		l.end()
	}
	return l.StorageBackend.ListByPrefix(ctx, prefix)
}

// Between two looks for lost tasks lies a pause of a little more than a third of a
// lease, however long that is.
func TestLooksForLostTasksHaveAPauseBetweenThem(t *testing.T) {
	for lease, looks := range map[time.Duration]int32{
		30 * time.Second: 327, 10 * time.Second: 981, time.Hour: 3, 100 * 365 * 24 * time.Hour: 1,
	} {
		t.Run(lease.String(), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				ctx, cancel := context.WithTimeout(t.Context(), time.Hour)
				store := &looked{StorageBackend: memory(), end: cancel}
				r := startDirect(t, store, &mcptasks.Options{Tasks: tasks.Options{Lease: lease}}, func(*mcptasks.Tasks, *mcp.Server) {})
				if err := r.tasks.Run(ctx, r.mcp); err != nil {
					t.Error(err)
				}
				const buckets = 16
				if n := store.n.Load(); n < (looks-1)*buckets || n > (looks+1)*buckets {
					t.Errorf("%d looks in an hour, not about %d", n/buckets, looks)
				}
			})
		})
	}
}

// A task waits ten leases for a server with its tool, also if these are very long.
func TestATaskIsNotGivenUpBeforeItsLeasesAreOver(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store, opts := memory(), &mcptasks.Options{Tasks: tasks.Options{Lease: 100 * 365 * 24 * time.Hour}}
		var runs atomic.Int32
		old := startDirect(t, store, opts, resumable(&runs, time.Hour, mcptasks.ToolOptions{}))
		id := old.as("alice").create("work", nil)
		if err := old.tasks.Shutdown(t.Context()); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Second)
		r := startDirect(t, store, opts, func(*mcptasks.Tasks, *mcp.Server) {})
		stop := r.run(t.Context())
		time.Sleep(time.Hour)
		if got := r.as("alice").get(id); got.Result["status"] != "working" {
			t.Errorf("after an hour: %v", got)
		}
		if err := stop(); err != nil {
			t.Error(err)
		}
	})
}

// The server logs a failed look for lost tasks, unless its own stop ended the look.
func TestALookThatFailsIsLogged(t *testing.T) {
	const line = "the search for lost tasks failed"
	synctest.Test(t, func(t *testing.T) {
		store := &failing{StorageBackend: memory()}
		log := new(lockedBuffer)
		r := startDirect(t, store, &mcptasks.Options{Logger: slog.New(slog.NewTextHandler(log, nil))}, func(*mcptasks.Tasks, *mcp.Server) {})
		stop := r.run(t.Context())
		time.Sleep(time.Second)
		store.during(time.Minute)
		if err := stop(); err != nil || !strings.Contains(log.String(), line) {
			t.Errorf("Run: %v, the log: %s", err, log)
		}
	})
	synctest.Test(t, func(t *testing.T) {
		log := new(lockedBuffer)
		r := startDirect(t, unlisted{memory()}, &mcptasks.Options{Logger: slog.New(slog.NewTextHandler(log, nil))}, func(*mcptasks.Tasks, *mcp.Server) {})
		stop := r.run(t.Context())
		time.Sleep(time.Minute)
		if err := stop(); err != nil || strings.Contains(log.String(), line) {
			t.Errorf("Run: %v, the log: %s", err, log)
		}
	})
}

// An unlisted store holds each list until the caller has gone.
type unlisted struct{ taskstore.StorageBackend }

func (u unlisted) ListPage(ctx context.Context, _ taskstore.Key, _ string, _ int) ([]taskstore.Record, string, error) {
	<-ctx.Done()
	return nil, "", ctx.Err()
}

package mcptasks_test

import (
	"bytes"
	"context"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/modelcontextprotocol/go-sdk/mcp"

	"github.com/taskstore/taskstore"
	"github.com/taskstore/taskstore/mcptasks"
	domain "github.com/taskstore/taskstore/tasks"
)

// A renewal that failed is tried again at once and then often, however long the store
// was away, and not at the next third of the lease.
func TestAFailedRenewalIsTriedAgainSoon(t *testing.T) {
	for name, away := range map[string]time.Duration{"for a moment": 200 * time.Millisecond, "for most of a lease": 9 * time.Second} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				store := &failing{StorageBackend: memory()}
				r, id, cause := told(t, store, domain.Options{})
				time.Sleep(9900 * time.Millisecond) // the first renewal is due at 10 s
				store.during(away)
				back := time.Now()
				time.Sleep(1100 * time.Millisecond)
				task, err := r.tasks.Store().Get(t.Context(), "n:alice", id)
				if err != nil || task.Lease.ExpiresAt.Before(back.Add(30*time.Second)) {
					t.Errorf("the lease ends %v after the store was back, %v", task.Lease.ExpiresAt.Sub(back), err)
				}
				r.as("alice").cancel(id)
				<-cause
				if err := r.tasks.Shutdown(t.Context()); err != nil {
					t.Error(err)
				}
			})
		})
	}
}

// A picky store does not take ends of tasks.
type picky struct{ failing }

func (p *picky) PutIfVersion(ctx context.Context, key taskstore.Key, v taskstore.Value, expected taskstore.Version) (taskstore.Version, error) {
	if p.failure() != nil && !bytes.Contains(v.Data, []byte("completed")) {
		return p.StorageBackend.PutIfVersion(ctx, key, v, expected)
	}
	return p.failing.PutIfVersion(ctx, key, v, expected)
}

func (p *picky) PutBatch(ctx context.Context, writes []taskstore.Write) error {
	if p.failure() != nil && !bytes.Contains(writes[0].Data, []byte("completed")) {
		return taskstore.PutBatch(ctx, p.StorageBackend, writes)
	}
	return p.failing.PutBatch(ctx, writes)
}

func (p *picky) Get(ctx context.Context, key taskstore.Key) (taskstore.Record, error) {
	return p.StorageBackend.Get(ctx, key)
}

func (p *picky) Now(ctx context.Context) (time.Time, error) {
	return taskstore.Now(ctx, p.StorageBackend)
}

// While an outcome waits for the store, its task is kept as while the handler ran.
func TestTheLeaseIsKeptWhileAnOutcomeWaits(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := &picky{failing{StorageBackend: memory()}}
		r := startDirect(t, store, &mcptasks.Options{}, func(tasks *mcptasks.Tasks, server *mcp.Server) {
			add(tasks, server, "work", func(context.Context, *mcp.CallToolRequest, none) (*mcp.CallToolResult, any, error) {
				return text("done"), nil, nil
			}, nil)
		})
		store.fail(errAway)
		c := r.as("alice")
		id := c.create("work", nil)
		for range 300 {
			time.Sleep(time.Second)
			if got := c.get(id); got.Result["status"] != "working" {
				t.Fatalf("while the outcome waits: %v", got)
			}
		}
		store.fail(nil)
		time.Sleep(2 * time.Second)
		if got := c.get(id); got.Result["status"] != "completed" {
			t.Errorf("afterwards: %v", got)
		}
		if err := r.tasks.Shutdown(t.Context()); err != nil {
			t.Error(err)
		}
	})
}

// A task that runs on beyond its TTL is logged once, and its end at MaxTTL too.
func TestALongTaskIsLoggedOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		log := new(lockedBuffer)
		opts := &mcptasks.Options{Logger: slog.New(slog.NewTextHandler(log, nil)), Tasks: domain.Options{DefaultTTL: time.Minute, MaxTTL: time.Hour}}
		cause := make(chan error, 1)
		r := startDirect(t, memory(), opts, waiting(cause))
		r.as("alice").create("wait", nil)
		within(t, 61*time.Minute, cause, mcptasks.ErrExpired)
		if err := r.tasks.Shutdown(t.Context()); err != nil {
			t.Error(err)
		}
		if lines := log.String(); strings.Count(lines, "\n") != 2 || strings.Count(lines, "beyond its TTL") != 1 || strings.Count(lines, "is given up") != 1 {
			t.Errorf("the log: %s", lines)
		}
	})
}

// A progress token belongs to the request that brought it. The server does not store it,
// so a later call of the handler has no token.
func TestAProgressTokenIsNotStored(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		seen := make(chan any, 2)
		r := startDirect(t, memory(), &mcptasks.Options{}, func(tasks *mcptasks.Tasks, server *mcp.Server) {
			add(tasks, server, "ask", func(ctx context.Context, req *mcp.CallToolRequest, in none) (*mcp.CallToolResult, any, error) {
				seen <- req.Params.GetProgressToken()
				return confirm(ctx, req, in)
			}, nil)
		})
		c := r.as("alice")
		got := c.do("tools/call", map[string]any{"name": "ask", "arguments": map[string]any{}, "_meta": map[string]any{"progressToken": "secret"}})
		id, _ := got.Result["taskId"].(string)
		c.until(id, "input_required")
		task, err := r.tasks.Store().Get(t.Context(), "n:alice", id)
		if err != nil || bytes.Contains(task.Request, []byte("secret")) || bytes.Contains(task.Request, []byte("progressToken")) {
			t.Errorf("the stored request: %s, %v", task.Request, err)
		}
		c.update(id, map[string]any{"confirm": accept(nil)})
		c.until(id, "completed")
		if first, later := <-seen, <-seen; first != "secret" || later != nil {
			t.Errorf("the handler saw %v, then %v", first, later)
		}
		if err := r.tasks.Shutdown(t.Context()); err != nil {
			t.Error(err)
		}
	})
}

// A task that runs beyond its TTL is logged once, by the first renewal that finds it so.
// A task without a TTL stays out of the log.
func TestATaskThatRunsBeyondItsTTLIsLoggedOnce(t *testing.T) {
	for name, c := range map[string]struct {
		ttl  time.Duration
		want []time.Duration // since the task was created; the lease is renewed every 10 s
	}{
		"at a renewal":        {60 * time.Second, []time.Duration{70 * time.Second}},
		"between renewals":    {61 * time.Second, []time.Duration{70 * time.Second}},
		"before a renewal":    {59 * time.Second, []time.Duration{60 * time.Second}},
		"longer than it runs": {time.Hour, nil},
		"no TTL":              {-1, nil},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				var ends atomic.Int32
				lines := &timed{message: "mcptasks: a task runs on beyond its TTL"}
				opts := &mcptasks.Options{Logger: slog.New(lines), Tasks: domain.Options{DefaultTTL: c.ttl}}
				if c.ttl < 0 {
					opts.Tasks.MaxTTL = -1
				}
				r := startDirect(t, memory(), opts, healthy(2*time.Minute, &ends))
				begun := time.Now()
				r.as("alice").create("work", nil)
				time.Sleep(3 * time.Minute)
				var got []time.Duration
				for _, at := range lines.times() {
					got = append(got, at.Sub(begun))
				}
				if !slices.Equal(got, c.want) {
					t.Errorf("logged %v after the create, not %v", got, c.want)
				}
				if err := r.tasks.Shutdown(t.Context()); err != nil {
					t.Error(err)
				}
			})
		})
	}
}

// A timed handler keeps when lines with its message were written.
type timed struct {
	slog.Handler
	message string
	mu      sync.Mutex
	at      []time.Time
}

func (h *timed) times() []time.Time {
	h.mu.Lock()
	defer h.mu.Unlock()
	return slices.Clone(h.at)
}

func (h *timed) Enabled(context.Context, slog.Level) bool { return true }
func (h *timed) WithAttrs([]slog.Attr) slog.Handler       { return h }

func (h *timed) Handle(_ context.Context, r slog.Record) error {
	h.mu.Lock()
	defer h.mu.Unlock()
	if r.Message == h.message {
		h.at = append(h.at, r.Time)
	}
	return nil
}

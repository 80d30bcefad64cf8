package mcptasks_test

import (
	"context"
	"errors"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/modelcontextprotocol/go-sdk/mcp"

	"github.com/taskstore/taskstore"
	"github.com/taskstore/taskstore/mcptasks"
	domain "github.com/taskstore/taskstore/tasks"
)

// told starts a replica with a tool that only waits and calls it. The channel cause gets
// the cause with which the handler's ctx ended.
func told(t *testing.T, store taskstore.StorageBackend, opts domain.Options) (r *replica, id string, cause chan error) {
	t.Helper()
	cause = make(chan error, 1)
	r = startDirect(t, store, &mcptasks.Options{Tasks: opts}, waiting(cause))
	return r, r.as("alice").create("wait", nil), cause
}

// within holds that the handler is told so within d.
func within(t *testing.T, d time.Duration, cause chan error, want error) {
	t.Helper()
	select {
	case got := <-cause:
		if !errors.Is(got, want) {
			t.Errorf("the handler was told %v", got)
		}
	case <-time.After(d):
		t.Errorf("the handler was not told within %v", d)
		<-cause
	}
}

// seldom are options with long polls and leases: only hints and renewals are seen soon.
var seldom = domain.Options{PollInterval: time.Hour, Lease: time.Hour}

// A cancel of which no hint comes is seen by the next renewal, long before anybody
// looks because the lease would be over.
func TestARenewalSeesACancel(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r, id, cause := told(t, deaf{memory()}, domain.Options{PollInterval: time.Hour, Lease: 30 * time.Second})
		time.Sleep(time.Second)
		if got := r.as("alice").cancel(id); got.Error != nil {
			t.Fatal(got)
		}
		within(t, 10*time.Second, cause, mcptasks.ErrCancelled)
		if err := r.tasks.Shutdown(t.Context()); err != nil {
			t.Error(err)
		}
	})
}

// A task that is removed is noticed by its hint.
func TestAHintTellsThatATaskIsGone(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r, id, cause := told(t, memory(), seldom)
		time.Sleep(time.Second)
		if err := r.tasks.Store().Delete(t.Context(), "n:alice", id); err != nil {
			t.Fatal(err)
		}
		within(t, time.Second, cause, mcptasks.ErrLost)
		if err := r.tasks.Shutdown(t.Context()); err != nil {
			t.Error(err)
		}
	})
}

// An ahead store has a clock that is ahead of the one below it.
type ahead struct {
	taskstore.StorageBackend
	by atomic.Int64
}

func (a *ahead) Now(ctx context.Context) (time.Time, error) {
	now, err := taskstore.Now(ctx, a.StorageBackend)
	return now.Add(time.Duration(a.by.Load())), err
}

func (a *ahead) Unwrap() taskstore.StorageBackend { return a.StorageBackend }

// A take-over is noticed by its hint, also while the runner cannot write.
func TestAHintTellsThatATaskWasTakenOver(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := memory()
		runners := &unable{StorageBackend: store}
		cause := make(chan error, 1)
		r := startDirect(t, runners, &mcptasks.Options{Tasks: seldom}, func(tasks *mcptasks.Tasks, server *mcp.Server) {
			add(tasks, server, "wait", func(ctx context.Context, _ *mcp.CallToolRequest, _ none) (*mcp.CallToolResult, any, error) {
				<-ctx.Done()
				cause <- context.Cause(ctx)
				return nil, nil, ctx.Err()
			}, &mcptasks.ToolOptions{Retry: true})
		})
		id := r.as("alice").create("wait", nil)
		time.Sleep(time.Second)
		runners.refuses.Store(true)
		others := &ahead{StorageBackend: store}
		other, err := domain.New(others, &seldom)
		if err != nil {
			t.Fatal(err)
		}
		others.by.Store(int64(2 * time.Hour))
		if _, err := other.Acquire(t.Context(), "n:alice", id, "other"); !errors.Is(err, domain.ErrLeaseHeld) {
			t.Fatalf("the first attempt only suspects: %v", err)
		}
		others.by.Store(int64(3 * time.Hour))
		if _, err := other.Acquire(t.Context(), "n:alice", id, "other"); err != nil {
			t.Fatal(err)
		}
		within(t, 100*time.Millisecond, cause, mcptasks.ErrLost)
		if err := r.tasks.Shutdown(t.Context()); err != nil {
			t.Error(err)
		}
	})
}

// A runner that is suspected renews at once, before its next renewal is due: the
// clock of the store may have gone ahead.
func TestASuspicionIsAnsweredAtOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := &ahead{StorageBackend: memory()}
		r, id, cause := told(t, store, domain.Options{})
		time.Sleep(time.Second)
		store.by.Store(int64(31 * time.Second))
		c := r.as("alice")
		c.get(id) // suspects
		time.Sleep(time.Second)
		task, err := r.tasks.Store().Get(t.Context(), "n:alice", id)
		if err != nil || !task.Lease.IdleSince.IsZero() {
			t.Errorf("a second later: %+v, %v", task.Lease, err)
		}
		c.cancel(id)
		<-cause
		if err := r.tasks.Shutdown(t.Context()); err != nil {
			t.Error(err)
		}
	})
}

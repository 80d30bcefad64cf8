package mcptasks_test

import (
	"context"
	"encoding/json"
	"fmt"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/modelcontextprotocol/go-sdk/mcp"

	"github.com/taskstore/taskstore"
	"github.com/taskstore/taskstore/mcptasks"
	domain "github.com/taskstore/taskstore/tasks"
)

// A losing store applies the next write of a task, when it is armed, and is away
// before it can say so.
type losing struct {
	failing
	armed atomic.Bool
}

func (l *losing) PutIfVersion(ctx context.Context, key taskstore.Key, v taskstore.Value, expected taskstore.Version) (taskstore.Version, error) {
	version, err := l.failing.PutIfVersion(ctx, key, v, expected)
	if err == nil && isTaskKey(key) && l.armed.CompareAndSwap(true, false) {
		l.fail(errAway)
		return 0, fmt.Errorf("%w: %w", taskstore.ErrOutcomeUnknown, errAway)
	}
	return version, err
}

// A client that misses the acknowledgement of its last answer sends the answer again. The
// replica that gets it resumes the task, because it may be the only one left to do so.
func TestAnAnswerThatIsRepeatedIsGoneOnWith(t *testing.T) {
	tools := func(tasks *mcptasks.Tasks, server *mcp.Server) { add(tasks, server, "ask", confirm, nil) }
	answers := map[string]any{"confirm": accept(nil)}
	for name, take := range map[string]func(t *testing.T, r *replica, store *losing, id string){
		"the store's answer was lost": func(t *testing.T, r *replica, store *losing, id string) {
			store.armed.Store(true)
			if got := r.as("alice").update(id, answers); got.HTTP != 503 {
				t.Fatalf("while the store is away: %v", got)
			}
			store.fail(nil)
		},
		"the replica died": func(t *testing.T, _ *replica, store *losing, id string) {
			dead, err := domain.New(store, nil)
			if err != nil {
				t.Fatal(err)
			}
			task, err := dead.ProvideInput(t.Context(), "n:alice", id, map[string]json.RawMessage{"confirm": json.RawMessage(`{"action":"accept"}`)}, nil)
			if err != nil || task.Status != domain.Working {
				t.Fatalf("%v, %v", task, err)
			}
		},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				store := &losing{failing: failing{StorageBackend: memory()}}
				r := startDirect(t, store, &mcptasks.Options{}, tools)
				defer func() { _ = r.tasks.Shutdown(t.Context()) }()
				c := r.as("alice")
				id := c.create("ask", nil)
				c.until(id, "input_required")
				take(t, r, store, id)
				for range 3 { // however often
					if got := c.update(id, answers); got.Error != nil {
						t.Errorf("the repeated answer: %v", got)
					}
				}
				time.Sleep(time.Second)
				if got := c.get(id); got.Result["status"] != "completed" || textOf(got) != "answered: accept" {
					t.Errorf("the task: %v", got)
				}
			})
		})
	}
}

// A replica that could not go on refuses the repeated answer too, for another to
// take it.
func TestARepeatedAnswerIsTakenOnlyByAServerThatCanGoOn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := &losing{failing: failing{StorageBackend: memory()}}
		able := startDirect(t, store, &mcptasks.Options{}, func(tasks *mcptasks.Tasks, server *mcp.Server) {
			add(tasks, server, "ask", confirm, nil)
		})
		defer func() { _ = able.tasks.Shutdown(t.Context()) }()
		without := startDirect(t, store, &mcptasks.Options{}, func(*mcptasks.Tasks, *mcp.Server) {})
		other := startDirect(t, store, &mcptasks.Options{Name: "other"}, func(tasks *mcptasks.Tasks, server *mcp.Server) {
			add(tasks, server, "ask", confirm, nil)
		})
		id := able.as("alice").create("ask", nil)
		able.as("alice").until(id, "input_required")
		answers := map[string]any{"confirm": accept(nil)}
		store.armed.Store(true)
		able.as("alice").update(id, answers)
		store.fail(nil)
		if got := without.as("alice").update(id, answers); got.HTTP != 503 || got.Error.Data["retryable"] != true {
			t.Errorf("without the tool: %v", got)
		}
		other.as("alice").update(id, answers)
		time.Sleep(time.Second)
		if got := able.as("alice").get(id); got.Result["status"] != "working" {
			t.Errorf("a server of another name went on: %v", got)
		}
		if got := able.as("alice").update(id, answers); got.Error != nil {
			t.Errorf("a replica that can go on: %v", got)
		}
		able.as("alice").until(id, "completed")
	})
}

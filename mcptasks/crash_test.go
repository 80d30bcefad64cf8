package mcptasks_test

import (
	"context"
	"errors"
	"sync"
	"testing"
	"time"

	"github.com/modelcontextprotocol/go-sdk/mcp"

	"github.com/taskstore/taskstore"
	"github.com/taskstore/taskstore/mcptasks"
	"github.com/taskstore/taskstore/tasks"
)

// A gate is a store that holds writes back while it is shut, like a process that is
// stopped.
type gate struct {
	taskstore.StorageBackend
	mu sync.RWMutex
}

func (g *gate) PutIfVersion(ctx context.Context, key taskstore.Key, value taskstore.Value, expected taskstore.Version) (taskstore.Version, error) {
	g.mu.RLock()
	defer g.mu.RUnlock()
	return g.StorageBackend.PutIfVersion(ctx, key, value, expected)
}

func (g *gate) PutBatch(ctx context.Context, writes []taskstore.Write) error {
	g.mu.RLock()
	defer g.mu.RUnlock()
	return taskstore.PutBatch(ctx, g.StorageBackend, writes)
}

// short are options with a lease that a test can wait for.
func short() *mcptasks.Options {
	o := fast()
	o.Tasks.Lease = 300 * time.Millisecond
	return o
}

// A runner that was thought dead can no longer change its task.
func TestStaleRunner(t *testing.T) {
	onEach(t, func(t *testing.T, open opener) {
		stopped := &gate{StorageBackend: open()}
		ended := make(chan error, 1)
		finish := make(chan struct{})
		tools := func(tasks *mcptasks.Tasks, server *mcp.Server) {
			add(tasks, server, "stubborn", func(ctx context.Context, _ *mcp.CallToolRequest, _ none) (*mcp.CallToolResult, any, error) {
				<-finish
				<-ctx.Done()
				ended <- context.Cause(ctx)
				return text("too late"), nil, nil
			}, nil)
		}
		one, two := start(t, stopped, short(), tools).as("alice"), start(t, open(), short(), tools).as("alice")
		id := one.create("stubborn", nil)
		stopped.mu.Lock()
		before := two.until(id, "failed")
		close(finish)
		stopped.mu.Unlock()
		if cause := <-ended; !errors.Is(cause, mcptasks.ErrLost) {
			t.Errorf("the handler was told %v", cause)
		}
		if err := one.tasks.Shutdown(t.Context()); err != nil { // its last write is over
			t.Fatal(err)
		}
		if after := two.get(id); after.String() != before.String() {
			t.Errorf("before %v\nafter %v", before, after)
		}
	})
}

// A task of a tool that opted in goes on after its replica died without a word.
func TestResumeAfterCrash(t *testing.T) {
	onEach(t, func(t *testing.T, open opener) {
		r := start(t, open(), short(), func(tasks *mcptasks.Tasks, server *mcp.Server) {
			add(tasks, server, "resumable", confirm, &mcptasks.ToolOptions{Retry: true})
			add(tasks, server, "other", confirm, nil)
		})
		dead, err := tasks.New(open(), &short().Tasks)
		if err != nil {
			t.Fatal(err)
		}
		create := func(tool string) string {
			task, _, err := dead.Create(t.Context(), "n:alice", tasks.CreateParams{
				Request: []byte(`{"name":"` + tool + `","arguments":{},"_meta":{"io.modelcontextprotocol/protocolVersion":"2026-07-28","io.modelcontextprotocol/clientCapabilities":{"elicitation":{}}}}`),
				Holder:  "dead", Resumable: true, Service: "test",
			})
			if err != nil {
				t.Fatal(err)
			}
			return task.ID
		}
		mine, another := create("resumable"), create("of another server")
		ctx, stop := context.WithCancel(t.Context())
		ran := make(chan error, 1)
		go func() { ran <- r.tasks.Run(ctx, r.mcp) }()
		c := r.as("alice")
		c.until(mine, "input_required")
		c.update(mine, map[string]any{"confirm": accept(nil)})
		if got := textOf(c.until(mine, "completed")); got != "answered: accept" {
			t.Errorf("resumed: %q", got)
		}
		if got := c.get(another); got.Result["status"] != "working" {
			t.Errorf("a task of a tool that this server does not have: %v", got)
		}
		stop()
		<-ran
	})
}

func TestThousandTasks(t *testing.T) {
	noLeaks(t)
	release := make(chan struct{})
	close(release)
	opts := fast()
	opts.Tasks.MaxActive = -1
	c := start(t, memory(), opts, statusTools(release)).as("alice")
	var ids []string
	for range 1000 {
		ids = append(ids, c.create("work", nil))
	}
	for _, id := range ids {
		c.until(id, "completed")
	}
}

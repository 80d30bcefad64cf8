package mcptasks_test

import (
	"context"
	"errors"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/modelcontextprotocol/go-sdk/mcp"

	"github.com/taskstore/taskstore"
	"github.com/taskstore/taskstore/mcptasks"
	domain "github.com/taskstore/taskstore/tasks"
)

// An outcome beyond the backend's limits fails its task at once, as one beyond the limits
// of tasks does.
func TestResultBeyondTheBackendFailsTheTask(t *testing.T) {
	opts := fast()
	opts.Tasks.Lease = 10 * time.Minute // as long as it would try again
	store := taskstore.NewMemoryBackend(&taskstore.MemoryOptions{MaxDataBytes: 16 << 10})
	big := strings.Repeat("x", 20<<10)
	c := start(t, store, opts, func(tasks *mcptasks.Tasks, server *mcp.Server) {
		add(tasks, server, "result", func(context.Context, *mcp.CallToolRequest, none) (*mcp.CallToolResult, any, error) {
			return text(big), nil, nil
		}, nil)
		add(tasks, server, "question", func(context.Context, *mcp.CallToolRequest, none) (*mcp.CallToolResult, any, error) {
			return &mcp.CallToolResult{InputRequests: mcp.InputRequestMap{"q": elicit(big)}}, nil, nil
		}, nil)
	}).as("alice")
	for _, tool := range []string{"result", "question"} {
		got := c.until(c.create(tool, nil), "failed")
		if message, _ := got.Result["statusMessage"].(string); !strings.Contains(message, "16384") {
			t.Errorf("%s: %v", tool, got)
		}
	}
}

// Only the first call of a handler has the token and headers of its request.
func TestTokenIsThereInTheFirstCallOnly(t *testing.T) {
	r := start(t, memory(), nil, func(tasks *mcptasks.Tasks, server *mcp.Server) {
		add(tasks, server, "who", func(ctx context.Context, req *mcp.CallToolRequest, in none) (*mcp.CallToolResult, any, error) {
			if first := len(req.Params.InputResponses) == 0; first != (req.Extra != nil && req.Extra.TokenInfo != nil) {
				t.Errorf("first %v: %v", first, req.Extra)
			}
			return confirm(ctx, req, in)
		}, nil)
	})
	c := r.as("alice")
	id := c.create("who", nil)
	c.until(id, "input_required")
	c.update(id, map[string]any{"confirm": accept(nil)})
	c.until(id, "completed")
}

// unwilling is a store that refuses a number of updates.
type unwilling struct {
	taskstore.StorageBackend
	refuse atomic.Int32
}

func (s *unwilling) PutIfVersion(ctx context.Context, key taskstore.Key, value taskstore.Value, expected taskstore.Version) (taskstore.Version, error) {
	if expected != 0 && s.refuse.Add(-1) >= 0 {
		return 0, errors.New("not now")
	}
	return s.StorageBackend.PutIfVersion(ctx, key, value, expected)
}

func (s *unwilling) PutBatch(ctx context.Context, writes []taskstore.Write) error {
	if writes[0].Expected != 0 && s.refuse.Add(-1) >= 0 {
		return errors.New("not now")
	}
	return taskstore.PutBatch(ctx, s.StorageBackend, writes)
}

func (s *unwilling) Unwrap() taskstore.StorageBackend { return s.StorageBackend }

// An error of Promote means that there is no task.
func TestPromoteFailsOnlyWithoutATask(t *testing.T) {
	opts := fast()
	opts.Tasks.MaxStateBytes = 100
	store := &unwilling{StorageBackend: memory()}
	c := start(t, store, opts, func(tasks *mcptasks.Tasks, server *mcp.Server) {
		add(tasks, server, "promote", func(ctx context.Context, _ *mcp.CallToolRequest, _ none) (*mcp.CallToolResult, any, error) {
			task := mcptasks.FromContext(ctx)
			if err := task.SaveState(ctx, make([]byte, 100)); !errors.Is(err, domain.ErrLimit) || task.State() != nil {
				t.Errorf("a checkpoint that no task has room for: %v", err)
			}
			if err := task.SaveState(ctx, []byte("half")); err != nil {
				t.Errorf("a checkpoint: %v", err)
			}
			store.refuse.Store(1)
			if err := task.Promote(ctx); err != nil || task.ID() == "" || string(task.State()) != "half" {
				t.Errorf("Promote: %v", err)
			}
			return text("done"), nil, nil
		}, &mcptasks.ToolOptions{Mode: mcptasks.Manual})
	}).as("alice")
	c.until(c.create("promote", nil), "completed")
}

// lose makes a task of a replica that is gone.
func lose(t *testing.T, store taskstore.StorageBackend, opts *mcptasks.Options, tool string) (id string) {
	t.Helper()
	dead, err := domain.New(store, &opts.Tasks)
	if err != nil {
		t.Fatal(err)
	}
	task, _, err := dead.Create(t.Context(), "n:alice", domain.CreateParams{
		Request: []byte(`{"name":"` + tool + `","arguments":{},"_meta":{"io.modelcontextprotocol/protocolVersion":"2026-07-28","io.modelcontextprotocol/clientCapabilities":{"elicitation":{}}}}`),
		Holder:  "dead", Resumable: true, Service: "test",
	})
	if err != nil {
		t.Fatal(err)
	}
	return task.ID
}

// Clients that answer leave room for lost tasks: their runs do not count for MaxResumed.
func TestAnsweredTasksLeaveRoomForLostOnes(t *testing.T) {
	store, opts := memory(), short()
	opts.MaxResumed = 1
	answered := make(chan struct{})
	r := start(t, store, opts, func(tasks *mcptasks.Tasks, server *mcp.Server) {
		add(tasks, server, "long", func(ctx context.Context, req *mcp.CallToolRequest, in none) (*mcp.CallToolResult, any, error) {
			if len(req.Params.InputResponses) > 0 {
				close(answered)
				<-ctx.Done()
			}
			return confirm(ctx, req, in)
		}, nil)
		add(tasks, server, "lost", confirm, &mcptasks.ToolOptions{Retry: true})
	})
	c := r.as("alice")
	id := c.create("long", nil)
	c.until(id, "input_required")
	c.update(id, map[string]any{"confirm": accept(nil)})
	<-answered
	lost := lose(t, store, opts, "lost")
	go func() { _ = r.tasks.Run(t.Context(), r.mcp) }()
	c.until(lost, "input_required")
}

// A lost task goes on three quarters of a lease after its own is over, at the latest: a
// pause until that is noticed, and one that is as long as the grace.
func TestLostTaskWaitsForThreeQuartersOfALease(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store, opts := memory(), &mcptasks.Options{}
		opts.Tasks.Lease = 30 * time.Second
		begin := time.Now()
		resumed := make(chan time.Duration, 1)
		r := startDirect(t, store, opts, func(tasks *mcptasks.Tasks, server *mcp.Server) {
			add(tasks, server, "lost", func(context.Context, *mcp.CallToolRequest, none) (*mcp.CallToolResult, any, error) {
				resumed <- time.Since(begin)
				return text("done"), nil, nil
			}, &mcptasks.ToolOptions{Retry: true})
		})
		lose(t, store, opts, "lost")
		time.Sleep(29 * time.Second) // looked for just before its lease is over
		ctx, stop := context.WithCancel(t.Context())
		ran := make(chan error, 1)
		go func() { ran <- r.tasks.Run(ctx, r.mcp) }()
		if after := <-resumed; after > 52500*time.Millisecond {
			t.Errorf("resumed after %v", after)
		}
		stop()
		<-ran
	})
}

// Questions are no interrupted work: their answers can come after the shutdown.
func TestQuestionsAtShutdownAreAsked(t *testing.T) {
	store := memory()
	r := start(t, store, nil, func(tasks *mcptasks.Tasks, server *mcp.Server) {
		add(tasks, server, "ask", func(ctx context.Context, req *mcp.CallToolRequest, in none) (*mcp.CallToolResult, any, error) {
			<-ctx.Done()
			return confirm(ctx, req, in)
		}, nil)
	})
	id := r.as("alice").create("ask", nil)
	now, cancel := context.WithCancel(t.Context())
	cancel()
	_ = r.tasks.Shutdown(now)
	two := start(t, store, nil, asking).as("alice")
	two.until(id, "input_required")
	two.update(id, map[string]any{"confirm": accept(nil)})
	two.until(id, "completed")
}

// Only the log tells that a call went on without a task.
func TestGraceWithoutATaskIsLogged(t *testing.T) {
	opts := fast()
	opts.Tasks.MaxActive = 1
	logged := make(chan struct{})
	r := start(t, memory(), opts, func(tasks *mcptasks.Tasks, server *mcp.Server) {
		asking(tasks, server)
		add(tasks, server, "slow", func(ctx context.Context, _ *mcp.CallToolRequest, _ none) (*mcp.CallToolResult, any, error) {
			select {
			case <-logged:
			case <-ctx.Done():
			}
			return text("done"), nil, nil
		}, &mcptasks.ToolOptions{Grace: time.Millisecond})
	})
	c := r.as("alice")
	c.until(c.create("ask", nil), "input_required")
	go func() {
		defer close(logged)
		for range 1000 {
			if strings.Contains(r.log.String(), "could not become a task") {
				return
			}
			time.Sleep(5 * time.Millisecond)
		}
		t.Error("the log is empty")
	}()
	if got := c.call("slow", nil); textOf(got) != "done" {
		t.Errorf("the call: %v", got)
	}
}

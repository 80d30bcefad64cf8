package mcptasks_test

import (
	"context"
	"errors"
	"sync/atomic"
	"testing"
	"time"

	"github.com/modelcontextprotocol/go-sdk/mcp"

	"github.com/taskstore/taskstore"
	"github.com/taskstore/taskstore/mcptasks"
	"github.com/taskstore/taskstore/tasks"
)

// deaf is a store that gives no hints.
type deaf struct{ taskstore.StorageBackend }

// waiting is a tool that ends with its ctx and tells how.
func waiting(ended chan<- error) func(*mcptasks.Tasks, *mcp.Server) {
	return func(tasks *mcptasks.Tasks, server *mcp.Server) {
		add(tasks, server, "wait", func(ctx context.Context, _ *mcp.CallToolRequest, _ none) (*mcp.CallToolResult, any, error) {
			<-ctx.Done()
			ended <- context.Cause(ctx)
			return nil, nil, ctx.Err()
		}, nil)
	}
}

func TestCancelThroughAnotherReplica(t *testing.T) {
	for _, name := range []string{"hints", "polling"} {
		t.Run(name, func(t *testing.T) {
			onEach(t, func(t *testing.T, open opener) {
				ended := make(chan error, 1)
				opts := fast()
				if name == "hints" {
					opts.Tasks.PollInterval = time.Minute // then only a hint is fast
					opts.Tasks.Lease = 10 * time.Minute
				} else {
					hear := open
					open = func() taskstore.StorageBackend { return deaf{hear()} }
				}
				one := start(t, open(), opts, waiting(ended)).as("alice")
				two := start(t, open(), opts, waiting(ended)).as("alice")
				id := one.create("wait", nil)
				begin := time.Now()
				if got := two.cancel(id); got.Error != nil {
					t.Fatal(got)
				}
				select {
				case cause := <-ended:
					if !errors.Is(cause, mcptasks.ErrCancelled) {
						t.Errorf("the cause is %v", cause)
					}
				case <-time.After(5 * time.Second):
					t.Fatal("the handler was not told")
				}
				t.Logf("told after %v", time.Since(begin))
				two.until(id, "cancelled")
			})
		})
	}
}

// The peers of a lost replica see its leases run out, and fail its tasks.
func TestLostReplica(t *testing.T) {
	onEach(t, func(t *testing.T, open opener) {
		opts := func() *mcptasks.Options {
			o := fast()
			o.Tasks.Lease = 300 * time.Millisecond
			return o
		}
		c := start(t, open(), opts(), waiting(make(chan error, 1)))
		lost, err := tasks.New(open(), &opts().Tasks)
		if err != nil {
			t.Fatal(err)
		}
		task, _, err := lost.Create(t.Context(), "n:alice", tasks.CreateParams{Request: []byte(`{"name":"wait"}`), Holder: "gone"})
		if err != nil {
			t.Fatal(err)
		}
		got := c.as("alice").until(task.ID, "failed")
		if message, _ := got.Result["statusMessage"].(string); message == "" {
			t.Errorf("no reason: %v", got)
		}
	})
}

func TestRetry(t *testing.T) {
	onEach(t, func(t *testing.T, open opener) {
		opts := func() *mcptasks.Options {
			o := fast()
			o.Tasks.Lease = 200 * time.Millisecond
			return o
		}
		var calls atomic.Int32
		tools := func(tasks *mcptasks.Tasks, server *mcp.Server) {
			add(tasks, server, "resumable", func(ctx context.Context, _ *mcp.CallToolRequest, _ none) (*mcp.CallToolResult, any, error) {
				calls.Add(1)
				task := mcptasks.FromContext(ctx)
				if state := task.State(); state != nil {
					return text("from " + string(state)), nil, nil
				}
				if err := task.SaveState(ctx, []byte("half")); err != nil {
					return nil, nil, err
				}
				<-ctx.Done()
				return nil, nil, ctx.Err()
			}, &mcptasks.ToolOptions{Retry: true})
		}
		one, two := start(t, open(), opts(), tools), start(t, open(), opts(), tools)
		id := one.as("alice").create("resumable", nil)
		for range 1000 { // until the state is saved
			task, err := one.tasks.Store().Get(t.Context(), "n:alice", id)
			if err != nil {
				t.Fatal(err)
			}
			if task.State != nil {
				break
			}
			time.Sleep(time.Millisecond)
		}

		ctx, stop := context.WithCancel(t.Context())
		ran := make(chan error, 1)
		go func() { ran <- two.tasks.Run(ctx, two.mcp) }()
		now, cancel := context.WithCancel(t.Context())
		cancel()
		_ = one.tasks.Shutdown(now) // hands the task over
		if got := two.as("alice").until(id, "completed"); textOf(got) != "from half" {
			t.Errorf("resumed: %v", got)
		}
		if calls.Load() != 2 {
			t.Errorf("called %d times", calls.Load())
		}
		stop()
		if err := <-ran; err != nil {
			t.Errorf("Run: %v", err)
		}
	})
}

func TestRunNeedsInstall(t *testing.T) {
	tasks, err := mcptasks.New(memory(), nil)
	if err != nil {
		t.Fatal(err)
	}
	if err := tasks.Run(t.Context(), mcp.NewServer(&mcp.Implementation{Name: "x"}, nil)); err == nil {
		t.Error("Run without Install")
	}
	bad := mcptasks.Options{}
	bad.Tasks.Lease = -1
	if _, err := mcptasks.New(memory(), &bad); err == nil {
		t.Error("a negative lease")
	}
	if _, err := mcptasks.New((*taskstore.RedisBackend)(nil), nil); !errors.Is(err, taskstore.ErrInvalidArgument) {
		t.Errorf("no backend: %v", err)
	}
}

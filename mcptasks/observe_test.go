package mcptasks_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/modelcontextprotocol/go-sdk/mcp"

	"github.com/taskstore/taskstore/mcptasks"
	"github.com/taskstore/taskstore/tasks"
)

// runs writes down the runs that ObserveRun is told of, and numbers them.
type runs struct {
	name   string // before the numbers
	mu     sync.Mutex
	n      int
	begins []mcptasks.RunBegin
	ends   []mcptasks.RunEnd
}

type runKey struct{}

func (r *runs) observe(_ context.Context, begin mcptasks.RunBegin) mcptasks.RunObserver {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.n++
	r.begins = append(r.begins, begin)
	o := mcptasks.RunObserver{Trace: tasks.Trace{Run: fmt.Sprintf("%srun %d", r.name, r.n)}}
	if begin.First {
		o.Trace.Call = "call"
	}
	run := o.Trace.Run
	o.Context = func(ctx context.Context) context.Context { return context.WithValue(ctx, runKey{}, run) }
	o.Ended = func(end mcptasks.RunEnd) {
		r.mu.Lock()
		defer r.mu.Unlock()
		r.ends = append(r.ends, end)
	}
	return o
}

// ended waits for so many ends, and returns all.
func (r *runs) ended(t testing.TB, n int) []mcptasks.RunEnd {
	t.Helper()
	for range 1000 {
		r.mu.Lock()
		ends := slices.Clone(r.ends)
		r.mu.Unlock()
		if len(ends) >= n {
			return ends
		}
		time.Sleep(5 * time.Millisecond)
	}
	t.Fatalf("not %d runs have ended: %+v", n, r.ends)
	return nil
}

// runOf returns the run that a handler's ctx belongs to.
func runOf(ctx context.Context) string {
	s, _ := ctx.Value(runKey{}).(string)
	return s
}

func observing(r *runs) *mcptasks.Options {
	opts := fast()
	opts.ObserveRun = r.observe
	return opts
}

func TestObserverIsToldOfEachRun(t *testing.T) {
	for name, c := range map[string]struct {
		handler handler
		opts    mcptasks.ToolOptions
		status  string
		want    mcptasks.RunEnd
	}{
		"completed": {
			func(ctx context.Context, _ *mcp.CallToolRequest, _ none) (*mcp.CallToolResult, any, error) {
				return text(runOf(ctx)), nil, nil
			}, mcptasks.ToolOptions{}, "completed", mcptasks.RunEnd{Status: tasks.Completed},
		},
		"with isError": {
			func(ctx context.Context, _ *mcp.CallToolRequest, _ none) (*mcp.CallToolResult, any, error) {
				res := text(runOf(ctx))
				res.IsError = true
				return res, nil, nil
			}, mcptasks.ToolOptions{}, "completed", mcptasks.RunEnd{Status: tasks.Completed, ToolError: true},
		},
		"failed": {
			func(ctx context.Context, _ *mcp.CallToolRequest, _ none) (*mcp.CallToolResult, any, error) {
				panic("secret")
			}, mcptasks.ToolOptions{}, "failed", mcptasks.RunEnd{Status: tasks.Failed, Code: -32603},
		},
	} {
		t.Run(name, func(t *testing.T) {
			var r runs
			server := start(t, memory(), observing(&r), func(tasks *mcptasks.Tasks, server *mcp.Server) {
				add(tasks, server, "tool", c.handler, &c.opts)
			})
			a := server.as("alice")
			id := a.create("tool", nil)
			got := a.until(id, c.status)
			if c.status == "completed" && textOf(got) != "run 1" {
				t.Errorf("the handler's ctx is of %q", textOf(got))
			}
			if ends := r.ended(t, 1); len(ends) != 1 || ends[0] != c.want {
				t.Errorf("ended %+v, not %+v", ends, c.want)
			}
			if want := []mcptasks.RunBegin{{Tool: "tool", First: true}}; !slices.Equal(r.begins, want) {
				t.Errorf("began %+v, not %+v", r.begins, want)
			}
			stored, err := server.tasks.Store().Get(t.Context(), "n:alice", id)
			if err != nil || stored.Trace != (tasks.Trace{Call: "call", Run: "run 1"}) {
				t.Errorf("stored %+v, %v", stored.Trace, err)
			}
		})
	}
}

func TestObserverIsToldOfACallThatCannotBecomeATask(t *testing.T) {
	var r runs
	opts := observing(&r)
	opts.Tasks.MaxRequestBytes = 1
	server := start(t, memory(), opts, func(tasks *mcptasks.Tasks, server *mcp.Server) {
		add(tasks, server, "tool", func(ctx context.Context, _ *mcp.CallToolRequest, _ none) (*mcp.CallToolResult, any, error) {
			return text("of " + runOf(ctx)), nil, nil
		}, nil)
	})
	if got := server.as("alice").call("tool", nil); textOf(got) != "of " {
		t.Errorf("the call was answered %v", got)
	}
	if ends := r.ended(t, 1); len(ends) != 1 || ends[0] != (mcptasks.RunEnd{}) {
		t.Errorf("ended %+v", ends)
	}
}

func TestObserverIsNotToldOfSynchronousCalls(t *testing.T) {
	var r runs
	server := start(t, memory(), observing(&r), func(tasks *mcptasks.Tasks, server *mcp.Server) {
		h := func(ctx context.Context, _ *mcp.CallToolRequest, _ none) (*mcp.CallToolResult, any, error) {
			return text("at once"), nil, nil
		}
		add(tasks, server, "fast", h, &mcptasks.ToolOptions{Grace: time.Minute})
		add(tasks, server, "manual", h, &mcptasks.ToolOptions{Mode: mcptasks.Manual})
	})
	for _, tool := range []string{"fast", "manual"} {
		if got := server.as("alice").call(tool, nil); textOf(got) != "at once" {
			t.Error(got)
		}
	}
	if r.n != 0 {
		t.Errorf("told of %d runs", r.n)
	}
}

// The observer of a run that goes on elsewhere gets the call and the run before, however
// that run ended.
func TestObserverKnowsTheRunBefore(t *testing.T) {
	onEach(t, func(t *testing.T, open opener) {
		one, two := &runs{}, &runs{name: "second "}
		tools := func(ts *mcptasks.Tasks, server *mcp.Server) {
			add(ts, server, "long", func(ctx context.Context, req *mcp.CallToolRequest, _ none) (*mcp.CallToolResult, any, error) {
				if len(req.Params.InputResponses) > 0 {
					return text("ended"), nil, nil
				}
				task := mcptasks.FromContext(ctx)
				if runOf(ctx) == "run 1" {
					_ = task.SaveState(ctx, []byte("begun"))
					<-ctx.Done()
					return nil, nil, ctx.Err()
				}
				for range 1000 { // until the run is known to be this one
					stored, err := ts.Store().Get(ctx, "n:alice", task.ID())
					if err != nil || stored.Trace.Run == runOf(ctx) {
						break
					}
					time.Sleep(time.Millisecond)
				}
				return &mcp.CallToolResult{InputRequests: mcp.InputRequestMap{"sure": elicit("sure?")}}, nil, nil
			}, &mcptasks.ToolOptions{Retry: true})
		}
		a, b := start(t, open(), observing(one), tools), start(t, open(), observing(two), tools)
		id := a.as("alice").create("long", nil)
		for range 1000 {
			if task, err := a.tasks.Store().Get(t.Context(), "n:alice", id); err != nil || task.State != nil {
				break
			}
			time.Sleep(time.Millisecond)
		}
		ctx, stop := context.WithCancel(t.Context())
		ran := make(chan error, 1)
		go func() { ran <- b.tasks.Run(ctx, b.mcp) }()
		now, cancel := context.WithCancel(t.Context())
		cancel()
		_ = a.tasks.Shutdown(now) // hands the task over
		b.as("alice").until(id, "input_required")
		if got := b.as("alice").update(id, map[string]any{"sure": accept(nil)}); got.Error != nil {
			t.Fatal(got)
		}
		b.as("alice").until(id, "completed")
		stop()
		if err := <-ran; err != nil {
			t.Error(err)
		}
		if got := one.ended(t, 1); len(got) != 1 || got[0] != (mcptasks.RunEnd{Status: tasks.Working}) {
			t.Errorf("the first replica was told %+v", got)
		}
		want := []mcptasks.RunEnd{{Status: tasks.InputRequired}, {Status: tasks.Completed}}
		if got := two.ended(t, 2); !slices.Equal(got, want) {
			t.Errorf("the second replica was told %+v, not %+v", got, want)
		}
		begins := []mcptasks.RunBegin{
			{Tool: "long", Before: tasks.Trace{Call: "call", Run: "run 1"}, Lost: true},
			{Tool: "long", Before: tasks.Trace{Call: "call", Run: "second run 1"}},
		}
		if !slices.Equal(two.begins, begins) {
			t.Errorf("the second replica began %+v, not %+v", two.begins, begins)
		}
	})
}

func TestObserverIsToldOfALostRun(t *testing.T) {
	var r runs
	ended := make(chan error, 1)
	server := start(t, memory(), observing(&r), waiting(ended))
	id := server.as("alice").create("wait", nil)
	if err := server.tasks.Store().Delete(t.Context(), "n:alice", id); err != nil {
		t.Fatal(err)
	}
	if cause := <-ended; !errors.Is(cause, mcptasks.ErrLost) {
		t.Errorf("the handler ended for %v", cause)
	}
	if ends := r.ended(t, 1); len(ends) != 1 || ends[0] != (mcptasks.RunEnd{Status: tasks.Working, Lost: true}) {
		t.Errorf("ended %+v", ends)
	}
}

// A panic in ObserveRun or Context ends the call that it belongs to, and no other.
func TestPanicOfAnObserverIsThatOfTheHandler(t *testing.T) {
	for name, observer := range map[string]func() mcptasks.RunObserver{
		"ObserveRun": func() mcptasks.RunObserver { panic("secret") },
		"Context": func() mcptasks.RunObserver {
			return mcptasks.RunObserver{Context: func(context.Context) context.Context { panic("secret") }}
		},
	} {
		t.Run(name, func(t *testing.T) {
			opts := fast()
			broken := true
			opts.ObserveRun = func(context.Context, mcptasks.RunBegin) mcptasks.RunObserver {
				if broken {
					return observer()
				}
				return mcptasks.RunObserver{}
			}
			server := start(t, memory(), opts, func(tasks *mcptasks.Tasks, server *mcp.Server) {
				add(tasks, server, "tool", func(context.Context, *mcp.CallToolRequest, none) (*mcp.CallToolResult, any, error) {
					return text("done"), nil, nil
				}, nil)
			})
			a := server.as("alice")
			got := a.call("tool", nil)
			if id, _ := got.Result["taskId"].(string); id != "" { // it was a task before Context was called
				a.until(id, "failed")
			} else if got.Error == nil || got.Error.Code != -32603 || got.Error.Message != "internal error" {
				t.Errorf("the call was answered %v", got)
			}
			broken = false
			a.until(a.create("tool", nil), "completed")
		})
	}
}

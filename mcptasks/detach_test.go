package mcptasks_test

import (
	"context"
	"encoding/json"
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

// away is a tool that detaches its task, sends the reference, and ends as then says.
func away(refs chan<- domain.Ref, deadline time.Duration, opts *mcptasks.ToolOptions, then func(context.Context) (*mcp.CallToolResult, error)) func(*mcptasks.Tasks, *mcp.Server) {
	return one(func(ctx context.Context, _ *mcp.CallToolRequest, _ none) (*mcp.CallToolResult, any, error) {
		task := mcptasks.FromContext(ctx)
		if err := task.SaveState(ctx, []byte("so far")); err != nil {
			return nil, nil, err
		}
		ref, err := task.Detach(ctx, deadline)
		if err != nil {
			return nil, nil, err
		}
		var res *mcp.CallToolResult
		if then != nil {
			res, err = then(ctx)
		}
		refs <- ref
		return res, nil, err
	}, opts)
}

// elsewhere opens the work as another process does.
func elsewhere(t *testing.T, store taskstore.StorageBackend, ref domain.Ref) *domain.Run {
	t.Helper()
	opts := fast().Tasks
	s, err := domain.New(store, &opts)
	if err != nil {
		t.Fatal(err)
	}
	run, err := s.Open(t.Context(), ref)
	if err != nil {
		t.Fatal(err)
	}
	return run
}

func TestADetachedTaskIsEndedElsewhere(t *testing.T) {
	onEach(t, func(t *testing.T, open opener) {
		refs := make(chan domain.Ref, 1)
		a := start(t, open(), nil, away(refs, time.Minute, nil, func(context.Context) (*mcp.CallToolResult, error) { return text("ignored"), nil }))
		id := a.as("alice").create("tool", nil)
		ref := <-refs
		if err := a.tasks.Shutdown(t.Context()); err != nil {
			t.Errorf("something runs here still: %v", err)
		}
		run := elsewhere(t, open(), ref)
		if got := string(run.Task().State); got != "so far" {
			t.Errorf("the state is %q", got)
		}
		if _, err := run.SetStatusMessage(t.Context(), "at it"); err != nil {
			t.Fatal(err)
		}
		b := start(t, open(), nil, away(refs, 0, nil, nil)).as("alice")
		if got := b.get(id); got.Result["status"] != "working" || got.Result["statusMessage"] != "at it" {
			t.Errorf("before the end: %v", got)
		}
		if _, err := run.Complete(t.Context(), json.RawMessage(marshal(t, text("done")))); err != nil {
			t.Fatal(err)
		}
		if got := b.until(id, "completed"); textOf(got) != "done" {
			t.Errorf("the result: %v", got)
		}
	})
}

func TestAnswersAndCancelsReachTheWorkElsewhere(t *testing.T) {
	onEach(t, func(t *testing.T, open opener) {
		refs := make(chan domain.Ref, 1)
		c := start(t, open(), nil, away(refs, time.Minute, nil, nil)).as("alice")
		// A replica without the tool takes the answer, because a detached task needs no handler.
		other := start(t, open(), nil, func(*mcptasks.Tasks, *mcp.Server) {}).as("alice")
		id := c.create("tool", nil)
		run := elsewhere(t, open(), <-refs)
		var questions map[string]json.RawMessage
		if err := json.Unmarshal([]byte(marshal(t, mcp.InputRequestMap{"name": elicit("your name?")})), &questions); err != nil {
			t.Fatal(err)
		}
		type asked struct {
			answers map[string]json.RawMessage
			err     error
		}
		done := make(chan asked, 1)
		go func() {
			answers, err := run.Ask(t.Context(), questions)
			done <- asked{answers, err}
		}()
		c.until(id, "input_required")
		if got := other.update(id, map[string]any{"name": accept(map[string]any{"name": "Alice"})}); got.Error != nil {
			t.Fatal(got)
		}
		got := <-done
		if got.err != nil || !strings.Contains(string(got.answers["name"]), `"Alice"`) {
			t.Errorf("answered %s, %v", got.answers, got.err)
		}
		working, cancel := run.Context(t.Context())
		defer cancel()
		if working.Err() != nil {
			t.Error("ended before the cancel")
		}
		if got := other.cancel(id); got.Error != nil {
			t.Fatal(got)
		}
		<-working.Done()
		if cause := context.Cause(working); !errors.Is(cause, domain.ErrCancelled) {
			t.Errorf("the cause is %v", cause)
		}
		if _, err := run.Cancelled(t.Context()); err != nil {
			t.Error(err)
		}
		c.until(id, "cancelled")
	})
}

// No lease is kept here, no replica runs the handler again, and the deadline is the end.
func TestADetachedTaskIsNotResumed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := memory()
		refs := make(chan domain.Ref, 10)
		opts := &mcptasks.Options{Tasks: domain.Options{Lease: 10 * time.Second}}
		r := startDirect(t, store, opts, away(refs, time.Hour, &mcptasks.ToolOptions{Retry: true}, nil))
		stop := r.run(t.Context())
		c := r.as("alice")
		id := c.create("tool", nil)
		<-refs
		synctest.Wait()
		account := r.tasks.Account("alice")
		before, err := account.Get(t.Context(), id)
		if err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Hour - time.Second)
		after, err := account.Get(t.Context(), id)
		if err != nil || after.Version != before.Version || after.Status != domain.Working {
			t.Errorf("before %v at version %d, after %v at version %d, %v", before, before.Version, after, after.Version, err)
		}
		time.Sleep(2 * time.Second)
		c.get(id) // suspects
		time.Sleep(10 * time.Second)
		if got := c.get(id); got.Result["status"] != "failed" || got.Result["statusMessage"] != domain.MessageDeadline {
			t.Errorf("after the deadline: %v", got)
		}
		if err := stop(); err != nil {
			t.Error(err)
		}
		if len(refs) != 0 {
			t.Error("the handler was called again")
		}
	})
}

func TestResultsOfHandlersAfterDetach(t *testing.T) {
	for name, c := range map[string]struct {
		res     *mcp.CallToolResult
		err     error
		panics  bool
		status  string
		message string
	}{
		"a result":   {res: text("x"), status: "working"},
		"no result":  {status: "working"},
		"an error":   {err: errors.New("the queue is away"), status: "completed"}, // as of any typed handler: with isError
		"isError":    {res: &mcp.CallToolResult{IsError: true}, status: "completed"},
		"a panic":    {panics: true, status: "failed", message: "internal error"},
		"a question": {res: &mcp.CallToolResult{InputRequests: mcp.InputRequestMap{"q": elicit("?")}}, status: "failed", message: "let the detached work ask"},
	} {
		t.Run(name, func(t *testing.T) {
			noLeaks(t)
			refs := make(chan domain.Ref, 1)
			store := memory()
			r := start(t, store, nil, one(func(ctx context.Context, _ *mcp.CallToolRequest, _ none) (*mcp.CallToolResult, any, error) {
				ref, err := mcptasks.FromContext(ctx).Detach(ctx, 0)
				refs <- ref
				if err != nil {
					return nil, nil, err
				}
				if c.panics {
					panic("x")
				}
				return c.res, nil, c.err
			}, nil))
			id := r.as("alice").create("tool", nil)
			ref := <-refs
			if err := r.tasks.Shutdown(t.Context()); err != nil { // the handler's end is stored
				t.Fatal(err)
			}
			got := r.as("alice").get(id)
			message, _ := got.Result["statusMessage"].(string)
			if got.Result["status"] != c.status || !strings.Contains(message, c.message) {
				t.Errorf("the task: %v", got)
			}
			s, err := domain.New(store, nil)
			if err != nil {
				t.Fatal(err)
			}
			if _, err = s.Open(t.Context(), ref); errors.Is(err, domain.ErrLeaseLost) != (c.status != "working") {
				t.Errorf("opened: %v", err)
			}
		})
	}
}

func TestACallThatCannotBeATaskIsNotDetached(t *testing.T) {
	store := memory()
	failed := make(chan error, 1)
	r := start(t, store, nil, one(func(ctx context.Context, _ *mcp.CallToolRequest, _ none) (*mcp.CallToolResult, any, error) {
		_, err := mcptasks.FromContext(ctx).Detach(ctx, 0)
		failed <- err
		return text("at once"), nil, nil
	}, nil))
	c := r.as("alice")
	c.legacy = true
	if got := c.call("tool", nil); textOf(got) != "at once" {
		t.Errorf("answered %v", got)
	}
	if err := <-failed; !errors.Is(err, mcptasks.ErrSynchronous) {
		t.Errorf("Detach: %v", err)
	}
	if n := r.count("alice"); n != 0 {
		t.Errorf("%d tasks", n)
	}
}

// A call in Manual mode becomes a task by Detach, and that of a client without the
// extension too, which is joined by the same call again.
func TestDetachMakesATask(t *testing.T) {
	refs := make(chan domain.Ref, 2)
	store := memory()
	r := start(t, store, patient(), away(refs, 0, &mcptasks.ToolOptions{Mode: mcptasks.Manual, Repeats: mcptasks.RepeatsJoin}, nil)).withSessions()
	r.as("alice").create("tool", nil)
	<-refs
	m := r.model("bob", nil)
	id := handle(t, m.call("tool", nil))
	run := elsewhere(t, store, <-refs)
	if err := r.tasks.Shutdown(t.Context()); err != nil {
		t.Fatal(err)
	}
	if _, err := run.Complete(t.Context(), json.RawMessage(marshal(t, text("done")))); err != nil {
		t.Fatal(err)
	}
	if got := saidBy(m.call("task_status", map[string]any{"id": id})); got != "done" {
		t.Errorf("the model was told %q", got)
	}
}

func TestARepeatedCallIsJoinedToDetachedWork(t *testing.T) {
	refs := make(chan domain.Ref, 3)
	store := memory()
	r := start(t, store, patient(), away(refs, 0, &mcptasks.ToolOptions{Repeats: mcptasks.RepeatsJoin}, nil)).withSessions()
	m := r.model("bob", nil)
	id := handle(t, m.call("tool", nil))
	run := elsewhere(t, store, <-refs)
	if again := handle(t, m.call("tool", nil)); again != id {
		t.Error("the same call is another task")
	}
	if _, err := run.Complete(t.Context(), json.RawMessage(marshal(t, text("done")))); err != nil {
		t.Fatal(err)
	}
	if again := handle(t, m.call("tool", nil)); again == id {
		t.Error("the same call is a task that has ended")
	}
	if len(refs) != 1 {
		t.Errorf("%d runs more", len(refs))
	}
}

// The ctx of the handler lives on after Detach, independent of the task, so that the
// handler can send the reference. It outlives the shutdown of a server, even if the tool
// has Retry.
func TestTheHandlersContextOutlivesDetach(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ended := make(chan error, 1)
		refs := make(chan domain.Ref, 1)
		opts := &mcptasks.Options{Tasks: domain.Options{Lease: 3 * time.Second}, DrainTimeout: time.Minute}
		r := startDirect(t, memory(), opts, away(refs, time.Hour, &mcptasks.ToolOptions{Retry: true}, func(ctx context.Context) (*mcp.CallToolResult, error) {
			time.Sleep(20 * time.Second)
			ended <- context.Cause(ctx)
			return nil, mcptasks.FromContext(ctx).SetStatusMessage(ctx, "sent")
		}))
		id := r.as("alice").create("tool", nil)
		time.Sleep(time.Second)
		if err := r.tasks.Shutdown(t.Context()); err != nil {
			t.Error(err)
		}
		if err := <-ended; err != nil {
			t.Errorf("the ctx ended: %v", err)
		}
		if got := r.as("alice").get(id); got.Result["statusMessage"] != "sent" || got.Result["status"] != "working" {
			t.Errorf("the task: %v", got)
		}
	})
}

// If Detach fails, the task stays with its handler, and the replica renews its lease.
func TestATaskThatIsNotDetachedStaysWithItsHandler(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var runs atomic.Int32
		opts := &mcptasks.Options{Tasks: domain.Options{Lease: 3 * time.Second}}
		r := startDirect(t, memory(), opts, one(func(ctx context.Context, _ *mcp.CallToolRequest, _ none) (*mcp.CallToolResult, any, error) {
			runs.Add(1)
			if _, err := mcptasks.FromContext(ctx).Detach(ctx, -1); !errors.Is(err, domain.ErrInvalid) {
				t.Errorf("Detach: %v", err)
			}
			time.Sleep(time.Minute)
			return text("done"), nil, context.Cause(ctx)
		}, nil))
		c := r.as("alice")
		id := c.create("tool", nil)
		for range 6 {
			time.Sleep(9 * time.Second)
			if got := c.get(id); got.Result["status"] != "working" {
				t.Fatalf("the task: %v", got)
			}
		}
		time.Sleep(10 * time.Second)
		if got := c.get(id); textOf(got) != "done" || runs.Load() != 1 {
			t.Errorf("the task after %d runs: %v", runs.Load(), got)
		}
	})
}

// A SaveState after Detach is the worker's too, byte for byte.
func TestAStateSavedAfterDetachReachesTheWorkElsewhere(t *testing.T) {
	noLeaks(t)
	store, refs := memory(), make(chan domain.Ref, 1)
	r := start(t, store, nil, away(refs, time.Minute, nil, func(ctx context.Context) (*mcp.CallToolResult, error) {
		return nil, mcptasks.FromContext(ctx).SaveState(ctx, []byte("the job is number 7"))
	}))
	r.as("alice").create("tool", nil)
	if got := string(elsewhere(t, store, <-refs).Task().State); got != "the job is number 7" {
		t.Errorf("the state is %q", got)
	}
}

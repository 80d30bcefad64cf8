package mcptasks_test

import (
	"context"
	"errors"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/modelcontextprotocol/go-sdk/mcp"

	"github.com/taskstore/taskstore"
	"github.com/taskstore/taskstore/mcptasks"
)

// A CreateTaskResult is the task as it was created, however fast it has ended.
func TestCreateTaskResultIsTheStateAtCreation(t *testing.T) {
	r := start(t, memory(), nil, func(tasks *mcptasks.Tasks, server *mcp.Server) {
		add(tasks, server, "promote", func(ctx context.Context, _ *mcp.CallToolRequest, _ none) (*mcp.CallToolResult, any, error) {
			return text("done"), nil, mcptasks.FromContext(ctx).Promote(ctx)
		}, &mcptasks.ToolOptions{Mode: mcptasks.Manual})
		add(tasks, server, "fail", func(ctx context.Context, _ *mcp.CallToolRequest, _ none) (*mcp.CallToolResult, any, error) {
			_ = mcptasks.FromContext(ctx).Promote(ctx)
			panic("at once")
		}, &mcptasks.ToolOptions{Mode: mcptasks.Manual})
		add(tasks, server, "auto", func(context.Context, *mcp.CallToolRequest, none) (*mcp.CallToolResult, any, error) {
			return text("done"), nil, nil
		}, nil)
	})
	c := r.as("alice")
	for range 50 {
		for _, tool := range []string{"promote", "fail", "auto"} {
			got := c.call(tool, nil)
			if got.Result["resultType"] != "task" || got.Result["status"] != "working" || got.Result["statusMessage"] != nil {
				t.Fatalf("%s: %v", tool, got)
			}
		}
	}
}

// slowCreates is a store that holds creates of tasks until the test releases them.
type slowCreates struct {
	taskstore.StorageBackend
	waiting chan struct{} // one for each create that waits
	release chan struct{}
	deletes atomic.Int32
}

func newSlowCreates() *slowCreates {
	return &slowCreates{StorageBackend: memory(), waiting: make(chan struct{}, 100), release: make(chan struct{})}
}

func (s *slowCreates) PutBatch(ctx context.Context, writes []taskstore.Write) error {
	if creates(writes) {
		s.waiting <- struct{}{}
		<-s.release
		ctx = context.WithoutCancel(ctx) // it had been sent
	}
	if removes(writes) {
		defer s.deletes.Add(1)
	}
	return taskstore.PutBatch(ctx, s.StorageBackend, writes)
}

func (s *slowCreates) Unwrap() taskstore.StorageBackend { return s.StorageBackend }

// A handler's other calls of its task go through while the task is being stored.
func TestAPromotionBlocksNoOtherCall(t *testing.T) {
	store := newSlowCreates()
	looked := make(chan struct{})
	c := start(t, store, nil, func(tasks *mcptasks.Tasks, server *mcp.Server) {
		add(tasks, server, "promote", func(ctx context.Context, _ *mcp.CallToolRequest, _ none) (*mcp.CallToolResult, any, error) {
			task := mcptasks.FromContext(ctx)
			promoted := make(chan error)
			go func() { promoted <- task.Promote(ctx) }()
			<-store.waiting
			if task.ID() != "" || task.State() != nil {
				t.Error("it is no task yet")
			}
			if err := errors.Join(task.SetStatusMessage(ctx, "meanwhile"), task.SaveState(ctx, []byte("half"))); err != nil {
				t.Error(err)
			}
			close(looked)
			if err := <-promoted; err != nil || task.ID() == "" || string(task.State()) != "half" {
				t.Errorf("Promote: %v", err)
			}
			<-ctx.Done()
			return nil, nil, ctx.Err()
		}, &mcptasks.ToolOptions{Mode: mcptasks.Manual})
	}).as("alice")
	go func() { <-looked; close(store.release) }()
	id := c.create("promote", nil)
	for c.get(id).Result["statusMessage"] != "meanwhile" {
		time.Sleep(time.Millisecond)
	}
	c.cancel(id)
	c.until(id, "cancelled")
}

// An answer that is ready is given at once, though a task for it is on its way to
// the store; that task is taken back.
func TestAnAnswerDoesNotWaitForItsTask(t *testing.T) {
	noLeaks(t)
	store := newSlowCreates()
	finish := make(chan struct{})
	c := start(t, store, nil, func(tasks *mcptasks.Tasks, server *mcp.Server) {
		add(tasks, server, "work", func(context.Context, *mcp.CallToolRequest, none) (*mcp.CallToolResult, any, error) {
			<-finish
			return text("done"), nil, nil
		}, &mcptasks.ToolOptions{Grace: time.Millisecond})
	}).as("alice")
	go func() { <-store.waiting; close(finish) }()
	if got := c.call("work", nil); textOf(got) != "done" || got.Result["resultType"] == "task" {
		t.Errorf("the answer: %v", got)
	}
	close(store.release)
	for store.deletes.Load() == 0 {
		time.Sleep(time.Millisecond)
	}
	if left, _ := store.ListByPrefix(t.Context(), taskstore.Key{Owner: "u:n:alice"}); len(left) != 0 {
		t.Errorf("%d records are left", len(left))
	}
}

// A call of a client that has gone stays without a task, because the client cannot learn
// its id.
func TestNoTaskForAClientThatIsGone(t *testing.T) {
	noLeaks(t)
	for _, opts := range []*mcptasks.ToolOptions{{Mode: mcptasks.Manual}, {Grace: 50 * time.Millisecond}} {
		causes := make(chan error, 1)
		entered := make(chan struct{})
		promoted := make(chan error, 1)
		r := start(t, memory(), nil, func(tasks *mcptasks.Tasks, server *mcp.Server) {
			add(tasks, server, "work", func(ctx context.Context, _ *mcp.CallToolRequest, _ none) (*mcp.CallToolResult, any, error) {
				close(entered)
				<-ctx.Done()
				causes <- context.Cause(ctx)
				promoted <- mcptasks.FromContext(ctx).Promote(context.WithoutCancel(ctx))
				return nil, nil, ctx.Err()
			}, opts)
		})
		web := httptest.NewServer(r.tasks.Handler(mcp.NewStreamableHTTPHandler(func(*http.Request) *mcp.Server { return r.mcp },
			&mcp.StreamableHTTPOptions{Stateless: true, PropagateRequestCancellation: true})))
		c := r.as("")
		c.url = web.URL
		ctx, cancel := context.WithCancel(t.Context())
		go func() { <-entered; cancel() }()
		if resp, err := c.http.Do(c.request(ctx, "tools/call", map[string]any{"name": "work", "arguments": map[string]any{}})); err == nil {
			_ = resp.Body.Close()
		}
		if cause := <-causes; !errors.Is(cause, context.Canceled) {
			t.Errorf("the handler was told %v", cause)
		}
		if err := <-promoted; !errors.Is(err, mcptasks.ErrAnswered) {
			t.Errorf("Promote: %v", err)
		}
		web.Close()
	}
}

// A call that is answered without a task reports as any other call does; a task
// reports by its status message alone.
func TestProgressReachesTheClientUntilThereIsATask(t *testing.T) {
	for mode, opts := range map[string]*mcptasks.ToolOptions{
		"manual": {Mode: mcptasks.Manual}, "grace": {Grace: time.Minute}, "task": nil,
	} {
		t.Run(mode, func(t *testing.T) {
			r := start(t, memory(), nil, func(tasks *mcptasks.Tasks, server *mcp.Server) {
				add(tasks, server, "work", func(ctx context.Context, req *mcp.CallToolRequest, _ none) (*mcp.CallToolResult, any, error) {
					if req.Params.GetProgressToken() == nil {
						t.Error("the handler has no progress token")
					}
					err := req.Session.NotifyProgress(ctx, &mcp.ProgressNotificationParams{ProgressToken: "p", Progress: 1, Message: "halfway"})
					if err == nil {
						//lint:ignore SA1019 handlers may still send it
						err = req.Session.Log(ctx, &mcp.LoggingMessageParams{Level: "info", Data: "a log line"})
					}
					return text("done"), nil, err
				}, opts)
			})
			c := r.as("alice")
			got := c.answer("tools/call", map[string]any{"name": "work", "arguments": map[string]any{}, "_meta": map[string]any{
				"progressToken": "p", "io.modelcontextprotocol/logLevel": "info",
			}})
			reported := strings.Contains(got, "halfway") && strings.Contains(got, "a log line")
			if task := strings.Contains(got, `"resultType":"task"`); task != (mode == "task") || reported == task {
				t.Errorf("the client got: %s", got)
			}
		})
	}
}

// A call beyond the limits of tasks is answered without a task. With Required the error
// says why it cannot be a task.
func TestLimitsOfTasksDoNotLimitCalls(t *testing.T) {
	opts := fast()
	opts.Tasks.MaxTasks = 3
	r := start(t, memory(), opts, func(tasks *mcptasks.Tasks, server *mcp.Server) {
		for name, o := range map[string]*mcptasks.ToolOptions{"short": nil, "strict": {Required: true}} {
			mcptasks.AddTool(tasks, server, &mcp.Tool{Name: name}, func(_ context.Context, _ *mcp.CallToolRequest, in map[string]any) (*mcp.CallToolResult, any, error) {
				return text("done"), nil, nil
			}, o)
		}
	})
	c := r.as("alice")
	big := map[string]any{"x": strings.Repeat("x", 300<<10)}
	if got := c.call("short", big); textOf(got) != "done" || got.Result["resultType"] == "task" {
		t.Errorf("big arguments: %v", got)
	}
	if got := c.call("strict", big); got.Error == nil || got.Error.Code != -32602 || !strings.Contains(got.Error.Message, "262144") {
		t.Errorf("big arguments of a tool that has to be a task: %v", got)
	}
	for range 3 {
		c.until(c.create("short", nil), "completed")
	}
	if got := c.call("short", nil); textOf(got) != "done" || got.Result["resultType"] == "task" {
		t.Errorf("one more than the owner may keep: %v", got)
	}
	if got := c.call("strict", nil); got.Error == nil || !strings.Contains(got.Error.Message, "too many tasks") {
		t.Errorf("one more of a tool that has to be a task: %v", got)
	}
	if n := strings.Count(r.log.String(), "could not become a task"); n != 2 {
		t.Errorf("%d log lines: %s", n, r.log)
	}
}

// A backend's own limit on the size of a record limits tasks and not calls.
func TestLimitsOfTheBackendDoNotLimitCalls(t *testing.T) {
	store := taskstore.NewMemoryBackend(&taskstore.MemoryOptions{MaxDataBytes: 16 << 10})
	c := start(t, store, nil, func(tasks *mcptasks.Tasks, server *mcp.Server) {
		mcptasks.AddTool(tasks, server, &mcp.Tool{Name: "short"}, func(_ context.Context, _ *mcp.CallToolRequest, in map[string]any) (*mcp.CallToolResult, any, error) {
			return text("done"), nil, nil
		}, nil)
	}).as("alice")
	if got := c.call("short", map[string]any{"x": strings.Repeat("x", 20<<10)}); textOf(got) != "done" {
		t.Errorf("big arguments: %v", got)
	}
}

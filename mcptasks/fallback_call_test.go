package mcptasks_test

import (
	"context"
	"encoding/json"
	"errors"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/modelcontextprotocol/go-sdk/mcp"

	"github.com/taskstore/taskstore"
	"github.com/taskstore/taskstore/mcptasks"
	domain "github.com/taskstore/taskstore/tasks"
)

// one is a server with one tool, which runs h.
func one(h handler, opts *mcptasks.ToolOptions) func(*mcptasks.Tasks, *mcp.Server) {
	return func(tasks *mcptasks.Tasks, server *mcp.Server) { add(tasks, server, "tool", h, opts) }
}

// count returns how many tasks an owner has.
func (r *replica) count(owner string) (n int) {
	r.t.Helper()
	counts, err := r.tasks.Account(owner).Count(context.Background())
	if err != nil {
		r.t.Fatal(err)
	}
	for _, c := range counts {
		n += c
	}
	return n
}

func eventually(t testing.TB, what string, ok func() bool) {
	t.Helper()
	for range 1000 {
		if ok() {
			return
		}
		time.Sleep(10 * time.Millisecond)
	}
	t.Fatalf("%s did not come about", what)
}

// A call that ends in time leaves no record in the store.
func TestAQuickCallIsNoTask(t *testing.T) {
	noLeaks(t)
	opts := patient()
	opts.Fallback.Wait = 10 * time.Second
	r := start(t, memory(), opts, one(func(ctx context.Context, _ *mcp.CallToolRequest, _ none) (*mcp.CallToolResult, any, error) {
		return text("id " + mcptasks.FromContext(ctx).ID()), nil, nil
	}, nil))
	if res := r.model("alice", nil).call("tool", nil); saidBy(res) != "id " || r.count("alice") != 0 {
		t.Errorf("%s, %d tasks", saidBy(res), r.count("alice"))
	}
}

// A task's result comes as the call would have had it: content, structured content and
// isError, whichever of the two ways it takes.
func TestResultsComeAsTheyWere(t *testing.T) {
	noLeaks(t)
	release := make(chan struct{})
	r := start(t, memory(), patient(), func(tasks *mcptasks.Tasks, server *mcp.Server) {
		mcptasks.AddTool(tasks, server, &mcp.Tool{Name: "tool"}, func(_ context.Context, _ *mcp.CallToolRequest, in map[string]any) (*mcp.CallToolResult, any, error) {
			if len(in) > 0 {
				<-release
			}
			return &mcp.CallToolResult{
				Meta: mcp.Meta{"k": "v"}, IsError: true, StructuredContent: json.RawMessage(`{"z":1.0,"a":[1e3,null]}`),
				Content: []mcp.Content{&mcp.TextContent{Text: "a"}, &mcp.ImageContent{Data: []byte{1}, MIMEType: "image/png"}, &mcp.ResourceLink{URI: "x:y", Name: "n"}},
			}, nil, nil
		}, nil)
	})
	c := r.as("alice")
	c.legacy = true
	quick := c.call("tool", nil)
	id, _ := c.call("tool", map[string]any{"more": true}).Result["structuredContent"].(map[string]any)["id"].(string)
	close(release)
	long := c.call("task_status", map[string]any{"id": id, "wait": 10})
	if string(quick.Raw) != string(long.Raw) || !strings.Contains(string(long.Raw), `{"z":1.0,"a":[1e3,null]}`) {
		t.Errorf("in time:\n%s\nas a task:\n%s", quick.Raw, long.Raw)
	}
	old := r.model("alice", nil)
	first, again := old.call("tool", map[string]any{}), old.call("task_status", map[string]any{"id": id})
	if a, b := marshal(t, first), marshal(t, again); a != b || strings.Contains(b, "resultType") {
		t.Errorf("in time:\n%s\nas a task:\n%s", a, b)
	}
}

// A failing store is no lost task: the call goes on, and the tools say to ask again.
func TestFallbackOutlivesAnOutage(t *testing.T) {
	noLeaks(t)
	store := &failing{StorageBackend: memory()}
	release := make(chan struct{})
	r := start(t, store, patient(), one(func(ctx context.Context, _ *mcp.CallToolRequest, _ none) (*mcp.CallToolResult, any, error) {
		<-release
		return text("done"), nil, nil
	}, nil))
	m := r.model("alice", nil)
	id := handle(t, m.call("tool", nil))
	store.fail(errAway)
	answered := make(chan *mcp.CallToolResult)
	go func() { answered <- r.model("alice", nil).call("tool", nil) }()
	for tool, res := range m.about(id) {
		if fields(res)["code"] != "unavailable" || !res.IsError {
			t.Errorf("%s: %s", tool, saidBy(res))
		}
	}
	select {
	case res := <-answered:
		t.Errorf("without a store: %s", saidBy(res))
	case <-time.After(300 * time.Millisecond): // three times Wait
	}
	store.fail(nil)
	if second := handle(t, <-answered); second == id {
		t.Error("one task for two calls")
	}
	close(release)
	if res := m.follow(m.call("task_status", map[string]any{"id": id})); saidBy(res) != "done" {
		t.Errorf("after the outage: %s", saidBy(res))
	}
}

// blind is a store that takes writes and cannot be read.
type blind struct{ taskstore.StorageBackend }

func (b blind) Unwrap() taskstore.StorageBackend { return b.StorageBackend }

func (blind) Get(context.Context, taskstore.Key) (taskstore.Record, error) {
	return taskstore.Record{}, errAway
}

// A task that is stored is told, however the store is by then.
func TestAStoredTaskIsTold(t *testing.T) {
	noLeaks(t)
	r := start(t, blind{memory()}, patient(), one(func(ctx context.Context, _ *mcp.CallToolRequest, _ none) (*mcp.CallToolResult, any, error) {
		<-ctx.Done()
		return nil, nil, ctx.Err()
	}, nil))
	if res := r.model("alice", nil).call("tool", nil); fields(res)["status"] != "working" {
		t.Errorf("the answer: %s", saidBy(res))
	}
}

// A task too many is answered without one, as ever.
func TestFallbackWithoutRoomWaits(t *testing.T) {
	noLeaks(t)
	opts := patient()
	opts.Tasks.MaxActive = 1
	r := start(t, memory(), opts, fallbackTools)
	m := r.model("alice", nil)
	handle(t, m.call("endless", nil))
	if res := m.call("long", map[string]any{"ms": 300}); saidBy(res) != `{"sum":300}` {
		t.Errorf("with no room: %s", saidBy(res))
	}
}

// A client that gives its call up before it has the answer ends the work, before the call
// is a task and after, because the client does not know the task's id.
func TestAClientThatGivesUpEndsTheWork(t *testing.T) {
	for name, wait := range map[string]time.Duration{"before it is a task": 10 * time.Second, "as a task": 0} {
		t.Run(name, func(t *testing.T) {
			noLeaks(t)
			opts := patient()
			opts.Fallback.Wait = 10 * time.Second
			began, ended := make(chan struct{}, 2), make(chan error, 2)
			r := start(t, memory(), opts, one(func(ctx context.Context, _ *mcp.CallToolRequest, _ none) (*mcp.CallToolResult, any, error) {
				if wait == 0 {
					if err := mcptasks.FromContext(ctx).Promote(ctx); err != nil {
						return nil, nil, err
					}
				}
				began <- struct{}{}
				<-ctx.Done()
				ended <- context.Cause(ctx)
				return nil, nil, ctx.Err()
			}, nil)).withSessions()
			m := r.model("alice", nil)
			ctx, cancel := context.WithCancel(t.Context())
			go func() { <-began; cancel() }()
			if _, err := m.session.CallTool(ctx, &mcp.CallToolParams{Name: "tool"}); !errors.Is(err, context.Canceled) {
				t.Errorf("the call: %v", err)
			}
			select {
			case cause := <-ended:
				if want := mcptasks.ErrCancelled; wait == 0 && !errors.Is(cause, want) {
					t.Errorf("the cause is %v", cause)
				}
			case <-time.After(10 * time.Second):
				t.Error("the handler goes on")
			}
		})
	}
}

// A handler that makes a task of its call still has Wait for its result.
func TestAPromotedCallWaitsForItsResult(t *testing.T) {
	noLeaks(t)
	opts := patient()
	opts.Fallback.Wait = 10 * time.Second
	r := start(t, memory(), opts, one(func(ctx context.Context, _ *mcp.CallToolRequest, _ none) (*mcp.CallToolResult, any, error) {
		err := mcptasks.FromContext(ctx).Promote(ctx)
		return text("done"), nil, errors.Join(err, sleep(ctx, 100*time.Millisecond))
	}, &mcptasks.ToolOptions{Mode: mcptasks.Manual}))
	if res := r.model("alice", nil).call("tool", nil); saidBy(res) != "done" || r.count("alice") != 1 {
		t.Errorf("%s, %d tasks", saidBy(res), r.count("alice"))
	}
}

// A tool that must run as a task serves plain clients if its options say so, and refuses
// those that get no handle.
func TestRequiredToolsServePlainClients(t *testing.T) {
	noLeaks(t)
	r := start(t, memory(), patient(), func(tasks *mcptasks.Tasks, server *mcp.Server) {
		add(tasks, server, "strict", confirm, &mcptasks.ToolOptions{Required: true})
		add(tasks, server, "tool", confirm, &mcptasks.ToolOptions{Required: true, Fallback: mcptasks.FallbackOn})
	})
	m := r.model("alice", nil)
	if _, err := m.session.CallTool(t.Context(), &mcp.CallToolParams{Name: "strict"}); err == nil || !strings.Contains(err.Error(), "Missing required client capability") {
		t.Errorf("a default for all tools makes of one that is required: %v", err)
	}
	if res := m.run("tool", nil); saidBy(res) != "answered: decline" {
		t.Errorf("alice: %s", saidBy(res))
	}
	nobody := r.as("")
	nobody.legacy = true
	if got := nobody.call("tool", nil); got.Error == nil || got.Error.Code != -32021 {
		t.Errorf("an anonymous caller: %v", got)
	}
}

// A task that loses its runner fails, or another replica resumes it if its tool has
// Retry. The next call of task_status says which.
func TestALostTaskSaysSo(t *testing.T) {
	noLeaks(t)
	for name, retry := range map[string]bool{"without Retry": false, "with Retry": true} {
		t.Run(name, func(t *testing.T) {
			store := memory()
			opts := func() *mcptasks.Options {
				o := patient()
				o.Tasks.Lease = 300 * time.Millisecond
				return o
			}
			tool := &mcptasks.ToolOptions{Retry: retry}
			dead := &failing{StorageBackend: store}
			first := start(t, dead, opts(), one(func(ctx context.Context, _ *mcp.CallToolRequest, _ none) (*mcp.CallToolResult, any, error) {
				<-ctx.Done()
				return nil, nil, ctx.Err()
			}, tool))
			id := handle(t, first.localModel(nil).call("tool", nil))
			dead.fail(errAway) // for good: as good as killed
			second := start(t, store, opts(), one(func(ctx context.Context, req *mcp.CallToolRequest, in none) (*mcp.CallToolResult, any, error) {
				return confirm(ctx, req, in)
			}, tool))
			ctx, cancel := context.WithCancel(context.Background())
			running := make(chan error)
			go func() { running <- second.tasks.Run(ctx, second.mcp) }()
			m := second.localModel(nil)
			m.user = map[string]map[string]any{"confirm": {"ok": true}}
			res := m.follow(m.call("task_status", map[string]any{"id": id}))
			if retry && saidBy(res) != "answered: accept" || !retry && fields(res)["status"] != string(domain.Failed) {
				t.Errorf("%s", saidBy(res))
			}
			cancel()
			<-running
		})
	}
}

// An expired task is refused as an unknown one is.
func TestAnExpiredTaskIsNotFound(t *testing.T) {
	noLeaks(t)
	opts := patient()
	opts.Tasks.Retention = 100 * time.Millisecond
	m := start(t, memory(), opts, fallbackTools).model("alice", nil)
	id := handle(t, m.call("long", map[string]any{"ms": 200}))
	eventually(t, "the end of the task", func() bool {
		res := m.call("task_status", map[string]any{"id": id})
		return fields(res)["code"] == "task_not_found"
	})
}

// All of the server's middleware sees calls of the three tools, and may refuse them.
func TestMiddlewareSeesTheFallbackTools(t *testing.T) {
	noLeaks(t)
	var mu sync.Mutex
	var seen []string
	watch := func(where string) mcp.Middleware {
		return func(next mcp.MethodHandler) mcp.MethodHandler {
			return func(ctx context.Context, method string, req mcp.Request) (mcp.Result, error) {
				if call, ok := req.(*mcp.CallToolRequest); ok {
					mu.Lock()
					seen = append(seen, where+" "+call.Params.Name)
					mu.Unlock()
				}
				return next(ctx, method, req)
			}
		}
	}
	r := start(t, memory(), patient(), func(tasks *mcptasks.Tasks, server *mcp.Server) {
		fallbackTools(tasks, server)
		server.AddReceivingMiddleware(watch("before"))
	})
	r.mcp.AddReceivingMiddleware(watch("after"))
	m := r.model("alice", nil)
	id := handle(t, m.call("endless", nil))
	mu.Lock()
	seen = nil
	mu.Unlock()
	m.about(id)
	for _, tool := range []string{"task_status", "task_answer", "task_cancel"} {
		for _, where := range []string{"before", "after"} {
			if !slices.Contains(seen, where+" "+tool) {
				t.Errorf("middleware added %s Install sees %q", where, seen)
			}
		}
	}
}

// A client with the tasks of 2025-11-25 alone is a plain one.
func TestFormerTasksGetTheFallback(t *testing.T) {
	noLeaks(t)
	m := start(t, memory(), patient(), fallbackTools).model("alice", &mcp.ClientOptions{Capabilities: &mcp.ClientCapabilities{
		Experimental: map[string]any{"tasks": map[string]any{}}, Extensions: map[string]any{extension: map[string]any{}},
	}})
	if res := m.run("long", map[string]any{"ms": 200}); saidBy(res) != `{"sum":200}` || !slices.Contains(m.turns, "task_status") {
		t.Errorf("%q: %s", m.turns, saidBy(res))
	}
}

// The options of one tool are checked when it is added.
func TestFallbackOptionsAreChecked(t *testing.T) {
	for _, bad := range []mcptasks.ToolOptions{{Fallback: -1}, {Fallback: 3}, {Repeats: -1}, {Repeats: 3}} {
		func() {
			defer func() {
				if recover() == nil {
					t.Errorf("%+v is taken", bad)
				}
			}()
			_, _, _ = assemble(memory(), nil, one(confirm, &bad))
		}()
	}
}

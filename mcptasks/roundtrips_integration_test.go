//go:build integration

package mcptasks_test

import (
	"context"
	"crypto/rand"
	"math"
	"net"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/modelcontextprotocol/go-sdk/mcp"
	"github.com/redis/go-redis/v9"

	"github.com/taskstore/taskstore"
	"github.com/taskstore/taskstore/internal/redistest"
	"github.com/taskstore/taskstore/mcptasks"
	"github.com/taskstore/taskstore/tasks"
)

// A trace is the commands that one request has sent to Redis before it was answered.
type trace struct {
	mu    sync.Mutex
	trips []trip
}

// A trip is a command, or a pipeline, from its sending to its answer.
type trip struct {
	commands []string
	from, to time.Time
}

type traceKey struct{}

// addTrip notes the commands that the request of ctx has sent. The background work of its
// task is left out, because the client does not wait for it.
func addTrip(ctx context.Context, from time.Time, commands ...redis.Cmder) {
	t, _ := ctx.Value(traceKey{}).(*trace)
	if t == nil || mcptasks.FromContext(ctx) != nil {
		return
	}
	sent := trip{from: from, to: time.Now()}
	for _, c := range commands {
		switch name := c.Name(); name {
		case "hello", "client": // of a new connection
		case "evalsha", "eval":
			sent.commands = append(sent.commands, "script")
		default:
			sent.commands = append(sent.commands, name)
		}
	}
	if len(sent.commands) == 0 {
		return
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	t.trips = append(t.trips, sent)
}

func (t *trace) commands() (names []string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	for _, sent := range t.trips {
		names = append(names, sent.commands...)
	}
	return names
}

// sequential returns how many of the trips had to wait for each other: the most
// of which no two overlap.
func (t *trace) sequential() (n int) {
	t.mu.Lock()
	defer t.mu.Unlock()
	slices.SortFunc(t.trips, func(a, b trip) int { return a.to.Compare(b.to) })
	var end time.Time
	for _, sent := range t.trips {
		if !sent.from.Before(end) {
			n, end = n+1, sent.to
		}
	}
	return n
}

// A wiretap is a hook of go-redis that fills traces.
type wiretap struct{}

func (wiretap) DialHook(next redis.DialHook) redis.DialHook {
	return func(ctx context.Context, network, addr string) (net.Conn, error) { return next(ctx, network, addr) }
}

func (wiretap) ProcessHook(next redis.ProcessHook) redis.ProcessHook {
	return func(ctx context.Context, cmd redis.Cmder) error {
		from := time.Now()
		defer func() { addTrip(ctx, from, cmd) }()
		return next(ctx, cmd)
	}
}

func (wiretap) ProcessPipelineHook(next redis.ProcessPipelineHook) redis.ProcessPipelineHook {
	return func(ctx context.Context, cmds []redis.Cmder) error {
		from := time.Now()
		defer func() { addTrip(ctx, from, cmds...) }()
		return next(ctx, cmds)
	}
}

// traced is a replica with requests that can be traced.
type traced struct {
	*caller
	store   *taskstore.RedisBackend
	release chan struct{} // lets the tool "work" end

	mu    sync.Mutex
	trace *trace
}

func startTraced(t *testing.T, prefix string, lease time.Duration) *traced {
	options, err := redis.ParseURL(redistest.SharedURL(t))
	if err != nil {
		t.Fatal(err)
	}
	client := redis.NewClient(options)
	t.Cleanup(func() { _ = client.Close() })
	client.AddHook(wiretap{})
	store, err := taskstore.NewRedisBackend(client, &taskstore.RedisOptions{Prefix: prefix})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = store.Close() })
	r := &traced{store: store, release: make(chan struct{})}
	opts := fast()
	opts.Tasks.Lease = lease
	opts.Tasks.MaxTasks, opts.Tasks.MaxActive = 100_000, 100_000
	r.caller = start(t, store, opts, func(tasks *mcptasks.Tasks, server *mcp.Server) {
		statusTools(r.release)(tasks, server)
		add(tasks, server, "twice", twoQuestions, nil)
		idle := func(ctx context.Context, _ *mcp.CallToolRequest, _ none) (*mcp.CallToolResult, any, error) {
			<-ctx.Done() // the client does not wait for the handler's own requests to the store
			return nil, nil, ctx.Err()
		}
		add(tasks, server, "idle", idle, nil)
		add(tasks, server, "resumable", idle, &mcptasks.ToolOptions{Retry: true})
		add(tasks, server, "quick", confirm, &mcptasks.ToolOptions{Grace: patienceOfClients})
	}).as("alice")
	r.mcp.AddReceivingMiddleware(func(next mcp.MethodHandler) mcp.MethodHandler { // around all others
		return func(ctx context.Context, method string, req mcp.Request) (mcp.Result, error) {
			r.mu.Lock()
			defer r.mu.Unlock()
			r.trace = new(trace)
			return next(context.WithValue(ctx, traceKey{}, r.trace), method, req)
		}
	})
	return r
}

const patienceOfClients = 10 * time.Second

func twoQuestions(_ context.Context, req *mcp.CallToolRequest, _ none) (*mcp.CallToolResult, any, error) {
	if len(req.Params.InputResponses) == 0 {
		return &mcp.CallToolResult{InputRequests: mcp.InputRequestMap{"a": elicit("a?"), "b": elicit("b?")}}, nil, nil
	}
	return text("done"), nil, nil
}

// parked returns a task of the tool that waits for answers.
func (r *traced) parked(tool string) string {
	id := r.create(tool, nil)
	r.until(id, "input_required")
	return id
}

// ended returns a task that has ended, with its handler gone.
func (r *traced) ended() string {
	id := r.create("fail", nil)
	r.until(id, "failed")
	return id
}

// orphan returns a task with a runner that died a while ago.
func (r *traced) orphan() string {
	dead, err := tasks.New(r.store, &tasks.Options{Lease: time.Millisecond})
	if err != nil {
		r.t.Fatal(err)
	}
	task, _, err := dead.Create(r.t.Context(), "n:alice", tasks.CreateParams{Holder: "dead"})
	if err != nil {
		r.t.Fatal(err)
	}
	for {
		now, err := r.store.Now(r.t.Context())
		if err != nil {
			r.t.Fatal(err)
		}
		if now.After(task.Lease.ExpiresAt.Add(time.Millisecond)) {
			return task.ID
		}
	}
}

const briefLease = 30 * time.Millisecond

// suspected returns a task with a runner that has been suspected for long enough.
func (r *traced) suspected() string {
	id := r.orphan()
	r.get(id)
	time.Sleep(briefLease/3 + 10*time.Millisecond) // by the server's clock
	return id
}

// heard listens to a task until its stream ends.
func (r *traced) heard(id string) reply {
	for range r.listen(r.t.Context(), map[string]any{"taskIds": []string{id}}) {
	}
	return reply{}
}

// last returns the commands of the last request, and how many round trips the client
// waited for.
func (r *traced) last() (commands string, sequential int) {
	r.mu.Lock() // it has returned
	defer r.mu.Unlock()
	return strings.Join(r.trace.commands(), " "), r.trace.sequential()
}

// A client waits for so many round trips to Redis, and no more.
func TestRoundTrips(t *testing.T) {
	r := startTraced(t, rand.Text(), time.Hour)
	brief := startTraced(t, rand.Text(), briefLease) // for tasks that have lost their runner
	unknown := unknownID
	answer := map[string]any{"confirm": accept(nil)}
	legacy := &caller{replica: r.replica, user: "alice", legacy: true}
	none := func() string { return "" }
	working := func() string { return r.create("work", nil) }
	settled := func() string { // a working task; only this test writes to it
		id := working()
		for deadline := time.Now().Add(patienceOfClients); r.get(id).Result["statusMessage"] != "halfway"; {
			if time.Now().After(deadline) {
				t.Fatal("the handler does not start")
			}
		}
		return id
	}
	for _, c := range []struct {
		name       string
		before     func() string // returns the id of a task
		request    func(id string) reply
		commands   string // in the order of their answers
		sequential int
	}{
		{"tools/call to CreateTaskResult", none, func(string) reply { return r.call("idle", nil) }, "script", 1},
		{"tools/call to CreateTaskResult, resumable", none, func(string) reply { return r.call("resumable", nil) }, "script script", 2},
		{"tools/call done within its grace", none, func(string) reply { return r.call("quick", nil) }, "", 0},
		{"tools/call of a client without tasks", none, func(string) reply { return legacy.call("ask", nil) }, "", 0},
		{"tasks/get of a working task", settled, r.get, "hmget", 1},
		{"tasks/get of a task that asks", func() string { return r.parked("ask") }, r.get, "hmget", 1},
		{"tasks/get of a task that has ended", r.ended, r.get, "hmget", 1},
		{"tasks/get of an unknown task", func() string { return unknown }, r.get, "hmget", 1},
		{"tasks/get of a malformed id", func() string { return "../" + unknown }, r.get, "", 0},
		{"tasks/cancel of a working task", settled, r.cancel, "hmget script", 2},
		{"tasks/cancel of a task that asks", func() string { return r.parked("ask") }, r.cancel, "hmget script", 2},
		{"tasks/cancel of a task that has ended", r.ended, r.cancel, "hmget", 1},
		{"tasks/cancel of an unknown task", func() string { return unknown }, r.cancel, "hmget", 1},
		{"tasks/update with the last answer", func() string { return r.parked("ask") },
			func(id string) reply { return r.update(id, answer) }, "hmget script", 2},
		{"tasks/update with one of two answers", func() string { return r.parked("twice") },
			func(id string) reply { return r.update(id, map[string]any{"a": accept(nil)}) }, "hmget script", 2},
		{"tasks/update of an unknown question", func() string { return r.parked("ask") },
			func(id string) reply { return r.update(id, map[string]any{"x": accept(nil)}) }, "hmget", 1},
		{"tasks/update of a task that has ended", r.ended,
			func(id string) reply { return r.update(id, answer) }, "hmget", 1},
		{"tasks/update of an unknown task", func() string { return unknown },
			func(id string) reply { return r.update(id, answer) }, "hmget", 1},
		{"subscriptions/listen to a task that has ended", r.ended,
			func(id string) reply { return r.heard(id) }, "hmget hmget", 2},
		{"server/discover", none, func(string) reply { return r.do("server/discover", map[string]any{}) }, "", 0},
	} {
		r.check(c.name, c.before, c.request, c.commands, c.sequential)
	}
	brief.check("tasks/get that finds a lease over", brief.orphan, brief.get, "hmget hmget script", 3)
	brief.check("tasks/get that finds the runner dead", brief.suspected, brief.get, "hmget hmget script", 3)
}

// check makes a request and reports its commands and round trips if they are not as given.
func (r *traced) check(name string, before func() string, request func(id string) reply, commands string, sequential int) {
	r.t.Helper()
	var got string
	took := math.MaxInt
	// Commands sent side by side need not overlap on a busy machine, so it tries again; those
	// that have to wait always come one after the other. The first attempt may load a script.
	for try := 0; try < 2 || got == commands && took > sequential && try < 50; try++ {
		id := before()
		if _, err := r.store.Now(r.t.Context()); err != nil { // read anew every ten seconds
			r.t.Fatal(err)
		}
		request(id)
		var n int
		got, n = r.last()
		took = min(took, n)
	}
	if got != commands || took != sequential {
		r.t.Errorf("%s: %q, %d after each other; want %q, %d", name, got, took, commands, sequential)
	}
	r.t.Logf("%-48s %-20s %d", name, got, took)
}

// So do programs that use the store of tasks itself, with idempotency keys.
func TestRoundTripsOfTheStore(t *testing.T) {
	r := startTraced(t, rand.Text(), time.Hour)
	store, err := tasks.New(r.store, nil)
	if err != nil {
		t.Fatal(err)
	}
	warm := 0 // the first time the server may have to be given a script
	count := func(name, want string, do func(ctx context.Context) error) {
		t.Helper()
		if _, err := r.store.Now(t.Context()); err != nil { // read anew every ten seconds
			t.Fatal(err)
		}
		sent := new(trace)
		if err := do(context.WithValue(t.Context(), traceKey{}, sent)); err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		if got := strings.Join(sent.commands(), " "); got != want && warm > 0 {
			t.Errorf("%s: %q, want %q", name, got, want)
		}
	}
	for warm = range 2 {
		for _, p := range []tasks.CreateParams{{IdempotencyKey: "key"}, {IdempotencyKey: "key", Resumable: true}} {
			var task tasks.Task
			create := func(ctx context.Context) (err error) {
				task, _, err = store.Create(ctx, "n:alice", p)
				return err
			}
			entry := "" // of the registry
			if p.Resumable {
				entry = " script"
			}
			if err := create(t.Context()); err != nil {
				t.Fatal(err)
			}
			if !p.Resumable {
				count("a create whose key is taken", "script hmget hmget", create)
			}
			count("a longer TTL", "hmget script", func(ctx context.Context) error {
				_, err := store.Update(ctx, "n:alice", task.ID, func(t *tasks.Task) error { t.TTL *= 2; return nil })
				return err
			})
			count("an end", "hmget script"+entry, func(ctx context.Context) error {
				_, err := store.Cancel(ctx, "n:alice", task.ID)
				return err
			})
			if err := store.Delete(t.Context(), "n:alice", task.ID); err != nil {
				t.Fatal(err)
			}
			count("a create with a key", "script"+entry, create)
			if !p.Resumable {
				held, _, err := store.Create(t.Context(), "n:alice", tasks.CreateParams{Holder: "runner"})
				if err != nil {
					t.Fatal(err)
				}
				run := store.RunOf(held)
				count("a report of its runner", "script", func(ctx context.Context) error {
					_, err := run.SetStatusMessage(ctx, "half")
					return err
				})
				count("an end by its runner", "script", func(ctx context.Context) error {
					_, err := run.Complete(ctx, []byte(`1`))
					return err
				})
			}
			count("a delete", "hmget script"+entry, func(ctx context.Context) error { return store.Delete(ctx, "n:alice", task.ID) })
		}
	}
}

// A replica without a recent reading of the server's clock asks for it, once in ten
// seconds.
func TestRoundTripsForTheClock(t *testing.T) {
	prefix := rand.Text()
	one, two := startTraced(t, prefix, time.Hour), startTraced(t, prefix, time.Hour)
	id := one.ended()
	startTraced(t, prefix, time.Hour).get(id) // gives the server the script
	for _, want := range []string{"hmget script", "hmget"} {
		two.get(id)
		if got, _ := two.last(); got != want {
			t.Errorf("tasks/get sent %q, want %q", got, want)
		}
	}
}

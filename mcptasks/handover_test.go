package mcptasks_test

import (
	"context"
	"log/slog"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/modelcontextprotocol/go-sdk/mcp"

	"github.com/taskstore/taskstore/mcptasks"
	domain "github.com/taskstore/taskstore/tasks"
)

// run starts r's Run. The returned function stops it and returns its error.
func (r *replica) run(ctx context.Context) (stop func() error) {
	ctx, cancel := context.WithCancel(ctx)
	ran := make(chan error, 1)
	go func() { ran <- r.tasks.Run(ctx, r.mcp) }()
	return func() error { cancel(); return <-ran }
}

// resumable is a tool that works for d. A call that resumes it works for d again.
func resumable(runs *atomic.Int32, d time.Duration, opts mcptasks.ToolOptions) func(*mcptasks.Tasks, *mcp.Server) {
	opts.Retry = true
	return func(tasks *mcptasks.Tasks, server *mcp.Server) {
		add(tasks, server, "work", func(ctx context.Context, _ *mcp.CallToolRequest, _ none) (*mcp.CallToolResult, any, error) {
			runs.Add(1)
			select {
			case <-time.After(d):
				return text("done"), nil, nil
			case <-ctx.Done():
				return nil, nil, context.Cause(ctx)
			}
		}, &opts)
	}
}

// A deploy hands the tasks of tools with Retry over at once. The next replica runs them,
// as many at a time as it may, independent of their TTL.
func TestADeployLosesNoTask(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := memory()
		var runs atomic.Int32
		tools := resumable(&runs, 10*time.Second, mcptasks.ToolOptions{TTL: 5 * time.Second})
		one := startDirect(t, store, &mcptasks.Options{}, tools)
		stop := one.run(t.Context())
		var ids []string
		for range 90 {
			ids = append(ids, one.as("alice").create("work", nil))
		}
		time.Sleep(time.Second)
		begun := time.Now()
		if err := stop(); err != nil {
			t.Errorf("Run: %v", err)
		}
		if took := time.Since(begun); took > time.Second {
			t.Errorf("the deploy took %v", took)
		}
		time.Sleep(time.Minute) // longer than a TTL, a lease and the next replica's start
		begun = time.Now()
		two := startDirect(t, store, &mcptasks.Options{}, tools)
		stop = two.run(t.Context())
		for _, id := range ids {
			for two.as("alice").get(id).Result["status"] == "working" {
				time.Sleep(100 * time.Millisecond)
			}
			if got := two.as("alice").get(id); got.Result["status"] != "completed" {
				t.Fatalf("after the deploy: %v", got)
			}
		}
		// 90 tasks of 10 s, 16 at once: six rounds.
		if took := time.Since(begun); took > 62*time.Second || runs.Load() != 180 {
			t.Errorf("it took %v, %d runs", took, runs.Load())
		}
		if err := stop(); err != nil {
			t.Errorf("Run: %v", err)
		}
	})
}

// No more than MaxResumed lost tasks run at once, and no fewer while there are some.
func TestLostTasksRunAsManyAtOnceAsAllowed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := memory()
		opts := &mcptasks.Options{MaxResumed: 3}
		for range 8 {
			lose(t, store, opts, "work")
		}
		var now, most atomic.Int32
		r := startDirect(t, store, opts, func(tasks *mcptasks.Tasks, server *mcp.Server) {
			add(tasks, server, "work", func(ctx context.Context, _ *mcp.CallToolRequest, _ none) (*mcp.CallToolResult, any, error) {
				if n := now.Add(1); n > most.Load() {
					most.Store(n)
				}
				defer now.Add(-1)
				time.Sleep(time.Second)
				return text("done"), nil, nil
			}, &mcptasks.ToolOptions{Retry: true})
		})
		stop := r.run(t.Context())
		for now.Load() == 0 {
			time.Sleep(100 * time.Millisecond)
		}
		time.Sleep(500 * time.Millisecond)
		for range 2 {
			if n := now.Load(); n != 3 {
				t.Errorf("%d run at once", n)
			}
			time.Sleep(time.Second)
		}
		time.Sleep(10 * time.Second)
		if now.Load() != 0 || most.Load() != 3 {
			t.Errorf("%d run at the end, %d at most", now.Load(), most.Load())
		}
		_ = stop()
	})
}

// A task is gone on with only by servers of the name of the one that made it.
func TestTasksStayWithServersOfTheirName(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := memory()
		tool := func(says string, runs *atomic.Int32) func(*mcptasks.Tasks, *mcp.Server) {
			return func(tasks *mcptasks.Tasks, server *mcp.Server) {
				add(tasks, server, "search", func(ctx context.Context, req *mcp.CallToolRequest, _ none) (*mcp.CallToolResult, any, error) {
					runs.Add(1)
					if len(req.Params.InputResponses) > 0 {
						return text(says), nil, nil
					}
					<-ctx.Done()
					return nil, nil, ctx.Err()
				}, &mcptasks.ToolOptions{Retry: true})
				add(tasks, server, "ask", confirm, nil)
			}
		}
		var wikis, billings atomic.Int32
		wiki := startDirect(t, store, &mcptasks.Options{Name: "wiki"}, tool("wiki", &wikis))
		billing := startDirect(t, store, &mcptasks.Options{Name: "billing"}, tool("billing", &billings))
		stopWiki := wiki.run(t.Context())
		stopBilling := billing.run(t.Context())
		id := billing.as("alice").create("search", nil)
		asking := billing.as("alice").create("ask", nil)
		billing.as("alice").until(asking, "input_required")
		if err := stopBilling(); err != nil {
			t.Error(err)
		}
		time.Sleep(5 * time.Minute)
		if wikis.Load() != 0 {
			t.Error("the wiki ran billing's task")
		}
		if got := wiki.as("alice").get(id); got.Result["status"] != "working" {
			t.Errorf("billing's task: %v", got)
		}
		if got := wiki.as("alice").update(asking, map[string]any{"confirm": accept(nil)}); got.Error == nil {
			t.Errorf("the wiki took an answer to billing's task: %v", got)
		}
		if got := wiki.as("alice").get(asking); got.Result["status"] != "input_required" {
			t.Errorf("billing's task after that: %v", got)
		}
		again := startDirect(t, store, &mcptasks.Options{Name: "billing"}, tool("billing", &billings))
		stopBilling = again.run(t.Context())
		time.Sleep(30 * time.Second)
		if billings.Load() != 2 {
			t.Errorf("%d runs of billing's task", billings.Load())
		}
		again.as("alice").cancel(id)
		time.Sleep(time.Second)
		_, _ = stopBilling(), stopWiki()
	})
}

// One Tasks may serve two servers: each resumes its own tasks, and the end of one
// leaves the other alone.
func TestServersOfOneTasksAreApart(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := memory()
		tasks, err := mcptasks.New(store, nil)
		if err != nil {
			t.Fatal(err)
		}
		var runs [2]atomic.Int32
		var servers [2]*replica
		for i, name := range []string{"wiki", "billing"} {
			server := mcp.NewServer(&mcp.Implementation{Name: name, Version: "1"}, nil)
			add(tasks, server, "search", func(ctx context.Context, _ *mcp.CallToolRequest, _ none) (*mcp.CallToolResult, any, error) {
				runs[i].Add(1)
				<-ctx.Done()
				return nil, nil, ctx.Err()
			}, &mcptasks.ToolOptions{Retry: i == 1})
			if err := tasks.Install(server); err != nil {
				t.Fatal(err)
			}
			servers[i] = directTo(t, tasks, server)
		}
		stopWiki := servers[0].run(t.Context())
		id := servers[1].as("alice").create("search", nil)
		if err := stopWiki(); err != nil {
			t.Error(err)
		}
		time.Sleep(time.Minute)
		if got := servers[1].as("alice").get(id); got.Result["status"] != "working" || runs[1].Load() != 1 || runs[0].Load() != 0 {
			t.Errorf("after the wiki's end: %v, %d and %d runs", got, runs[0].Load(), runs[1].Load())
		}
		servers[1].as("alice").create("search", nil)
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		if err := tasks.Shutdown(ctx); err != nil {
			t.Error(err)
		}
	})
}

// A task that no server can run any more fails after some leases, with the reason.
func TestATaskWithoutItsToolFails(t *testing.T) {
	for name, tools := range map[string]func(*mcptasks.Tasks, *mcp.Server){
		"the tool is gone":        func(tasks *mcptasks.Tasks, server *mcp.Server) { add(tasks, server, "other", confirm, nil) },
		"it is not to be retried": func(tasks *mcptasks.Tasks, server *mcp.Server) { add(tasks, server, "work", confirm, nil) },
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				store := memory()
				opts := &mcptasks.Options{}
				lost := lose(t, store, opts, "work")
				var runs atomic.Int32
				old := startDirect(t, store, opts, resumable(&runs, time.Hour, mcptasks.ToolOptions{}))
				handedOver := old.as("alice").create("work", nil)
				ctx, cancel := context.WithCancel(t.Context())
				cancel()
				if err := old.tasks.Shutdown(ctx); err != nil {
					t.Fatal(err)
				}
				log := new(lockedBuffer)
				r := startDirect(t, store, &mcptasks.Options{Logger: slog.New(slog.NewTextHandler(log, nil))}, tools)
				stop := r.run(t.Context())
				time.Sleep(4 * time.Minute)
				for _, id := range []string{lost, handedOver} {
					if got := r.as("alice").get(id); got.Result["status"] != "working" {
						t.Errorf("while another replica may come: %v", got)
					}
				}
				time.Sleep(3 * time.Minute)
				for _, id := range []string{lost, handedOver} {
					if got := r.as("alice").get(id); got.Result["status"] != "failed" || !strings.Contains(got.String(), "its tool is gone") {
						t.Errorf("after some leases: %v", got)
					}
				}
				if n := strings.Count(log.String(), "a task is given up"); n != 2 {
					t.Errorf("%d lines of two tasks: %s", n, log)
				}
				_ = stop()
			})
		})
	}
}

// A replica without the tool leaves the tool's tasks to the replicas that have it.
func TestAReplicaWithoutTheToolLeavesItsTasksToOthers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store, opts := memory(), &mcptasks.Options{}
		var runs atomic.Int32
		ids := []string{lose(t, store, opts, "work"), lose(t, store, opts, "work")}
		without := startDirect(t, store, opts, resumable(&runs, time.Second, mcptasks.ToolOptions{}))
		without.mcp.RemoveTools("work")
		stopFirst := without.run(t.Context())
		time.Sleep(75 * time.Second)
		for _, id := range ids {
			if got := without.as("alice").get(id); got.Result["status"] != "working" {
				t.Errorf("without the tool: %v", got)
			}
		}
		with := startDirect(t, store, opts, resumable(&runs, time.Second, mcptasks.ToolOptions{}))
		stopSecond := with.run(t.Context())
		time.Sleep(30 * time.Second)
		for _, id := range ids {
			if got := with.as("alice").get(id); got.Result["status"] != "completed" {
				t.Errorf("with the tool: %v", got)
			}
		}
		_, _ = stopFirst(), stopSecond()
	})
}

// A replica that drains, or that lacks the tool, takes no answer that it could not
// go on with; another can.
func TestAnAnswerIsTakenOnlyByAServerThatCanGoOn(t *testing.T) {
	store := memory()
	able := start(t, store, nil, func(tasks *mcptasks.Tasks, server *mcp.Server) { add(tasks, server, "ask", confirm, nil) })
	without := start(t, store, nil, func(*mcptasks.Tasks, *mcp.Server) {})
	draining := start(t, store, nil, func(tasks *mcptasks.Tasks, server *mcp.Server) { add(tasks, server, "ask", confirm, nil) })
	if err := draining.tasks.Shutdown(t.Context()); err != nil {
		t.Fatal(err)
	}
	id := able.as("alice").create("ask", nil)
	able.as("alice").until(id, "input_required")
	answers := map[string]any{"confirm": accept(nil)}
	for name, r := range map[string]*replica{"without the tool": without, "draining": draining} {
		got := r.as("alice").update(id, answers)
		if got.Error == nil || got.HTTP != 503 || got.Error.Data["retryable"] != true {
			t.Errorf("%s: %v", name, got)
		}
		if got := r.as("alice").get(id); got.Result["status"] != "input_required" {
			t.Errorf("%s: then %v", name, got)
		}
		if got := r.as("alice").update(id, map[string]any{"another": accept(nil)}); got.Error != nil {
			t.Errorf("%s: an answer that no question waits for: %v", name, got)
		}
	}
	if got := able.as("alice").update(id, answers); got.Error != nil {
		t.Errorf("a replica that can go on: %v", got)
	}
	able.as("alice").until(id, "completed")
}

// A task lives for as long as it is worked on, past its TTL and up to MaxTTL. Then it
// fails, and its client can see that.
func TestATaskThatIsWorkedOnOutlivesItsTTL(t *testing.T) {
	for name, c := range map[string]struct {
		opts  domain.Options
		tool  mcptasks.ToolOptions
		works time.Duration
		want  string
	}{
		"a short TTL":          {domain.Options{}, mcptasks.ToolOptions{TTL: 3 * time.Second}, 8 * time.Second, "completed"},
		"the defaults":         {domain.Options{}, mcptasks.ToolOptions{}, 61 * time.Minute, "completed"},
		"longer than any TTL":  {domain.Options{MaxTTL: 2 * time.Hour}, mcptasks.ToolOptions{}, 119 * time.Minute, "completed"},
		"longer than MaxTTL":   {domain.Options{MaxTTL: 2 * time.Hour}, mcptasks.ToolOptions{}, 150 * time.Minute, "failed"},
		"MaxTTL and Retry":     {domain.Options{MaxTTL: 2 * time.Hour}, mcptasks.ToolOptions{Retry: true}, 150 * time.Minute, "failed"},
		"shorter than a lease": {domain.Options{}, mcptasks.ToolOptions{TTL: time.Millisecond}, 29 * time.Second, "completed"},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				var cause atomic.Value
				r := startDirect(t, memory(), &mcptasks.Options{Tasks: c.opts}, func(tasks *mcptasks.Tasks, server *mcp.Server) {
					add(tasks, server, "work", func(ctx context.Context, _ *mcp.CallToolRequest, _ none) (*mcp.CallToolResult, any, error) {
						select {
						case <-time.After(c.works):
							return text("done"), nil, nil
						case <-ctx.Done():
							cause.Store(context.Cause(ctx))
							return nil, nil, context.Cause(ctx)
						}
					}, &c.tool)
				})
				stop := r.run(t.Context())
				id := r.as("alice").create("work", nil)
				time.Sleep(c.works + time.Minute)
				if got := r.as("alice").get(id); got.Result["status"] != c.want {
					t.Errorf("at its end: %v", got)
				}
				if c.want == "failed" && cause.Load() != mcptasks.ErrExpired {
					t.Errorf("the handler was told %v", cause.Load())
				}
				_ = stop()
			})
		})
	}
}

// A cancel that was acknowledged holds, even if the handler fails before it hears of it.
func TestAnAcknowledgedCancelHolds(t *testing.T) {
	for name, end := range map[string]func() (*mcp.CallToolResult, error){
		"an error":        func() (*mcp.CallToolResult, error) { return nil, context.DeadlineExceeded },
		"an error result": func() (*mcp.CallToolResult, error) { r := text("no"); r.IsError = true; return r, nil },
		"a panic":         func() (*mcp.CallToolResult, error) { panic("now") },
		"a question": func() (*mcp.CallToolResult, error) {
			return &mcp.CallToolResult{InputRequests: mcp.InputRequestMap{"q": elicit("q")}}, nil
		},
	} {
		t.Run(name, func(t *testing.T) {
			store := deaf{memory()}
			opts := fast()
			opts.Tasks.PollInterval, opts.Tasks.Lease = time.Hour, time.Hour
			entered, finish := make(chan struct{}), make(chan struct{})
			r := start(t, store, opts, func(tasks *mcptasks.Tasks, server *mcp.Server) {
				add(tasks, server, "work", func(context.Context, *mcp.CallToolRequest, none) (*mcp.CallToolResult, any, error) {
					close(entered)
					<-finish
					res, err := end()
					return res, nil, err
				}, nil)
			})
			c := r.as("alice")
			id := c.create("work", nil)
			<-entered
			if got := c.cancel(id); got.Error != nil {
				t.Fatal(got)
			}
			close(finish)
			c.until(id, "cancelled")
		})
	}
}

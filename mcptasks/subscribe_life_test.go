package mcptasks_test

import (
	"context"
	"fmt"
	"net/http"
	"runtime"
	"testing"
	"testing/synctest"
	"time"

	"github.com/modelcontextprotocol/go-sdk/mcp"

	"github.com/taskstore/taskstore/mcptasks"
	"github.com/taskstore/taskstore/tasks"
)

// gracefully checks that the last of events is the result that says so.
func gracefully(t *testing.T, what string, events <-chan event) {
	t.Helper()
	var last event
	for {
		select {
		case e, open := <-events:
			if open {
				last = e
				continue
			}
		case <-time.After(20 * time.Second):
			t.Fatalf("%s: the stream goes on after %s", what, last.Raw)
		}
		break
	}
	meta, _ := last.Result["_meta"].(map[string]any)
	if last.Result["resultType"] != "complete" || meta["io.modelcontextprotocol/subscriptionId"] != float64(7) {
		t.Errorf("%s: the stream ended with %s", what, last.Raw)
	}
}

// everything a client can listen for, with and without tasks.
func everything(id string) []map[string]any {
	return []map[string]any{
		{"taskIds": []string{id}},
		{"taskIds": []string{id}, "toolsListChanged": true},
		{"toolsListChanged": true},
	}
}

// A request is authorised once: its subscription ends with its token.
func TestASubscriptionEndsWithItsToken(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		opts := &mcptasks.Options{Tasks: tasks.Options{DefaultTTL: 24 * time.Hour, Lease: 30 * time.Second}}
		r := startDirect(t, memory(), opts, asking)
		defer r.tasks.Shutdown(t.Context())
		alice, anonymous := r.as("alice"), r.as("") // alice's token is good for an hour
		for _, notifications := range everything(alice.create("ask", nil)) {
			start := time.Now()
			events := alice.listen(t.Context(), notifications)
			next(t, events)
			var last event
			for last = range events {
			}
			if lived := time.Since(start); lived != time.Hour || last.Result["resultType"] != "complete" {
				t.Errorf("%v lived for %v and ended with %s", notifications, lived, last.Raw)
			}
		}

		ctx, cancel := context.WithCancel(t.Context())
		id := anonymous.create("ask", nil)
		anonymous.until(id, "input_required")
		events := anonymous.listen(ctx, map[string]any{"taskIds": []string{id}})
		next(t, events)
		next(t, events)
		time.Sleep(10 * time.Hour)
		anonymous.cancel(id)
		if e := next(t, events); e.Params["status"] != "cancelled" {
			t.Errorf("without a token: %s", e.Raw)
		}
		cancel()
	})
}

// At Shutdown every subscription gets its result, and new ones are for another replica.
// Both work while handlers still run, so the HTTP server can shut down.
func TestShutdownEndsSubscriptions(t *testing.T) {
	noLeaks(t)
	release := make(chan struct{})
	r := start(t, memory(), nil, statusTools(release))
	c := r.as("alice")
	id := c.create("work", nil)
	s := r.stream()
	anonymous := r.as("").create("ask", nil)
	s.send(r.as(""), 7, map[string]any{"taskIds": []string{anonymous}})
	s.next()
	s.next()
	var streams []<-chan event
	for _, notifications := range everything(id) {
		events := c.listen(t.Context(), notifications)
		next(t, events)
		streams = append(streams, events)
	}
	drained := make(chan error, 1)
	go func() { drained <- r.tasks.Shutdown(context.Background()) }()
	for i, events := range streams {
		gracefully(t, fmt.Sprint(everything(id)[i]), events)
	}
	e := s.next()
	for e.Method == "notifications/tasks" {
		e = s.next()
	}
	if e.Result["resultType"] != "complete" {
		t.Errorf("over a stream: %s", e.Raw)
	}
	for _, notifications := range everything(id) {
		if got := c.do("subscriptions/listen", map[string]any{"notifications": notifications}); got.HTTP != http.StatusServiceUnavailable || got.Error.Data["retryable"] != true {
			t.Errorf("%v during the shutdown: %v", notifications, got)
		}
	}
	s.send(r.as(""), 8, map[string]any{"taskIds": []string{anonymous}})
	if e := s.next(); e.Error == nil {
		t.Errorf("over a stream, during the shutdown: %s", e.Raw)
	}
	select {
	case err := <-drained:
		t.Errorf("Shutdown did not wait for a handler: %v", err)
	default:
	}
	close(release)
	if err := <-drained; err != nil {
		t.Error(err)
	}
}

// A subscription that a Shutdown meets before it is acknowledged is for another
// replica, too.
func TestShutdownRefusesUnacknowledgedSubscriptions(t *testing.T) {
	noLeaks(t)
	waits := make(chan struct{}, 1)
	r := start(t, memory(), nil, func(tasks *mcptasks.Tasks, server *mcp.Server) {
		asking(tasks, server)
		server.AddReceivingMiddleware(func(next mcp.MethodHandler) mcp.MethodHandler {
			return func(ctx context.Context, method string, req mcp.Request) (mcp.Result, error) {
				if method == "subscriptions/listen" {
					waits <- struct{}{}
					<-ctx.Done()
				}
				return next(ctx, method, req)
			}
		})
	})
	s := r.stream()
	s.send(r.as(""), 1, map[string]any{"taskIds": []string{unknownID}})
	<-waits
	if err := r.tasks.Shutdown(t.Context()); err != nil {
		t.Error(err)
	}
	if e := s.next(); e.Error["code"] != float64(-32603) || e.Error["data"] == nil {
		t.Errorf("the answer: %s", e.Raw)
	}
}

// One owner, or all together, can have so many subscriptions and no more; one that
// ends makes room.
func TestSubscriptionsAreBounded(t *testing.T) {
	noLeaks(t)
	opts := fast()
	opts.MaxSubscriptions, opts.MaxOwnerSubscriptions = 3, 2
	r := start(t, memory(), opts, asking)
	alice, bob, anonymous := r.as("alice"), r.as("bob"), r.as("")
	listen := func(c *caller) (end context.CancelFunc) {
		t.Helper()
		ctx, end := context.WithCancel(context.Background())
		t.Cleanup(end)
		id := c.create("ask", nil)
		for range 500 { // the server has to notice that a client is gone
			resp, err := c.http.Do(c.request(ctx, "subscriptions/listen", map[string]any{"notifications": map[string]any{"taskIds": []string{id}}}))
			if err != nil {
				t.Fatal(err)
			}
			if resp.StatusCode == http.StatusOK && resp.Header.Get("Content-Type") == "text/event-stream" {
				body := make([]byte, 8)
				if _, err := resp.Body.Read(body); err == nil && string(body) == "event: m" {
					t.Cleanup(func() { _ = resp.Body.Close() })
					return end
				}
			}
			_ = resp.Body.Close()
			time.Sleep(10 * time.Millisecond)
		}
		t.Fatal("no room")
		return end
	}
	refused := func(c *caller, status int, message string) {
		t.Helper()
		got := c.do("subscriptions/listen", map[string]any{"notifications": map[string]any{"taskIds": []string{unknownID}}})
		if got.HTTP != status || got.Error == nil || got.Error.Code != -32603 || got.Error.Message != message {
			t.Errorf("one more: %v", got)
		}
		if retryable := got.Error.Data["retryable"] == true; retryable != (status == http.StatusServiceUnavailable) {
			t.Errorf("one more: %v", got.Error.Data)
		}
	}
	const owners = "too many subscriptions: at most 2 are open for one owner; end one, or poll with tasks/get"
	const all = "too many subscriptions are open on this server: ask again, or poll with tasks/get"
	first := listen(alice)
	listen(alice)
	refused(alice, http.StatusOK, owners)
	third := listen(bob)
	refused(bob, http.StatusServiceUnavailable, all)
	refused(anonymous, http.StatusServiceUnavailable, all)
	s := r.stream()
	s.send(anonymous, 1, map[string]any{"taskIds": []string{unknownID}})
	if e := s.next(); e.Error == nil {
		t.Errorf("over a stream: %s", e.Raw)
	}
	first()
	listen(alice)
	third()
	listen(anonymous)
	refused(alice, http.StatusServiceUnavailable, all)
}

// The cost of a subscription does not grow with its tasks. Anonymous tasks have a watch
// for each of the owners that they are spread over.
func TestManyTasksOfOneSubscriptionCostLittle(t *testing.T) {
	noLeaks(t)
	r := start(t, memory(), nil, asking)
	for user, most := range map[string]int{"alice": 20, "": 20 + 64} {
		c := r.as(user)
		var ids []string
		for range 64 {
			id := c.create("ask", nil)
			c.until(id, "input_required")
			ids = append(ids, id)
		}
		c.http.CloseIdleConnections()
		before := runtime.NumGoroutine()
		ctx, cancel := context.WithCancel(t.Context())
		events := c.listen(ctx, map[string]any{"taskIds": ids})
		for range 1 + len(ids) {
			next(t, events)
		}
		n := runtime.NumGoroutine() - before
		for range 100 {
			if n <= most {
				break
			}
			time.Sleep(10 * time.Millisecond)
			n = runtime.NumGoroutine() - before
		}
		if n > most {
			t.Errorf("%q: %d goroutines for %d tasks", user, n, len(ids))
		}
		cancel()
		for range events {
		}
	}
}

// A client gets each state once, however often the record of a task is written.
func TestEqualStatesArePushedOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := startDirect(t, memory(), &mcptasks.Options{Tasks: tasks.Options{DefaultTTL: 24 * time.Hour}}, func(tasks *mcptasks.Tasks, server *mcp.Server) {
			add(tasks, server, "ask", confirm, &mcptasks.ToolOptions{Retry: true})
		})
		defer r.tasks.Shutdown(t.Context())
		store := r.tasks.Store()
		created, _, err := store.Create(t.Context(), "n:alice", tasks.CreateParams{Holder: "one", Resumable: true, Request: []byte(`{"name":"x"}`)})
		if err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithCancel(t.Context())
		events := r.as("alice").listen(ctx, map[string]any{"taskIds": []string{created.ID}})
		var pushed []any
		read := make(chan struct{})
		go func() {
			defer close(read)
			for e := range events {
				if e.Method == "notifications/tasks" {
					pushed = append(pushed, e.Params["statusMessage"])
				}
			}
		}()
		synctest.Wait()
		run := store.RunOf(created)
		for i := range 3 { // taken over, which clients cannot see, and then a change that they can
			if _, err := run.Release(t.Context()); err != nil {
				t.Fatal(err)
			}
			synctest.Wait()
			if run, err = store.Acquire(t.Context(), "n:alice", created.ID, fmt.Sprint("holder ", i)); err != nil {
				t.Fatal(err)
			}
			synctest.Wait()
			if _, err := run.SetStatusMessage(t.Context(), fmt.Sprint("message ", i)); err != nil {
				t.Fatal(err)
			}
			synctest.Wait()
		}
		cancel()
		<-read
		if got := fmt.Sprint(pushed); got != "[<nil> message 0 message 1 message 2]" {
			t.Errorf("pushed: %s", got)
		}
	})
}

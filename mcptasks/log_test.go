package mcptasks_test

import (
	"context"
	"errors"
	"log/slog"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/modelcontextprotocol/go-sdk/mcp"

	"github.com/taskstore/taskstore"
	"github.com/taskstore/taskstore/mcptasks"
)

// unable is a store that can refuse all writes.
type unable struct {
	taskstore.StorageBackend
	refuses atomic.Bool
}

func (s *unable) PutIfVersion(ctx context.Context, key taskstore.Key, value taskstore.Value, expected taskstore.Version) (taskstore.Version, error) {
	if s.refuses.Load() {
		return 0, errors.New("not now")
	}
	return s.StorageBackend.PutIfVersion(ctx, key, value, expected)
}

func (s *unable) PutBatch(ctx context.Context, writes []taskstore.Write) error {
	if s.refuses.Load() {
		return errors.New("not now")
	}
	return taskstore.PutBatch(ctx, s.StorageBackend, writes)
}

func (s *unable) Unwrap() taskstore.StorageBackend { return s.StorageBackend }

// logs waits until the replica has logged a line.
func (r *replica) logs(level, message string) {
	r.t.Helper()
	want := "level=" + level + ` msg="mcptasks: ` + message + `"`
	for range 1000 {
		if strings.Contains(r.log.String(), want) {
			return
		}
		time.Sleep(10 * time.Millisecond)
	}
	r.t.Errorf("not logged: %s; but\n%s", want, r.log)
}

// The server logs each event of a task that its client and its handler did not ask for, and
// leaves ids, owners and data out of the lines.
func TestEventsOfTasksAreLogged(t *testing.T) {
	store, opts := memory(), fast()
	opts.DrainTimeout = time.Millisecond
	const user = "tenant-secret"
	started := make(chan struct{}, 10)
	tools := func(tasks *mcptasks.Tasks, server *mcp.Server) {
		for name, o := range map[string]*mcptasks.ToolOptions{"once": nil, "retry": {Retry: true}, "grace": {Grace: time.Millisecond}} {
			add(tasks, server, name, func(ctx context.Context, _ *mcp.CallToolRequest, _ none) (*mcp.CallToolResult, any, error) {
				started <- struct{}{}
				<-ctx.Done()
				return nil, nil, ctx.Err()
			}, o)
		}
		add(tasks, server, "panic", func(context.Context, *mcp.CallToolRequest, none) (*mcp.CallToolResult, any, error) {
			panic("payload-secret")
		}, nil)
	}
	one := start(t, store, opts, tools)
	c := one.as(user)
	var ids []string
	for _, tool := range []string{"once", "once", "retry"} {
		ids = append(ids, c.create(tool, nil))
		<-started
	}

	id := c.create("panic", nil)
	c.until(id, "failed")
	one.logs("ERROR", "a tool handler panicked")

	if _, err := one.tasks.Account(user).Cancel(t.Context(), ids[0]); err != nil {
		t.Fatal(err)
	}
	c.until(ids[0], "cancelled")
	if log := one.log.String(); strings.Contains(log, `tool=once`) {
		t.Errorf("an end that somebody wanted is logged: %s", log)
	}

	lost := c.create("once", nil)
	<-started
	if err := one.tasks.Store().Delete(t.Context(), "n:"+user, lost); err != nil {
		t.Fatal(err)
	}
	one.logs("INFO", "a task is lost; this server stops its handler")

	two := start(t, store, opts, tools)
	ctx, stop := context.WithCancel(t.Context())
	ran := make(chan error, 1)
	go func() { ran <- two.tasks.Run(ctx, two.mcp) }()
	now, cancel := context.WithCancel(t.Context())
	cancel()
	_ = one.tasks.Shutdown(now)
	one.logs("INFO", "a task failed")
	one.logs("INFO", "this server hands a task over")
	two.logs("INFO", "this server resumes a lost task")
	stop()
	<-ran

	for _, log := range []string{one.log.String(), two.log.String()} {
		for _, secret := range append(ids, id, lost, "secret") {
			if strings.Contains(log, secret) {
				t.Errorf("%q is in the log:\n%s", secret, log)
			}
		}
	}
}

// A limit of the owner is its caller's business; a store that fails is not.
func TestCallWithoutATaskIsLogged(t *testing.T) {
	for level, refuse := range map[string]int{"INFO": 0, "WARN": 1} {
		opts := fast()
		opts.Tasks.MaxActive = 1 + refuse
		store := &unable{StorageBackend: memory()}
		release := make(chan struct{})
		r := start(t, store, opts, func(tasks *mcptasks.Tasks, server *mcp.Server) {
			asking(tasks, server)
			add(tasks, server, "slow", func(context.Context, *mcp.CallToolRequest, none) (*mcp.CallToolResult, any, error) {
				<-release
				return text("done"), nil, nil
			}, &mcptasks.ToolOptions{Grace: time.Millisecond})
		})
		c := r.as("alice")
		c.until(c.create("ask", nil), "input_required")
		store.refuses.Store(refuse == 1)
		answered := make(chan reply, 1)
		go func() { answered <- c.call("slow", nil) }()
		r.logs(level, "a call could not become a task")
		close(release)
		if got := <-answered; textOf(got) != "done" {
			t.Errorf("the call: %v", got)
		}
	}
}

// Without Options.Logger the program's default logger gets the lines.
func TestDefaultLogger(t *testing.T) {
	before := slog.Default()
	defer slog.SetDefault(before)
	var out lockedBuffer
	slog.SetDefault(slog.New(slog.NewTextHandler(&out, nil)))
	opts := fast()
	opts.Owner = func(context.Context, mcp.Request) (string, error) { return "", nil }
	tasks, server, err := assemble(memory(), opts, asking)
	if err != nil {
		t.Fatal(err)
	}
	web := httptest.NewServer(overHTTP(tasks, server))
	defer web.Close()
	r := &replica{t: t, http: web.Client(), url: web.URL}
	r.as("alice").call("ask", nil)
	if got := out.String(); !strings.Contains(got, "mcptasks: a request is refused") {
		t.Errorf("slog.Default got %q", got)
	}
}

package mcptasks_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"testing"
	"testing/synctest"
	"time"

	"github.com/modelcontextprotocol/go-sdk/mcp"

	"github.com/taskstore/taskstore/mcptasks"
)

// answeredLate returns a fake that answers tools/call after a delay, in each form that an
// answer may have.
func answeredLate(t *testing.T, delay time.Duration, answer string) map[string]func(mcptasks.ClientOptions) (*fake, *mcp.ClientSession) {
	late := func(write func(w http.ResponseWriter, message string)) func(mcptasks.ClientOptions) (*fake, *mcp.ClientSession) {
		return func(opts mcptasks.ClientOptions) (*fake, *mcp.ClientSession) {
			f := newFake(t, map[string][]string{"tools/call": {answer}})
			f.http = func(w http.ResponseWriter, method, message string) bool {
				if method == "tools/call" {
					write(w, message)
				}
				return method == "tools/call"
			}
			return f, f.inBubble(opts)
		}
	}
	return map[string]func(mcptasks.ClientOptions) (*fake, *mcp.ClientSession){
		"JSON": late(func(w http.ResponseWriter, message string) {
			time.Sleep(delay)
			w.Header().Set("Content-Type", "application/json")
			_, _ = w.Write([]byte(message))
		}),
		"half of the JSON": late(func(w http.ResponseWriter, message string) {
			w.Header().Set("Content-Type", "application/json")
			_, _ = w.Write([]byte(message[:10]))
			time.Sleep(delay)
			_, _ = w.Write([]byte(message[10:]))
		}),
		"an event": late(func(w http.ResponseWriter, message string) {
			time.Sleep(delay)
			w.Header().Set("Content-Type", "text/event-stream")
			_, _ = fmt.Fprintf(w, "data: %s\n\n", message)
		}),
		"half of an event": late(func(w http.ResponseWriter, message string) {
			w.Header().Set("Content-Type", "text/event-stream")
			_, _ = fmt.Fprintf(w, ": begins\n\ndata: %s", message[:10])
			time.Sleep(delay)
			_, _ = fmt.Fprintf(w, "%s\n\n", message[10:])
		}),
		"connection": func(opts mcptasks.ClientOptions) (*fake, *mcp.ClientSession) {
			f := newFake(t, map[string][]string{"tools/call": {answer}})
			f.delay = map[string]time.Duration{"tools/call": delay}
			return f, f.overConnection(opts)
		},
	}
}

// When the ctx of a call ends before the server has answered, CallTool returns at once.
// The client cancels the task that the late answer brings.
func TestClientCancelsTheTaskOfACallThatWasGivenUp(t *testing.T) {
	for _, c := range []struct {
		what   string
		delay  time.Duration
		answer string
		opts   mcptasks.ClientOptions
		want   int // cancels
	}{
		{"a task", 2 * time.Second, created, mcptasks.ClientOptions{}, 1},
		{"a task to leave", 2 * time.Second, created, mcptasks.ClientOptions{LeaveTasks: true}, 1},
		{"no task", 2 * time.Second, `{"content":[]}`, mcptasks.ClientOptions{}, 0},
		{"an error", 2 * time.Second, `error:{"code":-32603,"message":"no"}`, mcptasks.ClientOptions{}, 0},
		{"too late", time.Minute, created, mcptasks.ClientOptions{}, 0},
	} {
		synctest.Test(t, func(t *testing.T) {
			for form, open := range answeredLate(t, c.delay, c.answer) {
				f, session := open(c.opts)
				ctx, cancel := context.WithTimeout(t.Context(), time.Second)
				begin := time.Now()
				_, err := session.CallTool(ctx, &mcp.CallToolParams{Name: "tool"})
				if took := time.Since(begin); !errors.Is(err, context.DeadlineExceeded) || took != time.Second {
					t.Errorf("%s, %s: %v after %v", c.what, form, err, took)
				}
				cancel()
				time.Sleep(10 * time.Second)
				if n := f.times("tasks/cancel"); n != c.want {
					t.Errorf("%s, %s: %d cancels, not %d", c.what, form, n, c.want)
				}
				_ = session.Close()
			}
			time.Sleep(2 * time.Minute) // a goroutine that is left then fails the test
		})
	}
}

// A Timeout of the http.Client gives a call up as well.
func TestClientCancelsTheTaskOfACallThatTimedOut(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFake(t, nil)
		f.http = func(_ http.ResponseWriter, method, _ string) bool {
			if method == "tools/call" {
				time.Sleep(2 * time.Second)
			}
			return false
		}
		session := connect(t, &mcp.StreamableClientTransport{
			Endpoint: "http://fake/", HTTPClient: &http.Client{Transport: mcptasks.RoundTripper(direct{f}), Timeout: time.Second},
		}, mcptasks.ClientOptions{})
		if got, err := callTool(t, session); err == nil {
			t.Errorf("got %q", got)
		}
		time.Sleep(10 * time.Second)
		if n := f.times("tasks/cancel"); n != 1 {
			t.Errorf("%d cancels", n)
		}
		_ = session.Close()
	})
}

// The server hears of a call that was given up when the client has waited in vain.
func TestClientHangsUpInTheEnd(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFake(t, nil)
		gone := make(chan time.Time, 1)
		transport := direct{http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if r.Header.Get("Mcp-Method") != "tools/call" {
				f.ServeHTTP(w, r)
				return
			}
			<-r.Context().Done()
			gone <- time.Now()
		})}
		session := connect(t, &mcp.StreamableClientTransport{
			Endpoint: "http://fake/", HTTPClient: &http.Client{Transport: mcptasks.RoundTripper(transport)},
		}, mcptasks.ClientOptions{})
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		begin := time.Now()
		_, _ = session.CallTool(ctx, &mcp.CallToolParams{Name: "tool"})
		if d := (<-gone).Sub(begin); d < 2*time.Second || d > 10*time.Second {
			t.Errorf("hung up after %v", d)
		}
		_ = session.Close()
	})
}

// The real server ends the handler of such a call too, over a real network.
func TestClientGivesUpBeforeThereIsATask(t *testing.T) {
	noLeaks(t)
	begun, ended := make(chan struct{}, 1), make(chan error, 1)
	r := start(t, memory(), nil, func(tasks *mcptasks.Tasks, server *mcp.Server) {
		add(tasks, server, "late", func(ctx context.Context, _ *mcp.CallToolRequest, _ none) (*mcp.CallToolResult, any, error) {
			begun <- struct{}{}
			<-ctx.Done()
			ended <- context.Cause(ctx)
			return nil, nil, ctx.Err()
		}, &mcptasks.ToolOptions{Grace: time.Second})
	})
	for name, overHTTP := range map[string]bool{"http": true, "connection": false} {
		t.Run(name, func(t *testing.T) {
			session := clientOf(t, r, overHTTP, nil)
			ctx, cancel := context.WithCancel(t.Context())
			go func() { <-begun; cancel() }()
			if _, err := session.CallTool(ctx, &mcp.CallToolParams{Name: "late"}); !errors.Is(err, context.Canceled) {
				t.Errorf("got %v", err)
			}
			select {
			case <-ended:
			case <-time.After(20 * time.Second):
				t.Error("the handler runs on")
			}
		})
	}
}

// A task without an id cannot be cancelled, so the client sends no cancel.
func TestClientGivesUpATaskWithoutAnID(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var answer map[string]any
		_ = json.Unmarshal([]byte(created), &answer)
		delete(answer, "taskId")
		for form, open := range answeredLate(t, 2*time.Second, marshal(t, answer)) {
			f, session := open(mcptasks.ClientOptions{})
			ctx, cancel := context.WithTimeout(t.Context(), time.Second)
			_, _ = session.CallTool(ctx, &mcp.CallToolParams{Name: "tool"})
			cancel()
			time.Sleep(10 * time.Second)
			if n := f.times("tasks/cancel"); n != 0 {
				t.Errorf("%s: %d cancels", form, n)
			}
			_ = session.Close()
		}
	})
}

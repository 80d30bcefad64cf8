package mcptasks_test

import (
	"context"
	"errors"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/modelcontextprotocol/go-sdk/jsonrpc"
	"github.com/modelcontextprotocol/go-sdk/mcp"

	"github.com/taskstore/taskstore/mcptasks"
)

// clientOf returns a session of a client that knows tasks, over HTTP or over one
// connection. onTask gets each state that the client sees of them.
func clientOf(t *testing.T, r *replica, overHTTP bool, onTask func(mcptasks.ClientTask)) *mcp.ClientSession {
	t.Helper()
	client := mcp.NewClient(&mcp.Implementation{Name: "client", Version: "1"}, &mcp.ClientOptions{
		ElicitationHandler: func(_ context.Context, req *mcp.ElicitRequest) (*mcp.ElicitResult, error) {
			return &mcp.ElicitResult{Action: "accept", Content: map[string]any{"ok": req.Params.Message == "sure?"}}, nil
		},
	})
	err := mcptasks.InstallClient(client, &mcptasks.ClientOptions{OnTask: func(_ context.Context, task mcptasks.ClientTask) {
		if onTask != nil {
			onTask(task)
		}
	}})
	if err != nil {
		t.Fatal(err)
	}
	var transport mcp.Transport
	if overHTTP {
		transport = &mcp.StreamableClientTransport{Endpoint: r.url, HTTPClient: &http.Client{Transport: mcptasks.RoundTripper(nil)}}
	} else {
		clientSide, serverSide := mcp.NewInMemoryTransports()
		if _, err := r.mcp.Connect(t.Context(), r.tasks.Transport(serverSide), nil); err != nil {
			t.Fatal(err)
		}
		transport = mcptasks.ClientTransport(clientSide)
	}
	session, err := client.Connect(t.Context(), transport, nil)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = session.Close() })
	return session
}

func TestClient(t *testing.T) {
	for name, overHTTP := range map[string]bool{"http": true, "connection": false} {
		t.Run(name, func(t *testing.T) {
			noLeaks(t)
			release := make(chan struct{})
			close(release)
			ended := make(chan error, 1)
			r := start(t, memory(), nil, func(tasks *mcptasks.Tasks, server *mcp.Server) {
				statusTools(release)(tasks, server)
				waiting(ended)(tasks, server)
				add(tasks, server, "panic", func(context.Context, *mcp.CallToolRequest, none) (*mcp.CallToolResult, any, error) {
					panic("x")
				}, nil)
				mcp.AddTool(server, &mcp.Tool{Name: "plain"}, func(context.Context, *mcp.CallToolRequest, none) (*mcp.CallToolResult, any, error) {
					return text("plain"), nil, nil
				})
			})
			var seen []mcptasks.ClientTask
			ids := make(chan string, 100)
			session := clientOf(t, r, overHTTP, func(task mcptasks.ClientTask) { seen = append(seen, task); ids <- task.ID })
			call := func(ctx context.Context, tool string) (string, error) {
				res, err := session.CallTool(ctx, &mcp.CallToolParams{Name: tool})
				if err != nil {
					return "", err
				}
				if len(res.Content) == 0 {
					t.Fatalf("%s: no content", tool)
				}
				return res.Content[0].(*mcp.TextContent).Text, nil
			}
			if got, err := call(t.Context(), "plain"); got != "plain" || err != nil || len(seen) != 0 {
				t.Errorf("no task: %q, %v", got, err)
			}
			if got, err := call(t.Context(), "work"); got != "done" || err != nil {
				t.Errorf("a task: %q, %v", got, err)
			}
			if len(seen) < 2 || seen[0].Status != "working" || seen[len(seen)-1].Status != "completed" {
				t.Errorf("seen: %v", seen)
			}
			if got, err := call(t.Context(), "ask"); got != "answered: accept" || err != nil {
				t.Errorf("with input: %q, %v", got, err)
			}
			_, err := call(t.Context(), "fail")
			if wire := (*jsonrpc.Error)(nil); !errors.As(err, &wire) || wire.Code != 4711 {
				t.Errorf("a failed task: %v", err)
			}
			if _, err := call(t.Context(), "panic"); err == nil {
				t.Error("a panic: no error")
			}

			for len(ids) > 0 {
				<-ids
			}
			ctx, cancel := context.WithCancel(t.Context())
			go func() { <-ids; cancel() }()
			if _, err := call(ctx, "wait"); !errors.Is(err, context.Canceled) {
				t.Errorf("a call that was given up: %v", err)
			}
			select {
			case cause := <-ended:
				if !errors.Is(cause, mcptasks.ErrCancelled) {
					t.Errorf("the handler ended by %v", cause)
				}
			case <-time.After(5 * time.Second):
				t.Error("the task was not cancelled")
			}
		})
	}
}

// A task that somebody else cancelled.
func TestClientOfCancelledTask(t *testing.T) {
	ended := make(chan error, 1)
	r := start(t, memory(), nil, waiting(ended))
	session := clientOf(t, r, true, func(task mcptasks.ClientTask) {
		if task.Status == "working" {
			r.as("").cancel(task.ID)
		}
	})
	if _, err := session.CallTool(t.Context(), &mcp.CallToolParams{Name: "wait"}); !errors.Is(err, mcptasks.ErrCancelled) {
		t.Errorf("got %v", err)
	}
}

// Without the transport's part the task is lost, and the error has to say so.
func TestClientNeedsTransport(t *testing.T) {
	r := start(t, memory(), nil, asking)
	client := mcp.NewClient(&mcp.Implementation{Name: "client", Version: "1"}, nil)
	if err := mcptasks.InstallClient(client, nil); err != nil {
		t.Fatal(err)
	}
	session, err := client.Connect(t.Context(), &mcp.StreamableClientTransport{Endpoint: r.url}, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer session.Close()
	if _, err := session.CallTool(t.Context(), &mcp.CallToolParams{Name: "ask"}); err == nil ||
		!strings.Contains(err.Error(), "RoundTripper") || !strings.Contains(err.Error(), "runs on") {
		t.Errorf("got %v", err)
	}
}

// The caller's parameters stay as they are, so that they can be used again.
func TestClientLeavesParams(t *testing.T) {
	release := make(chan struct{})
	close(release)
	r := start(t, memory(), nil, statusTools(release))
	session := clientOf(t, r, true, nil)
	params := &mcp.CallToolParams{Name: "work"}
	for range 2 {
		if _, err := session.CallTool(t.Context(), params); err != nil {
			t.Fatal(err)
		}
	}
	if declared := marshal(t, params.Meta["io.modelcontextprotocol/clientCapabilities"]); strings.Contains(declared, extension) {
		t.Errorf("the caller's params declare %s", declared)
	}
}

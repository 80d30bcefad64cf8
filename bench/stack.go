package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"sync"
	"time"

	mcpgo "github.com/mark3labs/mcp-go/mcp"
	mcpgoserver "github.com/mark3labs/mcp-go/server"
	"github.com/modelcontextprotocol/go-sdk/mcp"

	"github.com/taskstore/taskstore"
	"github.com/taskstore/taskstore/mcptasks"
	"github.com/taskstore/taskstore/tasks"
)

// A replica is an MCP server over HTTP on loopback.
type replica struct {
	url    string
	client *http.Client
	modern bool // speaks the protocol of the extension
	close  func() error
}

// constantMethod answers what tasks/get answers, without looking for a task: the
// cost of server, SDK and HTTP alone.
const constantMethod = "bench/constant"

type constantParams struct {
	mcp.ParamsBase
	TaskID string `json:"taskId"`
}

type constantResult struct {
	mcp.ResultBase
	body json.RawMessage
}

func (r *constantResult) MarshalJSON() ([]byte, error) { return r.body, nil }

// A told is what the tool "wait" says when its task is cancelled.
type told struct{ ended chan time.Time }

type noInput struct{}

// newReplica serves the tools "done", which is done at once, and "wait", which
// waits for its end. callers bounds the connections that its client keeps.
func newReplica(store taskstore.StorageBackend, callers int, t *told) (*replica, error) {
	// Long intervals: what is measured must not come from polling.
	server := mcp.NewServer(&mcp.Implementation{Name: "bench", Version: "1"}, nil)
	ts, err := mcptasks.New(store, &mcptasks.Options{Tasks: tasks.Options{PollInterval: time.Minute, Lease: 10 * time.Minute}})
	if err != nil {
		return nil, err
	}
	mcptasks.AddTool(ts, server, &mcp.Tool{Name: "done"}, func(context.Context, *mcp.CallToolRequest, noInput) (*mcp.CallToolResult, any, error) {
		return &mcp.CallToolResult{Content: []mcp.Content{&mcp.TextContent{Text: string(payload(512))}}}, nil, nil
	}, nil)
	mcptasks.AddTool(ts, server, &mcp.Tool{Name: "wait"}, func(ctx context.Context, _ *mcp.CallToolRequest, _ noInput) (*mcp.CallToolResult, any, error) {
		<-ctx.Done()
		if errors.Is(context.Cause(ctx), mcptasks.ErrCancelled) {
			t.ended <- time.Now()
		}
		return nil, nil, ctx.Err()
	}, nil)
	var constant constantResult
	var mu sync.RWMutex
	err = mcp.AddReceivingCustomMethod(server, constantMethod, func(_ context.Context, _ *mcp.ServerSession, p *constantParams) (*constantResult, error) {
		mu.RLock()
		defer mu.RUnlock()
		return &constantResult{body: constant.body}, nil
	})
	if err != nil {
		return nil, err
	}
	if err := ts.Install(server); err != nil {
		return nil, err
	}
	handler := ts.Handler(mcp.NewStreamableHTTPHandler(func(*http.Request) *mcp.Server { return server }, &mcp.StreamableHTTPOptions{Stateless: true}))
	r, err := serve(handler, callers)
	if err != nil {
		return nil, err
	}
	r.modern = true
	stop := r.close
	r.close = func() error {
		ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
		defer cancel()
		return errors.Join(stop(), ts.Shutdown(ctx))
	}
	// The constant is what tasks/get answers of a task that is done.
	ctx := context.Background()
	id, err := r.create(ctx, "done")
	if err == nil {
		var body json.RawMessage
		if body, err = r.completed(ctx, id); err == nil {
			mu.Lock()
			constant.body = body
			mu.Unlock()
		}
	}
	if err != nil {
		return nil, errors.Join(err, r.close())
	}
	return r, nil
}

// newMCPGo serves the tool "done" by mark3labs/mcp-go, whose tasks are those of the
// protocol before the extension and live in its process.
func newMCPGo(callers int) (*replica, error) {
	server := mcpgoserver.NewMCPServer("bench", "1", mcpgoserver.WithTaskCapabilities(true, true, true))
	server.AddTaskTool(mcpgo.NewTool("done", mcpgo.WithTaskSupport(mcpgo.TaskSupportOptional)),
		func(context.Context, mcpgo.CallToolRequest) (*mcpgo.CreateTaskResult, error) {
			return &mcpgo.CreateTaskResult{}, nil
		})
	return serve(mcpgoserver.NewStreamableHTTPServer(server, mcpgoserver.WithStateLess(true)), callers)
}

func serve(handler http.Handler, callers int) (*replica, error) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	server := &http.Server{Handler: handler, ReadHeaderTimeout: 10 * time.Second}
	go func() { _ = server.Serve(listener) }()
	transport := &http.Transport{MaxIdleConnsPerHost: callers}
	return &replica{
		url:    "http://" + listener.Addr().String() + "/mcp",
		client: &http.Client{Transport: transport, Timeout: time.Minute},
		close: func() error {
			transport.CloseIdleConnections()
			return server.Close()
		},
	}, nil
}

// post sends a request and returns its result.
func (r *replica) post(ctx context.Context, method string, params map[string]any) (json.RawMessage, error) {
	version := "2025-11-25"
	if r.modern {
		version = "2026-07-28"
		params["_meta"] = map[string]any{
			"io.modelcontextprotocol/protocolVersion":    version,
			"io.modelcontextprotocol/clientInfo":         map[string]any{"name": "bench", "version": "1"},
			"io.modelcontextprotocol/clientCapabilities": map[string]any{"extensions": map[string]any{mcptasks.ExtensionID: map[string]any{}}},
		}
	}
	body, err := json.Marshal(map[string]any{"jsonrpc": "2.0", "id": 1, "method": method, "params": params})
	if err != nil {
		return nil, err
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, r.url, bytes.NewReader(body))
	if err != nil {
		return nil, err
	}
	req.Header.Set("Content-Type", "application/json")
	req.Header.Set("Accept", "application/json, text/event-stream")
	req.Header.Set("Mcp-Protocol-Version", version)
	if r.modern {
		req.Header.Set("Mcp-Method", method)
		for _, name := range []string{"name", "taskId"} {
			if s, ok := params[name].(string); ok {
				req.Header.Set("Mcp-Name", s)
			}
		}
	}
	resp, err := r.client.Do(req)
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close()
	answer, err := io.ReadAll(resp.Body)
	if err != nil {
		return nil, err
	}
	if _, data, ok := bytes.Cut(answer, []byte("data: ")); ok {
		answer = data
	}
	var reply struct {
		Result json.RawMessage `json:"result"`
		Error  json.RawMessage `json:"error"`
	}
	if err := json.NewDecoder(bytes.NewReader(answer)).Decode(&reply); err != nil {
		return nil, fmt.Errorf("%s: HTTP %d: %w", method, resp.StatusCode, err)
	}
	if reply.Result == nil {
		return nil, fmt.Errorf("%s: HTTP %d: %s", method, resp.StatusCode, reply.Error)
	}
	return reply.Result, nil
}

// create calls a tool and returns the id of the task that it becomes.
func (r *replica) create(ctx context.Context, tool string) (string, error) {
	params := map[string]any{"name": tool, "arguments": map[string]any{}}
	if !r.modern {
		params["task"] = map[string]any{}
	}
	result, err := r.post(ctx, "tools/call", params)
	if err != nil {
		return "", err
	}
	var task struct {
		TaskID string `json:"taskId"`
		Task   struct {
			TaskID string `json:"taskId"`
		} `json:"task"`
	}
	if err := json.Unmarshal(result, &task); err != nil {
		return "", err
	}
	id := task.TaskID + task.Task.TaskID
	if id == "" {
		return "", fmt.Errorf("%s did not become a task: %s", tool, result)
	}
	return id, nil
}

func (r *replica) get(ctx context.Context, id string) (json.RawMessage, error) {
	return r.post(ctx, "tasks/get", map[string]any{"taskId": id})
}

// completed waits until a task is completed and returns what tasks/get answers.
func (r *replica) completed(ctx context.Context, id string) (json.RawMessage, error) {
	ctx, cancel := context.WithTimeout(ctx, 30*time.Second)
	defer cancel()
	for {
		result, err := r.get(ctx, id)
		if err != nil {
			return nil, err
		}
		var task struct {
			Status string `json:"status"`
		}
		if err := json.Unmarshal(result, &task); err != nil || task.Status == "completed" {
			return result, err
		}
		if err := pause(ctx, time.Millisecond); err != nil {
			return nil, err
		}
	}
}

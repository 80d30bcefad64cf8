package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"sync/atomic"
	"time"

	"github.com/modelcontextprotocol/go-sdk/mcp"

	"github.com/taskstore/taskstore"
	"github.com/taskstore/taskstore/mcptasks"
	"github.com/taskstore/taskstore/tasks"
)

// A replica is an MCP server over HTTP on loopback.
type replica struct {
	url    string
	client *http.Client
	done   string // the id of a completed task
	close  func() error
}

// constantMethod answers as tasks/get does, without a look for the task: the cost of server,
// SDK and HTTP alone.
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

type noInput struct{}

// newReplica serves the tool "done", whose tasks end at once. callers bounds the connections
// that its client keeps.
func newReplica(store taskstore.StorageBackend, callers int) (*replica, error) {
	// The intervals are long, because polls must not be measured.
	server := mcp.NewServer(&mcp.Implementation{Name: "bench", Version: "1"}, nil)
	ts, err := mcptasks.New(store, &mcptasks.Options{Tasks: tasks.Options{PollInterval: time.Minute, Lease: 10 * time.Minute}})
	if err != nil {
		return nil, err
	}
	mcptasks.AddTool(ts, server, &mcp.Tool{Name: "done"}, func(context.Context, *mcp.CallToolRequest, noInput) (*mcp.CallToolResult, any, error) {
		return &mcp.CallToolResult{Content: []mcp.Content{&mcp.TextContent{Text: string(payload(512))}}}, nil, nil
	}, nil)
	var constant atomic.Pointer[json.RawMessage]
	err = mcp.AddReceivingCustomMethod(server, constantMethod, func(context.Context, *mcp.ServerSession, *constantParams) (*constantResult, error) {
		return &constantResult{body: *constant.Load()}, nil
	})
	if err != nil {
		return nil, err
	}
	if err := ts.Install(server); err != nil {
		return nil, err
	}
	handler := ts.Handler(mcp.NewStreamableHTTPHandler(func(*http.Request) *mcp.Server { return server }, &mcp.StreamableHTTPOptions{Stateless: true}))
	served := httptest.NewServer(handler)
	served.Client().Transport.(*http.Transport).MaxIdleConnsPerHost = callers
	r := &replica{url: served.URL + "/mcp", client: served.Client(), close: func() error {
		served.Close()
		ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
		defer cancel()
		return ts.Shutdown(ctx)
	}}
	// The constant is the answer of tasks/get about a task that is done.
	body, err := r.completed(context.Background())
	if err != nil {
		return nil, errors.Join(err, r.close())
	}
	constant.Store(&body)
	return r, nil
}

// post sends a request and returns its result.
func (r *replica) post(ctx context.Context, method string, params map[string]any) (json.RawMessage, error) {
	const version = "2026-07-28"
	params["_meta"] = map[string]any{
		"io.modelcontextprotocol/protocolVersion":    version,
		"io.modelcontextprotocol/clientInfo":         map[string]any{"name": "bench", "version": "1"},
		"io.modelcontextprotocol/clientCapabilities": map[string]any{"extensions": map[string]any{mcptasks.ExtensionID: map[string]any{}}},
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
	req.Header.Set("Mcp-Method", method)
	for _, name := range []string{"name", "taskId"} {
		if s, ok := params[name].(string); ok {
			req.Header.Set("Mcp-Name", s)
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

// create calls the tool and returns the id of the task that it becomes.
func (r *replica) create(ctx context.Context) (string, error) {
	result, err := r.post(ctx, "tools/call", map[string]any{"name": "done", "arguments": map[string]any{}})
	if err != nil {
		return "", err
	}
	var task struct {
		TaskID string `json:"taskId"`
	}
	if err := json.Unmarshal(result, &task); err != nil || task.TaskID == "" {
		return "", fmt.Errorf("the call did not become a task: %s", result)
	}
	return task.TaskID, nil
}

func (r *replica) get(ctx context.Context, id string) (json.RawMessage, error) {
	return r.post(ctx, "tasks/get", map[string]any{"taskId": id})
}

// completed makes a task, and waits until it is completed. The id stays in r.
func (r *replica) completed(ctx context.Context) (answer json.RawMessage, err error) {
	ctx, cancel := context.WithTimeout(ctx, 30*time.Second)
	defer cancel()
	if r.done, err = r.create(ctx); err != nil {
		return nil, err
	}
	for {
		if answer, err = r.get(ctx, r.done); err != nil {
			return nil, err
		}
		var task struct {
			Status string `json:"status"`
		}
		if err := json.Unmarshal(answer, &task); err != nil || task.Status == "completed" {
			return answer, err
		}
		if err := pause(ctx, time.Millisecond); err != nil {
			return nil, err
		}
	}
}

package taskotel_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/modelcontextprotocol/go-sdk/jsonrpc"
	"github.com/modelcontextprotocol/go-sdk/mcp"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.opentelemetry.io/otel/trace"

	"github.com/taskstore/taskstore"
	"github.com/taskstore/taskstore/mcptasks"
	"github.com/taskstore/taskstore/tasks"
)

// secret is in all that is personal, in this test.
const secret = "s3cr3t"

// A leaky store has errors with all that they should not have.
type leaky struct {
	taskstore.StorageBackend
	armed bool
}

func (l *leaky) Get(ctx context.Context, k taskstore.Key) (taskstore.Record, error) {
	if l.armed {
		return taskstore.Record{}, fmt.Errorf("%s of %s at redis://user:%s@host", k.Task, k.Owner, secret)
	}
	return l.StorageBackend.Get(ctx, k)
}

// All that can end a task or a request, with a secret in everything that a user, a handler
// or a server says.
func TestPersonalDataIsNotExported(t *testing.T) {
	e := newExporter(t)
	store := &leaky{StorageBackend: taskstore.NewMemoryBackend(nil)}
	opts := short()
	opts.Tasks.MaxRequestBytes = 2000
	user := secret + "-user"
	r := start(t, e, store, opts, func(ts *mcptasks.Tasks, server *mcp.Server) {
		for name, end := range map[string]func(context.Context) (*mcp.CallToolResult, any, error){
			"completes": func(context.Context) (*mcp.CallToolResult, any, error) { return text(secret), nil, nil },
			"errs":      func(context.Context) (*mcp.CallToolResult, any, error) { return nil, nil, errors.New(secret) },
			"refuses": func(context.Context) (*mcp.CallToolResult, any, error) {
				return nil, nil, &jsonrpc.Error{Code: -32042, Message: secret, Data: []byte(`"` + secret + `"`)}
			},
			"panics": func(context.Context) (*mcp.CallToolResult, any, error) { panic(secret) },
			"tells": func(context.Context) (*mcp.CallToolResult, any, error) {
				res := text(secret)
				res.IsError = true
				return res, nil, nil
			},
			"asks": func(ctx context.Context) (*mcp.CallToolResult, any, error) {
				return &mcp.CallToolResult{RequestState: secret, InputRequests: mcp.InputRequestMap{secret: &mcp.ElicitParams{
					Message: secret, RequestedSchema: map[string]any{"type": "object", "properties": map[string]any{}},
				}}}, nil, nil
			},
			"waits": func(ctx context.Context) (*mcp.CallToolResult, any, error) {
				<-ctx.Done()
				return nil, nil, fmt.Errorf("%s: %w", secret, context.Cause(ctx))
			},
		} {
			h := func(ctx context.Context, _ *mcp.CallToolRequest, _ arguments) (*mcp.CallToolResult, any, error) {
				task := mcptasks.FromContext(ctx)
				_ = task.SetStatusMessage(ctx, secret)
				_ = task.SaveState(ctx, []byte(secret))
				return end(ctx)
			}
			add(ts, server, name, h, nil)
			add(ts, server, name+" at once", h, &mcptasks.ToolOptions{Mode: mcptasks.Manual})
		}
		server.AddPrompt(&mcp.Prompt{Name: "greet"}, func(context.Context, *mcp.GetPromptRequest) (*mcp.GetPromptResult, error) {
			return &mcp.GetPromptResult{Messages: []*mcp.PromptMessage{{Role: "user", Content: &mcp.TextContent{Text: secret}}}}, nil
		})
		server.AddResource(&mcp.Resource{URI: "file:///" + secret, Name: "file"}, func(context.Context, *mcp.ReadResourceRequest) (*mcp.ReadResourceResult, error) {
			return nil, errors.New(secret)
		})
	})
	state, err := trace.ParseTraceState("vendor=value")
	require.NoError(t, err)
	ctx := trace.ContextWithRemoteSpanContext(t.Context(), trace.NewSpanContext(trace.SpanContextConfig{
		TraceID: trace.TraceID{1}, SpanID: trace.SpanID{1}, TraceFlags: trace.FlagsSampled, TraceState: state,
	}))
	args := map[string]any{"secret": secret}
	var ids []string
	for tool, status := range map[string]string{
		"completes": "completed", "errs": "completed", "refuses": "failed", "panics": "failed", "tells": "completed",
		"asks": "input_required", "waits": "working",
	} {
		id := r.create(ctx, user, tool, args)
		ids = append(ids, id)
		r.until(ctx, user, id, status)
		if status == "working" || status == "input_required" {
			r.do(ctx, user, "tasks/update", map[string]any{"taskId": id, "inputResponses": map[string]any{secret: map[string]any{"action": secret}}})
			r.do(ctx, user, "tasks/cancel", map[string]any{"taskId": id})
			r.until(ctx, user, id, "cancelled")
		}
		if tool != "waits" {
			r.call(ctx, user, tool+" at once", args)
		}
	}
	eventually(t, "the ends of all runs", func() bool {
		for _, running := range e.counts("taskstore.tasks.running") {
			if running != 0 {
				return false
			}
		}
		return true
	})
	// Requests that are refused.
	r.call(ctx, user, "completes", map[string]any{"secret": strings.Repeat(secret, 1000)}) // too much to be stored
	r.call(ctx, user, "completes", map[string]any{"other": secret})
	r.call(ctx, user, secret, args)
	r.do(ctx, user, "tasks/get", map[string]any{"taskId": secret})
	r.do(ctx, secret+"-other", "tasks/get", map[string]any{"taskId": ids[0]})
	r.do(ctx, user, "prompts/get", map[string]any{"name": secret, "arguments": args})
	r.do(ctx, user, "prompts/get", map[string]any{"name": "greet", "arguments": args})
	r.do(ctx, user, "resources/read", map[string]any{"uri": "file:///" + secret})
	store.armed = true
	r.do(ctx, user, "tasks/get", map[string]any{"taskId": ids[0]})
	store.armed = false
	// Tasks of another program, with a request in a form of its own.
	plain, err := tasks.New(e.Backend(store), &tasks.Options{Observer: e.TasksObserver(), MaxInputKeyBytes: 1})
	require.NoError(t, err)
	task, _, err := plain.Create(ctx, user, tasks.CreateParams{
		Request: []byte(`{"name":"` + secret + `","method":"other","params":{"name":"` + secret + `"}}`), Holder: secret, Service: secret, IdempotencyKey: secret,
		StatusMessage: secret, Trace: tasks.Trace{Call: secret, Run: secret},
	})
	require.NoError(t, err)
	ids = append(ids, task.ID)
	_, err = plain.RequireInput(ctx, user, task.ID, map[string]jsonRaw{secret: jsonRaw(`"` + secret + `"`)})
	require.ErrorIs(t, err, tasks.ErrLimit)
	_, err = plain.Fail(ctx, user, task.ID, tasks.Error{Message: secret, Data: []byte(`"` + secret + `"`)})
	require.NoError(t, err)

	all := e.everything()
	assert.NotContains(t, all, secret)
	for _, id := range ids {
		assert.NotContains(t, all, id, "a task's id")
		_, bareID, _ := strings.Cut(id, ".")
		if bareID != "" {
			assert.NotContains(t, all, bareID, "a task's id")
		}
	}
	for _, s := range e.spans.GetSpans() {
		assert.Empty(t, s.Status.Description)
		assert.Empty(t, s.Events)
	}
	for _, tool := range []string{"completes", "errs", "refuses", "panics", "tells", "asks", "waits"} {
		assert.Contains(t, all, `span "tools/call `+tool+`"`, "all of that was seen")
		assert.Contains(t, all, `span "task `+tool+`"`)
	}
	assert.Contains(t, all, `span "tools/call errs at once"`)
	assert.Contains(t, all, `span "prompts/get greet"`)
	assert.Contains(t, all, `span "prompts/get"`)
	assert.Contains(t, all, `span "resources/read"`)
	refused := e.counts("taskstore.limits.refused")
	assert.EqualValues(t, 1, refused["limit=request_bytes"])
	assert.EqualValues(t, 1, refused["limit=input_key_bytes"])
	assert.Contains(t, all, `error.type=_OTHER operation=get`)
}

type jsonRaw = json.RawMessage

// Attributes have only names that the server knows; clients make up others in vain.
func TestNamesThatClientsMakeUpAreNoAttributes(t *testing.T) {
	e := newExporter(t)
	refuse := false
	r := start(t, e, taskstore.NewMemoryBackend(nil), nil, func(ts *mcptasks.Tasks, server *mcp.Server) {
		add(ts, server, "real", func(context.Context, *mcp.CallToolRequest, arguments) (*mcp.CallToolResult, any, error) {
			return text("done"), nil, nil
		}, nil)
		server.AddReceivingMiddleware(func(next mcp.MethodHandler) mcp.MethodHandler {
			return func(ctx context.Context, method string, req mcp.Request) (mcp.Result, error) {
				if refuse {
					return nil, &jsonrpc.Error{Code: -32001, Message: "not allowed"}
				}
				return next(ctx, method, req)
			}
		})
	})
	for i := range 20 {
		r.call(t.Context(), "alice", fmt.Sprintf("made-up-%d", i), nil)
		r.do(t.Context(), "alice", fmt.Sprintf("made/up-%d", i), map[string]any{})
	}
	refuse = true
	r.call(t.Context(), "alice", "made-up", nil)
	r.call(t.Context(), "alice", "real", nil)
	refuse = false
	assert.NotContains(t, e.everything(), "made")
	assert.Equal(t, map[string]int64{
		"error.type=-32602 mcp.method.name=tools/call rpc.response.status_code=-32602": 20,
		"error.type=-32001 mcp.method.name=tools/call rpc.response.status_code=-32001": 2,
	}, e.counts("mcp.server.operation.duration"))
	id := r.create(t.Context(), "alice", "real", nil)
	r.until(t.Context(), "alice", id, "completed")
	assert.Len(t, e.named("tools/call real"), 1, "from its first answer on")
	refuse = true
	r.call(t.Context(), "alice", "real", nil)
	assert.Len(t, e.named("tools/call real"), 2, "and then whatever becomes of it")
}

// A server may have any number of tools, and a metric may not.
func TestAnAttributeHas256Names(t *testing.T) {
	e := newExporter(t)
	store, err := tasks.New(taskstore.NewMemoryBackend(nil), &tasks.Options{Observer: e.TasksObserver(), MaxActive: -1, MaxTasks: -1})
	require.NoError(t, err)
	create := func(tool string) {
		_, _, err := store.Create(t.Context(), "alice", tasks.CreateParams{Request: fmt.Appendf(nil, `{"method":"tools/call","params":{"name":%q}}`, tool)})
		require.NoError(t, err)
	}
	create(strings.Repeat("x", 129))
	for i := range 300 {
		create(fmt.Sprintf("tool %d", i))
	}
	create("tool 255")
	counts := e.counts("taskstore.tasks.created")
	assert.Len(t, counts, 257)
	assert.EqualValues(t, 45, counts["tool=_OTHER"])
	assert.EqualValues(t, 2, counts["tool=tool 255"])
}

package taskotel_test

import (
	"context"
	"errors"
	"maps"
	"sync/atomic"
	"testing"
	"time"

	"github.com/modelcontextprotocol/go-sdk/mcp"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.opentelemetry.io/otel/trace"

	"github.com/taskstore/taskstore"
	"github.com/taskstore/taskstore/mcptasks"
)

// A mortal store belongs to a process that can die: then all reads and writes fail.
type mortal struct {
	taskstore.StorageBackend
	dead atomic.Bool
}

var errDead = errors.New("the process is dead")

func (m *mortal) Get(ctx context.Context, k taskstore.Key) (taskstore.Record, error) {
	if m.dead.Load() {
		return taskstore.Record{}, errDead
	}
	return m.StorageBackend.Get(ctx, k)
}

func (m *mortal) PutIfVersion(ctx context.Context, k taskstore.Key, v taskstore.Value, e taskstore.Version) (taskstore.Version, error) {
	if m.dead.Load() {
		return 0, errDead
	}
	return m.StorageBackend.PutIfVersion(ctx, k, v, e)
}

func (m *mortal) PutBatch(ctx context.Context, writes []taskstore.Write) error {
	if m.dead.Load() {
		return errDead
	}
	return taskstore.PutBatch(ctx, m.StorageBackend, writes)
}

// A task that a replica makes, which dies, that another one resumes and that its client
// polls to its end: the client's trace has the call and the polls, each run is a trace of
// its own, and links join them.
func TestTracesOfATaskThatOutlivesItsReplicaAreJoined(t *testing.T) {
	shared := taskstore.NewMemoryBackend(nil)
	a, b := newExporter(t), newExporter(t)
	process := &mortal{StorageBackend: shared}
	var runs atomic.Int32
	stuck := make(chan struct{})
	t.Cleanup(func() { close(stuck) })
	tools := func(ts *mcptasks.Tasks, server *mcp.Server) {
		add(ts, server, "render", func(ctx context.Context, _ *mcp.CallToolRequest, _ arguments) (*mcp.CallToolResult, any, error) {
			_, work := a.tracers.Tracer("work").Start(ctx, "work")
			work.End()
			if runs.Add(1) == 1 {
				<-stuck // a dead process stands still
			}
			return text("done"), nil, nil
		}, &mcptasks.ToolOptions{Retry: true})
	}
	one, two := start(t, a, process, short(), tools), start(t, b, shared, short(), tools)
	ctx, client := a.tracers.Tracer("client").Start(t.Context(), "client")
	id := one.create(ctx, "alice", "render", nil)
	eventually(t, "the first run", func() bool { return runs.Load() == 1 })
	stored, err := one.tasks.Store().Get(ctx, "n:alice", id)
	require.NoError(t, err)
	process.dead.Store(true)
	one.stop()
	two.run()
	two.until(ctx, "alice", id, "completed")
	client.End()

	call := a.one("tools/call render")
	assert.Equal(t, trace.SpanKindServer, call.SpanKind)
	assert.Equal(t, client.SpanContext().SpanID(), call.Parent.SpanID())
	assert.Equal(t, client.SpanContext().TraceID(), call.SpanContext.TraceID())
	assert.Equal(t, "gen_ai.operation.name=execute_tool gen_ai.tool.name=render mcp.method.name=tools/call mcp.protocol.version=2026-07-28", attributes(call))
	polls := b.named("tasks/get")
	require.NotEmpty(t, polls)
	for _, poll := range polls {
		assert.Equal(t, client.SpanContext().SpanID(), poll.Parent.SpanID())
	}

	assert.Empty(t, a.named("task render"), "the first run has died with its process")
	first := stored.Trace.Run
	second := b.one("task render")
	assert.False(t, second.Parent.IsValid(), "a run is a trace of its own")
	assert.NotEqual(t, client.SpanContext().TraceID(), second.SpanContext.TraceID())
	assert.Contains(t, first, "-"+links(second)["taskstore.link=run_before"]+"-")
	assert.Equal(t, map[string]string{
		"taskstore.link=call":       call.SpanContext.SpanID().String(),
		"taskstore.link=run_before": links(second)["taskstore.link=run_before"],
	}, links(second))
	assert.Equal(t, "gen_ai.operation.name=execute_tool gen_ai.tool.name=render taskstore.task.resumed=true taskstore.task.status=completed", attributes(second))
	assert.False(t, failed(second))

	work := a.named("work")
	require.Len(t, work, 2)
	assert.Contains(t, first, work[0].SpanContext.TraceID().String()+"-"+work[0].Parent.SpanID().String(), "the handler's spans are the run's")
	assert.Equal(t, second.SpanContext.SpanID(), work[1].Parent.SpanID(), "also in a run that goes on")

	assert.Equal(t, map[string]int64{"tool=render": 1}, a.counts("taskstore.tasks.created"))
	assert.Equal(t, map[string]int64{"tool=render": 1}, a.counts("taskstore.tasks.running"), "as it was seen last")
	assert.Equal(t, map[string]int64{"tool=render": 1}, b.counts("taskstore.tasks.resumed"))
	assert.Equal(t, map[string]int64{"": 1}, b.counts("taskstore.leases.lost"))
	assert.Equal(t, map[string]int64{"": 1}, b.counts("taskstore.task.wait"))
	assert.Equal(t, map[string]int64{"reason=ok status=completed tool=render": 1}, b.counts("taskstore.tasks.ended"))
	assert.Equal(t, map[string]int64{"status=completed tool=render": 1}, b.counts("taskstore.task.duration"))
	eventually(t, "an end of the run", func() bool {
		return maps.Equal(b.counts("taskstore.tasks.running"), map[string]int64{"tool=render": 0})
	})
}

// A third replica finds the span that the second one has stored.
func TestARunIsLinkedToTheRunBefore(t *testing.T) {
	e, store := newExporter(t), taskstore.NewMemoryBackend(nil)
	tools := func(ts *mcptasks.Tasks, server *mcp.Server) {
		add(ts, server, "ask", func(ctx context.Context, req *mcp.CallToolRequest, _ arguments) (*mcp.CallToolResult, any, error) {
			mine := trace.SpanContextFromContext(ctx).SpanID().String()
			for ctx.Err() == nil { // until the store knows which run it is
				page, _, err := ts.Store().List(ctx, "n:alice", "", 1)
				if err != nil {
					return nil, nil, err
				}
				if spanOf(page[0].Trace.Run) == mine {
					break
				}
				time.Sleep(time.Millisecond)
			}
			for _, key := range []string{"one", "two"} {
				if _, answered := req.Params.InputResponses[key]; !answered && req.Params.RequestState != "two" {
					if req.Params.RequestState == "one" {
						key = "two"
					}
					return &mcp.CallToolResult{RequestState: key, InputRequests: mcp.InputRequestMap{key: &mcp.ElicitParams{
						Message: "sure?", RequestedSchema: map[string]any{"type": "object", "properties": map[string]any{}},
					}}}, nil, nil
				}
			}
			return text("done"), nil, nil
		}, nil)
	}
	r := start(t, e, store, nil, tools)
	id := r.create(t.Context(), "alice", "ask", nil)
	for _, key := range []string{"one", "two"} {
		eventually(t, "the question "+key, func() bool {
			asked, _ := r.do(t.Context(), "alice", "tasks/get", map[string]any{"taskId": id}).Result["inputRequests"].(map[string]any)
			return asked[key] != nil
		})
		r.do(t.Context(), "alice", "tasks/update", map[string]any{"taskId": id, "inputResponses": map[string]any{key: map[string]any{"action": "accept", "content": map[string]any{}}}})
	}
	r.until(t.Context(), "alice", id, "completed")
	eventually(t, "the ends of three runs", func() bool { return len(e.named("task ask")) == 3 })
	runs, call := e.named("task ask"), e.one("tools/call ask").SpanContext.SpanID().String()
	for _, run := range runs {
		assert.False(t, run.Parent.IsValid(), "a run is a trace of its own")
	}
	assert.Equal(t, map[string]string{"taskstore.link=call": call}, links(runs[0]))
	assert.Equal(t, map[string]string{"taskstore.link=call": call, "taskstore.link=run_before": runs[0].SpanContext.SpanID().String()}, links(runs[1]))
	assert.Equal(t, map[string]string{"taskstore.link=call": call, "taskstore.link=run_before": runs[1].SpanContext.SpanID().String()}, links(runs[2]))
	assert.Contains(t, attributes(runs[0]), "taskstore.task.status=input_required")
	assert.Contains(t, attributes(runs[2]), "taskstore.task.resumed=false")
}

// spanOf returns the span's id in a traceparent.
func spanOf(traceparent string) string {
	if len(traceparent) != 55 {
		return ""
	}
	return traceparent[36:52]
}

// A request within an HTTP server's span that names its client's has both.
func TestTheTransportsSpanIsLinked(t *testing.T) {
	e := newExporter(t)
	server := mcp.NewServer(&mcp.Implementation{Name: "test", Version: "1"}, nil)
	server.AddReceivingMiddleware(e.Middleware())
	session := connect(t, server)
	tracer := e.tracers.Tracer("test")
	_, client := tracer.Start(t.Context(), "client")
	ambient, transport := tracer.Start(t.Context(), "http")
	handle := e.Middleware()(func(ctx context.Context, method string, req mcp.Request) (mcp.Result, error) {
		assert.Equal(t, client.SpanContext().TraceID(), trace.SpanContextFromContext(ctx).TraceID())
		return &mcp.ListToolsResult{}, nil
	})
	named := "00-" + client.SpanContext().TraceID().String() + "-" + client.SpanContext().SpanID().String() + "-01"
	_, err := handle(ambient, "tools/list", &mcp.ListToolsRequest{Session: session, Params: &mcp.ListToolsParams{Meta: mcp.Meta{"traceparent": named}}})
	require.NoError(t, err)
	span := e.one("tools/list")
	assert.Equal(t, client.SpanContext().SpanID(), span.Parent.SpanID())
	assert.Equal(t, map[string]string{"taskstore.link=transport": transport.SpanContext().SpanID().String()}, links(span))

	for _, unnamed := range []*mcp.ListToolsParams{nil, {}, {Meta: mcp.Meta{"traceparent": "00-no"}}, {Meta: mcp.Meta{"traceparent": 5}}} {
		e.spans.Reset()
		_, err = e.Middleware()(func(context.Context, string, mcp.Request) (mcp.Result, error) { return &mcp.ListToolsResult{}, nil })(
			ambient, "tools/list", &mcp.ListToolsRequest{Session: session, Params: unnamed})
		require.NoError(t, err)
		span = e.one("tools/list")
		assert.Equal(t, transport.SpanContext().SpanID(), span.Parent.SpanID())
		assert.Empty(t, span.Links)
	}
}

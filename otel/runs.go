package taskotel

import (
	"context"
	"fmt"
	"strconv"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/metric"
	"go.opentelemetry.io/otel/propagation"
	"go.opentelemetry.io/otel/trace"

	"github.com/taskstore/taskstore/mcptasks"
	"github.com/taskstore/taskstore/tasks"
)

// The keys of attributes of spans.
const (
	keyOperation = attribute.Key("gen_ai.operation.name")
	keyTool      = attribute.Key("gen_ai.tool.name")
	keyPrompt    = attribute.Key("gen_ai.prompt.name")
	keyMethod    = attribute.Key("mcp.method.name")
	keyProtocol  = attribute.Key("mcp.protocol.version")
	keyError     = attribute.Key("error.type")
	keyCode      = attribute.Key("rpc.response.status_code")
	keyStatus    = attribute.Key("taskstore.task.status")
	keyResumed   = attribute.Key("taskstore.task.resumed")
	keyLink      = attribute.Key("taskstore.link")
)

const executeTool = "execute_tool" // a value of keyOperation

// observeRun starts the span of a run, in a trace of its own: a task outlives the call that
// made it, and runs in several processes. Links lead to that call and to the previous run.
func (t *Telemetry) observeRun(ctx context.Context, begin mcptasks.RunBegin) mcptasks.RunObserver {
	tool := t.tools.admit(begin.Tool)
	call, before := spanNamed(begin.Before.Call), spanNamed(begin.Before.Run)
	if begin.First {
		call = trace.SpanContextFromContext(ctx)
	}
	var links []trace.Link
	for _, l := range []struct {
		to   trace.SpanContext
		kind string
	}{{call, "call"}, {before, "run_before"}} {
		if l.to.IsValid() {
			links = append(links, trace.Link{SpanContext: l.to, Attributes: []attribute.KeyValue{keyLink.String(l.kind)}})
		}
	}
	_, span := t.tracer.Start(ctx, "task "+tool, trace.WithNewRoot(), trace.WithLinks(links...),
		trace.WithAttributes(keyOperation.String(executeTool), keyTool.String(tool), keyResumed.Bool(begin.Lost)))
	ofTool := metric.WithAttributes(attribute.String("tool", tool))
	background := context.WithoutCancel(ctx)
	t.metrics.running.Add(background, 1, ofTool)
	if begin.Lost {
		t.metrics.resumed.Add(background, 1, ofTool)
	}
	o := mcptasks.RunObserver{
		Trace:   tasks.Trace{Run: nameOf(span.SpanContext())},
		Context: func(ctx context.Context) context.Context { return trace.ContextWithSpan(ctx, span) },
		Ended: func(end mcptasks.RunEnd) {
			t.metrics.running.Add(background, -1, ofTool)
			endRun(span, end)
		},
	}
	if begin.First {
		o.Trace.Call = nameOf(call)
	}
	return o
}

// endRun ends the span of a run. The text of an error stays in the store.
func endRun(span trace.Span, end mcptasks.RunEnd) {
	kind := ""
	switch {
	case end.Status == "":
		kind = "no_task"
	case end.Lost:
		kind = "lease_lost"
	case end.ToolError:
		kind = toolError
	case end.Status == tasks.Failed:
		kind = strconv.FormatInt(end.Code, 10)
	}
	if end.Status != "" {
		span.SetAttributes(keyStatus.String(string(end.Status)))
	}
	if kind != "" {
		span.SetAttributes(keyError.String(kind))
		span.SetStatus(codes.Error, "")
	}
	span.End()
}

// nameOf returns the traceparent of a span. It is empty for a span that is not sampled,
// because a link to it would be dead.
func nameOf(s trace.SpanContext) string {
	if !s.IsValid() || !s.IsSampled() {
		return ""
	}
	return fmt.Sprintf("00-%s-%s-%s", s.TraceID(), s.SpanID(), s.TraceFlags())
}

// spanNamed returns the span that a traceparent names, an invalid one if the traceparent is
// invalid.
func spanNamed(traceparent string) trace.SpanContext {
	ctx := propagation.TraceContext{}.Extract(context.Background(), propagation.MapCarrier{"traceparent": traceparent})
	return trace.SpanContextFromContext(ctx)
}

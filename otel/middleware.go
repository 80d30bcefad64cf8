package taskotel

import (
	"context"
	"reflect"
	"regexp"
	"time"

	"github.com/modelcontextprotocol/go-sdk/mcp"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/metric"
	"go.opentelemetry.io/otel/propagation"
	"go.opentelemetry.io/otel/trace"
)

const (
	methodCall   = "tools/call"
	methodPrompt = "prompts/get"
)

// Middleware returns receiving middleware for servers. It makes a span and a measurement of
// each request and notification, by OpenTelemetry's conventions for MCP. Add it after
// mcptasks' Install, and last, so that it wraps all of the server's work.
//
// The parent of a span is the client's span, which traceparent and tracestate in the
// request's _meta name, or else the span of ctx. If there are both, the span has a link to
// the span of ctx.
//
// The name of a tool or of a prompt is in the span's name and attributes once a request for
// it has been answered without a JSON-RPC error, or has become a task; before that, the
// client might have made it up. A Telemetry admits at most 256 names of each in its life;
// "_OTHER" stands for all others, and for names longer than 128 bytes.
func (t *Telemetry) Middleware() mcp.Middleware {
	return func(next mcp.MethodHandler) mcp.MethodHandler {
		return func(ctx context.Context, method string, req mcp.Request) (mcp.Result, error) {
			r := t.begin(ctx, method, req)
			res, err := next(r.ctx, method, req)
			r.end(res, err)
			return res, err
		}
	}
}

// A request is a request that is being answered.
type request struct {
	of     *Telemetry
	ctx    context.Context
	span   trace.Span
	begun  time.Time
	method string
	name   string // of the tool or the prompt
	names  *names // the names that were admitted; nil: the request has no name
	key    attribute.Key
	named  bool // the span has the name
}

func (t *Telemetry) begin(ctx context.Context, method string, req mcp.Request) *request {
	r := &request{of: t, begun: time.Now(), method: method}
	switch p := req.GetParams().(type) {
	case *mcp.CallToolParamsRaw:
		if p != nil {
			r.name, r.names, r.key = p.Name, &t.tools, keyTool
		}
	case *mcp.GetPromptParams:
		if p != nil {
			r.name, r.names, r.key = p.Name, &t.prompts, keyPrompt
		}
	}
	attrs := []attribute.KeyValue{keyMethod.String(method)}
	if method == methodCall {
		attrs = append(attrs, keyOperation.String(executeTool))
	}
	if v := protocolVersion(req); v != "" {
		attrs = append(attrs, keyProtocol.String(v))
	}
	name := method
	if r.names != nil && r.names.has(r.name) {
		r.named = true
		name += " " + r.name
		attrs = append(attrs, r.key.String(r.name))
	}
	opts := []trace.SpanStartOption{trace.WithSpanKind(trace.SpanKindServer), trace.WithAttributes(attrs...)}
	if parent := sentBy(req); parent.IsValid() {
		if ambient := trace.SpanContextFromContext(ctx); ambient.IsValid() {
			opts = append(opts, trace.WithLinks(trace.Link{SpanContext: ambient, Attributes: []attribute.KeyValue{keyLink.String("transport")}}))
		}
		ctx = trace.ContextWithRemoteSpanContext(ctx, parent)
	}
	r.ctx, r.span = t.tracer.Start(ctx, name, opts...)
	return r
}

func (r *request) end(res mcp.Result, err error) {
	attrs := []attribute.KeyValue{keyMethod.String(r.method)}
	if r.names != nil && (err == nil || r.names.has(r.name)) {
		name := r.names.admit(r.name)
		attrs = append(attrs, r.key.String(name))
		if !r.named {
			r.span.SetName(r.method + " " + name)
			r.span.SetAttributes(r.key.String(name))
		}
	}
	if kind, code := answerKind(res, err); kind != "" {
		failed := []attribute.KeyValue{keyError.String(kind)}
		if code != "" {
			failed = append(failed, keyCode.String(code))
		}
		attrs = append(attrs, failed...)
		r.span.SetAttributes(failed...)
		r.span.SetStatus(codes.Error, "")
	}
	r.of.metrics.request.Record(r.ctx, time.Since(r.begun).Seconds(), metric.WithAttributes(attrs...))
	r.span.End()
}

// sentBy returns the client's span, which the request's _meta names.
func sentBy(req mcp.Request) trace.SpanContext {
	params := req.GetParams()
	if v := reflect.ValueOf(params); !v.IsValid() || v.Kind() == reflect.Pointer && v.IsNil() {
		return trace.SpanContext{}
	}
	carrier, meta := propagation.MapCarrier{}, params.GetMeta()
	for _, key := range (propagation.TraceContext{}).Fields() {
		if s, ok := meta[key].(string); ok {
			carrier[key] = s
		}
	}
	return trace.SpanContextFromContext(propagation.TraceContext{}.Extract(context.Background(), carrier))
}

// dated matches versions of the protocol. Other texts, which clients can send, are ignored.
var dated = regexp.MustCompile(`^\d{4}-\d{2}-\d{2}$`)

func protocolVersion(req mcp.Request) string {
	if d, ok := req.(interface{ ProtocolVersion() string }); ok {
		if v := d.ProtocolVersion(); dated.MatchString(v) {
			return v
		}
	}
	return ""
}

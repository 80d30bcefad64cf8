// Package middleware has seven middlewares, as servers in production have them.
package middleware

import (
	"context"
	"errors"
	"sync"
	"time"

	"github.com/modelcontextprotocol/go-sdk/mcp"
)

type key string

// What handlers find in their ctx.
const (
	sessionKey key = "session"
	traceKey   key = "trace"
	authKey    key = "authorization"
	agentKey   key = "agent"
	spanKey    key = "span"
)

// Value returns what middleware has left in ctx.
func Value(ctx context.Context, name string) any { return ctx.Value(key(name)) }

// Session leaves the session.
func Session(next mcp.MethodHandler) mcp.MethodHandler {
	return func(ctx context.Context, method string, req mcp.Request) (mcp.Result, error) {
		return next(context.WithValue(ctx, sessionKey, req.GetSession()), method, req)
	}
}

// Trace leaves the trace that the client is in.
func Trace(next mcp.MethodHandler) mcp.MethodHandler {
	return func(ctx context.Context, method string, req mcp.Request) (mcp.Result, error) {
		if params := req.GetParams(); params != nil {
			ctx = context.WithValue(ctx, traceKey, params.GetMeta()["traceparent"])
		}
		return next(ctx, method, req)
	}
}

// Auth leaves the token with which the handler acts for its user, and refuses calls
// without one.
func Auth(next mcp.MethodHandler) mcp.MethodHandler {
	return func(ctx context.Context, method string, req mcp.Request) (mcp.Result, error) {
		var token string
		if extra := req.GetExtra(); extra != nil {
			token = extra.Header.Get("Authorization")
		}
		if token == "" && method == "tools/call" {
			return nil, errors.New("unauthorized")
		}
		return next(context.WithValue(ctx, authKey, token), method, req)
	}
}

// Agent leaves what the client calls itself.
func Agent(next mcp.MethodHandler) mcp.MethodHandler {
	return func(ctx context.Context, method string, req mcp.Request) (mcp.Result, error) {
		if extra := req.GetExtra(); extra != nil {
			ctx = context.WithValue(ctx, agentKey, extra.Header.Get("User-Agent"))
		}
		return next(ctx, method, req)
	}
}

// Watch is what the other three keep.
type Watch struct {
	mu       sync.Mutex
	running  int
	requests map[string]int
	spans    []time.Duration
}

// Limit has no more than most requests run at once.
func (w *Watch) Limit(most int) mcp.Middleware {
	return func(next mcp.MethodHandler) mcp.MethodHandler {
		return func(ctx context.Context, method string, req mcp.Request) (mcp.Result, error) {
			w.mu.Lock()
			w.running++
			full := w.running > most
			w.mu.Unlock()
			defer func() { w.mu.Lock(); w.running--; w.mu.Unlock() }()
			if full {
				return nil, errors.New("too many requests")
			}
			return next(ctx, method, req)
		}
	}
}

// Span measures each request, and gives up on one after half a minute.
func (w *Watch) Span(next mcp.MethodHandler) mcp.MethodHandler {
	return func(ctx context.Context, method string, req mcp.Request) (mcp.Result, error) {
		begun := time.Now()
		defer func() { w.mu.Lock(); w.spans = append(w.spans, time.Since(begun)); w.mu.Unlock() }()
		ctx, cancel := context.WithTimeout(ctx, 30*time.Second)
		defer cancel()
		return next(context.WithValue(ctx, spanKey, begun), method, req)
	}
}

// Count counts requests.
func (w *Watch) Count(next mcp.MethodHandler) mcp.MethodHandler {
	return func(ctx context.Context, method string, req mcp.Request) (mcp.Result, error) {
		w.mu.Lock()
		if w.requests == nil {
			w.requests = make(map[string]int)
		}
		w.requests[method]++
		w.mu.Unlock()
		return next(ctx, method, req)
	}
}

// Seen returns how many requests of a method there were, how many run now, and the
// longest that one took.
func (w *Watch) Seen(method string) (requests, running int, longest time.Duration) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, d := range w.spans {
		longest = max(longest, d)
	}
	return w.requests[method], w.running, longest
}

package mcptasks

import (
	"context"
	"iter"
	"sync"
	"time"

	"github.com/modelcontextprotocol/go-sdk/mcp"
)

// dispatch is the end of every server's chain: it has the server of the request's session
// execute the method, past the middleware that the server was given. The SDK hands it to
// the first middleware of a server, and it is the same for all.
var dispatch = sync.OnceValue(func() (end mcp.MethodHandler) {
	server := mcp.NewServer(&mcp.Implementation{}, nil)
	server.AddReceivingMiddleware(func(next mcp.MethodHandler) mcp.MethodHandler {
		end = next
		return next
	})
	return end
})

type runningKey struct{}

// running reports whether the call that has come to a tool is a run of its handler, and
// not a request from the server's chain.
func running(ctx context.Context) bool { return ctx.Value(runningKey{}) != nil }

// reached is called when a run has come to the handler; from then on it keeps the tool,
// even if the tool is removed. It returns the handler's ctx, and an error if the handler
// must not be called.
func reached(ctx context.Context) (context.Context, error) {
	t := FromContext(ctx)
	if t == nil {
		return ctx, nil
	}
	t.e.entered.Store(true)
	if t.e.request == nil || t.e.opts.Mode != Auto || t.e.opts.Grace > 0 {
		return ctx, nil
	}
	if err := t.e.promoteAtOnce(); err != nil {
		return ctx, err
	}
	return t.e.handlerContext(ctx), nil
}

// around returns chain with [Options.Around] around it.
func (t *Tasks) around(chain mcp.MethodHandler) mcp.MethodHandler {
	run := func(ctx context.Context, method string, req mcp.Request) (mcp.Result, error) {
		return chain(context.WithValue(ctx, runningKey{}, true), method, req)
	}
	if t.opts.Around == nil {
		return run
	}
	return t.opts.Around(run)
}

// listed yields the tools that the server of session has now.
func listed(ctx context.Context, session *mcp.ServerSession) iter.Seq[*mcp.Tool] {
	return func(yield func(*mcp.Tool) bool) {
		params := &mcp.ListToolsParams{}
		for {
			res, err := dispatch()(ctx, methodList, &mcp.ListToolsRequest{Session: session, Params: params})
			list, ok := res.(*mcp.ListToolsResult)
			if err != nil || !ok {
				return
			}
			for _, tool := range list.Tools {
				if !yield(tool) {
					return
				}
			}
			if params.Cursor = list.NextCursor; params.Cursor == "" {
				return
			}
		}
	}
}

// knownFor is how long a list of the server's tools stays valid for calls. The SDK finds
// one tool only by calling it, and all by a list, which makes a call slower with each
// tool of the server.
const knownFor = time.Second

// knows reports whether the server of session has a tool of that name now, or had one less
// than knownFor ago.
func (in *installation) knows(ctx context.Context, session *mcp.ServerSession, name string) bool {
	now := time.Now()
	in.toolsMu.RLock()
	known := in.known[name] && now.Before(in.knownUntil)
	in.toolsMu.RUnlock()
	if known {
		return true
	}
	all := make(map[string]bool)
	for tool := range listed(ctx, session) {
		all[tool.Name] = true
	}
	in.toolsMu.Lock()
	defer in.toolsMu.Unlock()
	in.known, in.knownUntil = all, now.Add(knownFor)
	return all[name]
}

// has reports whether the server of session has a tool of that name now.
func has(ctx context.Context, session *mcp.ServerSession, name string) bool {
	for tool := range listed(ctx, session) {
		if tool.Name == name {
			return true
		}
	}
	return false
}

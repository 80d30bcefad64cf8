package mcptasks

import (
	"context"
	"sync"

	"github.com/modelcontextprotocol/go-sdk/mcp"
)

// dispatch is the end of every server's chain: it has the server of the request's
// session do what the method says, past the middleware that the server was given. The
// SDK hands it to the first middleware of a server, and it is the same for all.
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
// no request that comes through the server's chain.
func running(ctx context.Context) bool {
	if ctx.Value(runningKey{}) == nil {
		return false
	}
	if t := FromContext(ctx); t != nil {
		t.e.entered.Store(true)
	}
	return true
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

// has reports whether the server of session has a tool of that name now.
func has(ctx context.Context, session *mcp.ServerSession, name string) bool {
	params := &mcp.ListToolsParams{}
	for {
		res, err := dispatch()(ctx, methodList, &mcp.ListToolsRequest{Session: session, Params: params})
		list, ok := res.(*mcp.ListToolsResult)
		if err != nil || !ok {
			return false
		}
		for _, tool := range list.Tools {
			if tool.Name == name {
				return true
			}
		}
		if params.Cursor = list.NextCursor; params.Cursor == "" {
			return false
		}
	}
}

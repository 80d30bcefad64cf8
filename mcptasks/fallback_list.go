package mcptasks

import (
	"context"
	"fmt"
	"slices"
	"strconv"

	"github.com/modelcontextprotocol/go-sdk/mcp"
)

// showFallback adapts a listing of the server to the kind of the client, once a tool has
// a fallback. A client without a fallback, one with the extension say, does not see the
// three tools; a plain one sees them, a line in the instructions, and its tools without
// the output schemas that their answers need not fit.
//
// So lists differ by client: one that may be cached is private.
func (in *installation) showFallback(ctx context.Context, req mcp.Request, res mcp.Result) {
	ours := in.fallback.tools.Load()
	if ours == nil {
		return
	}
	if !in.showsFallback(ctx, req) {
		if list, _ := res.(*mcp.ListToolsResult); list != nil {
			list.Tools = without(list.Tools, *ours)
		}
		return
	}
	switch res := res.(type) {
	case *mcp.ListToolsResult:
		if res == nil {
			return
		}
		plain := in.isPlainClient(ctx, req)
		makePrivate(&res.Cacheable, plain)
		if plain {
			res.Tools = in.withoutOutput(res.Tools)
		} else {
			res.Tools = without(res.Tools, *ours)
		}
	case *mcp.InitializeResult:
		if res != nil && in.isPlainClient(ctx, req) {
			res.Instructions = in.withInstructions(res.Instructions)
		}
	case *mcp.DiscoverResult:
		if res == nil {
			return
		}
		plain := in.isPlainClient(ctx, req)
		makePrivate(&res.Cacheable, plain)
		if plain {
			res.Instructions = in.withInstructions(res.Instructions)
		}
	}
}

// showsFallback reports whether a tool of the server has a fallback. Only Options.Tool
// knows about tools that other code added, so it looks at each of them until it finds
// one: the instructions go out before any list, and a page of a list is not all of it.
func (in *installation) showsFallback(ctx context.Context, req mcp.Request) bool {
	if in.fallback.shown.Load() {
		return true
	}
	session, ok := req.GetSession().(*mcp.ServerSession)
	if in.opts.Tool == nil || !ok {
		return false
	}
	for tool := range listed(ctx, session) {
		if in.hasFallback(tool) {
			in.fallback.shown.Store(true)
			return true
		}
	}
	return false
}

// without returns the tools that are not among ours.
func without(tools, ours []*mcp.Tool) []*mcp.Tool {
	return slices.DeleteFunc(slices.Clone(tools), func(t *mcp.Tool) bool { return slices.Contains(ours, t) })
}

// hasFallback reports whether calls of a tool that the server lists have a fallback.
func (in *installation) hasFallback(t *mcp.Tool) bool {
	opts, _ := in.tool(t.Name)
	return opts != nil && in.fallsBack(opts)
}

// isPlainClient reports whether a request comes from a client that has fallbacks.
func (in *installation) isPlainClient(ctx context.Context, req mcp.Request) bool {
	if d, ok := req.(declared); ok && capable(d) {
		return false
	}
	_, ok, err := in.plainTenant(ctx, req.GetSession())
	return ok && err == nil
}

// makePrivate keeps caches from giving a result to a client of another kind. A result for
// clients with the extension that may not be kept stays as it is.
func makePrivate(c *mcp.Cacheable, plain bool) {
	if plain || c.TTLMs > 0 {
		c.CacheScope = "private"
	}
}

// withoutOutput returns the tools as plain clients see them.
func (in *installation) withoutOutput(tools []*mcp.Tool) []*mcp.Tool {
	tools = slices.Clone(tools)
	for i, t := range tools {
		if t.OutputSchema != nil && in.hasFallback(t) {
			shown := *t
			shown.OutputSchema = nil
			tools[i] = &shown
		}
	}
	return tools
}

func (in *installation) withInstructions(own string) string {
	o := &in.opts.Fallback
	if own != "" {
		own += "\n\n"
	}
	return own + fmt.Sprintf("Tools that take longer than %s seconds answer with a task, which goes on: "+
		"do what the line \"next\" of such an answer says, and do not call the tool again. "+
		"%s tells how a task stands and returns its result, %s answers what it asks, %s ends it.",
		in.waitSeconds(), o.StatusTool, o.AnswerTool, o.CancelTool)
}

// waitSeconds is Wait as models and clients see it.
func (t *Tasks) waitSeconds() string {
	return strconv.FormatFloat(t.opts.Fallback.Wait.Seconds(), 'f', -1, 64)
}

package mcptasks

import (
	"context"
	"errors"
	"fmt"
	"reflect"
	"runtime"
	"sync"
	"unicode/utf8"
	"weak"

	"github.com/modelcontextprotocol/go-sdk/mcp"
)

// An installation is what one server has of a Tasks. The server's own middleware
// and tools keep it alive, so it goes when the server goes, also where a program
// makes a server for each request.
type installation struct {
	*Tasks
	server  *mcp.Server
	service string            // names, in the store, which servers may run the tasks
	next    mcp.MethodHandler // the rest of the server's chain; nil until Install

	draining bool // no handler starts any more; guarded by the mutex of executions

	toolsMu sync.RWMutex
	tools   map[string]*ToolOptions
}

// maxServiceBytes is the longest name that the store takes, see [tasks.CreateParams].
const maxServiceBytes = 256

// Install makes server speak the extension: it answers tasks/get, tasks/update
// and tasks/cancel, makes tasks of calls of the tools that AddTool added, and
// declares the capability in server/discover. Call it once for a server.
//
// Receiving middleware of the server sees all of these requests, and may refuse
// them, whether it is added before Install or after. Around tools/call they differ:
//
//	added before Install   runs around the handler: it sees the call before there
//	                       is a task, and the handler's own result, after the client
//	                       has its task. It runs again each time the handler is
//	                       called again; [Caller] tells it on whose behalf
//	added after Install    runs around the request: what it sees as the result is
//	                       what the client gets, a task too
func (t *Tasks) Install(server *mcp.Server) error {
	in := t.installation(server)
	if in.service = t.opts.Name; in.service == "" {
		var ok bool
		if in.service, ok = implementationName(server); !ok {
			return errors.New("mcptasks: the server's name cannot be read from this version of the SDK: set Options.Name")
		}
	}
	if len(in.service) > maxServiceBytes || !utf8.ValidString(in.service) {
		return fmt.Errorf("mcptasks: the server's name must be UTF-8, of at most %d bytes: set Options.Name", maxServiceBytes)
	}
	t.mu.Lock()
	twice := in.next != nil
	t.mu.Unlock()
	if twice {
		return errors.New("mcptasks: installed on this server already")
	}
	for _, method := range []string{methodGet, methodUpdate, methodCancel} {
		if err := mcp.AddReceivingCustomMethod(server, method, in.taskMethod); err != nil {
			return err
		}
	}
	server.AddReceivingMiddleware(func(next mcp.MethodHandler) mcp.MethodHandler {
		t.mu.Lock()
		defer t.mu.Unlock()
		in.next = next
		return in.handle
	})
	return nil
}

// AddTool is [mcp.AddTool] for a tool whose calls may become tasks. Nil opts mean
// the defaults. It may be called before and after Install. It panics where
// mcp.AddTool does, and where opts make no sense.
func AddTool[In, Out any](t *Tasks, server *mcp.Server, tool *mcp.Tool, handler mcp.ToolHandlerFor[In, Out], opts *ToolOptions) {
	var o ToolOptions
	if opts != nil {
		o = *opts
	}
	if err := o.check(); err != nil {
		panic(fmt.Sprintf("AddTool: tool %q: %v", tool.Name, err)) // as mcp.AddTool says it
	}
	in := t.installation(server)
	mcp.AddTool(server, tool, func(ctx context.Context, req *mcp.CallToolRequest, args In) (*mcp.CallToolResult, Out, error) {
		if err := in.reached(ctx, req); err != nil {
			var none Out
			return nil, none, err
		}
		return handler(ctx, req, args)
	})
	in.toolsMu.Lock()
	defer in.toolsMu.Unlock()
	in.tools[tool.Name] = &o
}

// installation returns that of server.
func (t *Tasks) installation(server *mcp.Server) *installation {
	t.mu.Lock()
	defer t.mu.Unlock()
	key := weak.Make(server)
	if in := t.servers[key].Value(); in != nil {
		return in
	}
	in := &installation{Tasks: t, server: server, tools: make(map[string]*ToolOptions)}
	t.servers[key] = weak.Make(in)
	runtime.AddCleanup(server, t.forget, key)
	return in
}

// forget drops what is left of a server that is no more.
func (t *Tasks) forget(key weak.Pointer[mcp.Server]) {
	t.mu.Lock()
	defer t.mu.Unlock()
	delete(t.servers, key)
}

// installed reports whether Install was called.
func (in *installation) installed() bool {
	in.mu.Lock()
	defer in.mu.Unlock()
	return in.next != nil
}

// tool returns the options of a tool, nil if AddTool did not add it.
func (in *installation) tool(name string) *ToolOptions {
	in.toolsMu.RLock()
	defer in.toolsMu.RUnlock()
	return in.tools[name]
}

// implementationName returns the name with which the server was made. The SDK has
// it in a field that it does not export, and sends it to every client.
func implementationName(server *mcp.Server) (name string, ok bool) {
	impl := reflect.ValueOf(server).Elem().FieldByName("impl")
	if impl.Kind() != reflect.Pointer || impl.IsNil() || impl.Type().Elem() != reflect.TypeFor[mcp.Implementation]() {
		return "", false
	}
	return impl.Elem().FieldByName("Name").String(), true
}

// forgetTool drops a tool that was removed from the server, unless it was added again.
func (in *installation) forgetTool(name string, opts *ToolOptions) {
	in.toolsMu.Lock()
	defer in.toolsMu.Unlock()
	if in.tools[name] == opts {
		delete(in.tools, name)
	}
}

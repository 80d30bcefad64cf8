package mcptasks

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"sync"

	"github.com/modelcontextprotocol/go-sdk/mcp"

	"github.com/taskstore/taskstore"
	"github.com/taskstore/taskstore/tasks"
)

// A Tasks serves the tasks of MCP servers from one store. Its methods may be
// called by any number of goroutines at once.
type Tasks struct {
	store  *tasks.Store
	opts   Options
	log    *slog.Logger
	holder string // this replica's name in leases

	mu       sync.Mutex
	servers  map[*mcp.Server]*installation
	listens  map[string]*listen
	active   map[*execution]struct{}
	draining bool
	idle     sync.WaitGroup // what runs in the background
}

// An installation is what one server has of a Tasks.
type installation struct {
	*Tasks
	server *mcp.Server
	next   mcp.MethodHandler // what runs a request; nil until Install

	toolsMu sync.RWMutex
	tools   map[string]*ToolOptions
}

// New returns tasks on store, which stays the caller's. Nil opts mean the
// defaults. An option that makes no sense gives an error that matches
// [tasks.ErrInvalid].
func New(store taskstore.StorageBackend, opts *Options) (*Tasks, error) {
	if opts == nil {
		opts = &Options{}
	}
	resolved := opts.resolve()
	s, err := tasks.New(store, &resolved.Tasks)
	if err != nil {
		return nil, err
	}
	host, _ := os.Hostname()
	return &Tasks{
		store:   s,
		opts:    resolved,
		log:     resolved.Logger,
		holder:  fmt.Sprintf("%.64q %d %s", host, os.Getpid(), rand.Text()),
		servers: make(map[*mcp.Server]*installation),
		listens: make(map[string]*listen),
		active:  make(map[*execution]struct{}),
	}, nil
}

// Store returns the tasks below the protocol, for programs that look after them
// by other ways. Its owners are not the names that [Options.Owner] returns but
// derived from them.
func (t *Tasks) Store() *tasks.Store { return t.store }

// Install makes server speak the extension: it answers tasks/get, tasks/update
// and tasks/cancel, makes tasks of calls of the tools that AddTool added, and
// declares the capability in server/discover. Call it once, after the server's
// other receiving middleware was added: what is added later does not run around
// handlers of tasks.
func (t *Tasks) Install(server *mcp.Server) error {
	in := t.installation(server)
	t.mu.Lock()
	twice := in.next != nil
	t.mu.Unlock()
	if twice {
		return errors.New("mcptasks: installed on this server already")
	}
	for _, method := range []string{methodGet, methodUpdate, methodCancel} {
		// The middleware answers them. It gets what this handler would not: headers
		// and token.
		err := mcp.AddReceivingCustomMethod(server, method, func(context.Context, *mcp.ServerSession, *taskParams) (*ack, error) {
			return nil, internalError("not installed")
		})
		if err != nil {
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
// the defaults. It may be called before and after Install, and panics where
// mcp.AddTool does.
func AddTool[In, Out any](t *Tasks, server *mcp.Server, tool *mcp.Tool, handler mcp.ToolHandlerFor[In, Out], opts *ToolOptions) {
	mcp.AddTool(server, tool, handler)
	var o ToolOptions
	if opts != nil {
		o = *opts
	}
	in := t.installation(server)
	in.toolsMu.Lock()
	defer in.toolsMu.Unlock()
	in.tools[tool.Name] = &o
}

// installation returns that of server.
func (t *Tasks) installation(server *mcp.Server) *installation {
	t.mu.Lock()
	defer t.mu.Unlock()
	in := t.servers[server]
	if in == nil {
		in = &installation{Tasks: t, server: server, tools: make(map[string]*ToolOptions)}
		t.servers[server] = in
	}
	return in
}

// tool returns the options of a tool, nil if AddTool did not add it.
func (in *installation) tool(name string) *ToolOptions {
	in.toolsMu.RLock()
	defer in.toolsMu.RUnlock()
	return in.tools[name]
}

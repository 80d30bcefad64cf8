// Package ported is a server that makes its tools from descriptions and makes them anew
// whenever its configuration changes.
package ported

import (
	"context"
	"errors"
	"net/http"
	"sync"

	"github.com/modelcontextprotocol/go-sdk/mcp"

	"github.com/taskstore/taskstore"
	"github.com/taskstore/taskstore/mcptasks"
	"github.com/taskstore/taskstore/mcptasks/testdata/ported/middleware"
	"github.com/taskstore/taskstore/mcptasks/testdata/ported/toolset"
)

// A Server serves the tools of its configuration.
type Server struct {
	Watch middleware.Watch
	sdk   *mcp.Server
	tasks *mcptasks.Tasks

	mu      sync.Mutex
	enabled []string
}

// New returns a server of tools.
func New(tools []toolset.Tool, store taskstore.StorageBackend) (*Server, error) {
	s := &Server{sdk: mcp.NewServer(&mcp.Implementation{Name: "cluster", Version: "1"}, nil)}
	var err error
	if s.tasks, err = mcptasks.New(store, nil); err != nil {
		return nil, err
	}
	if err := s.tasks.Install(s.sdk); err != nil {
		return nil, err
	}
	s.sdk.AddReceivingMiddleware(middleware.Session)
	s.sdk.AddReceivingMiddleware(middleware.Trace)
	s.sdk.AddReceivingMiddleware(s.Watch.Limit(4))
	s.sdk.AddReceivingMiddleware(s.Watch.Span)
	s.sdk.AddReceivingMiddleware(middleware.Auth)
	s.sdk.AddReceivingMiddleware(middleware.Agent)
	s.sdk.AddReceivingMiddleware(s.Watch.Count)
	if err := s.Reload(tools); err != nil {
		return nil, err
	}
	return s, nil
}

// Reload has the server serve other tools from now on; where one is wrong, nothing
// changes.
func (s *Server) Reload(tools []toolset.Tool) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	items, err := toolset.Convert(tools)
	if err != nil {
		return err
	}
	s.enabled = toolset.Commit(s.enabled, items, s.sdk.RemoveTools, func(tool *mcp.Tool, h mcp.ToolHandler) {
		mcptasks.AddRawTool(s.tasks, s.sdk, tool, h, &mcptasks.ToolOptions{Retry: tool.Annotations.ReadOnlyHint})
	})
	return nil
}

// Handler serves the server over HTTP.
func (s *Server) Handler() http.Handler {
	return s.tasks.HTTPHandler(func(*http.Request) *mcp.Server { return s.sdk }, nil)
}

// Run serves the server at addr until ctx ends.
func (s *Server) Run(ctx context.Context, addr string) error {
	web := &http.Server{Addr: addr, Handler: s.Handler()}
	defer context.AfterFunc(ctx, func() { _ = web.Shutdown(context.WithoutCancel(ctx)) })()
	drained := make(chan error, 1)
	go func() { drained <- s.tasks.Run(ctx, s.sdk) }()
	if err := web.ListenAndServe(); !errors.Is(err, http.ErrServerClosed) {
		return err
	}
	return <-drained
}

package main

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/modelcontextprotocol/go-sdk/mcp"
)

// middleware breaks one rule each, so that a run of the suite can show that it
// would notice.
var middleware = map[string]mcp.Middleware{
	// The acknowledgement of a cancel is not the empty complete result.
	"ack": func(next mcp.MethodHandler) mcp.MethodHandler {
		return func(ctx context.Context, method string, req mcp.Request) (mcp.Result, error) {
			res, err := next(ctx, method, req)
			if method == "tasks/cancel" && err == nil {
				return &struct {
					mcp.ResultBase
					ResultType string `json:"resultType"`
				}{ResultType: "task"}, nil
			}
			return res, err
		}
	},
	// Cancelling does nothing.
	"cancel": func(next mcp.MethodHandler) mcp.MethodHandler {
		return func(ctx context.Context, method string, req mcp.Request) (mcp.Result, error) {
			if method == "tasks/cancel" {
				method = "tasks/get"
			}
			return next(ctx, method, req)
		}
	},
}

func defects() string { return strings.Join(slices.Sorted(maps.Keys(middleware)), ", ") }

func install(server *mcp.Server, defect string) error {
	if defect == "" {
		return nil
	}
	m, ok := middleware[defect]
	if !ok {
		return fmt.Errorf("unknown defect; known are: %s", defects())
	}
	server.AddReceivingMiddleware(m)
	return nil
}

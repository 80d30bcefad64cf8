package main

import (
	"context"
	"time"

	"github.com/google/jsonschema-go/jsonschema"
	"github.com/modelcontextprotocol/go-sdk/jsonrpc"
	"github.com/modelcontextprotocol/go-sdk/mcp"

	"github.com/taskstore/taskstore/mcptasks"
)

type none struct{}

// addTools adds the tools that the suite calls, by the names it gives them.
func addTools(t *mcptasks.Tasks, server *mcp.Server) {
	mcp.AddTool(server, &mcp.Tool{Name: "greet", Description: "Greets synchronously"}, greet)
	mcptasks.AddTool(t, server, &mcp.Tool{Name: "slow_compute", Description: "Sleeps, then answers"}, slowCompute, nil)
	mcptasks.AddTool(t, server, &mcp.Tool{Name: "failing_job", Description: "Ends with a tool error"}, failingJob,
		&mcptasks.ToolOptions{Required: true})
	mcptasks.AddTool(t, server, &mcp.Tool{Name: "protocol_error_job", Description: "Ends with a protocol error"}, protocolErrorJob, nil)
	mcptasks.AddTool(t, server, &mcp.Tool{Name: "confirm_delete", Description: "Asks before it deletes"}, confirmDelete, nil)
	mcptasks.AddTool(t, server, &mcp.Tool{Name: "multi_input", Description: "Asks two questions at once"}, multiInput, nil)
	mcptasks.AddTool(t, server, &mcp.Tool{Name: "test_tool_with_task", Description: "Asks synchronously, then becomes a task"}, withTask,
		&mcptasks.ToolOptions{Mode: mcptasks.Manual, Required: true})
}

func text(s string) *mcp.CallToolResult {
	return &mcp.CallToolResult{Content: []mcp.Content{&mcp.TextContent{Text: s}}}
}

func greet(_ context.Context, _ *mcp.CallToolRequest, in struct {
	Name string `json:"name"`
}) (*mcp.CallToolResult, any, error) {
	return text("Hello, " + in.Name + "!"), nil, nil
}

func sleep(ctx context.Context, d time.Duration) error {
	select {
	case <-time.After(d):
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

func slowCompute(ctx context.Context, _ *mcp.CallToolRequest, in struct {
	Seconds float64 `json:"seconds"`
	Label   string  `json:"label,omitempty"`
}) (*mcp.CallToolResult, any, error) {
	if err := sleep(ctx, time.Duration(in.Seconds*float64(time.Second))); err != nil {
		return nil, nil, err
	}
	return text("computed " + in.Label), nil, nil
}

func failingJob(ctx context.Context, _ *mcp.CallToolRequest, _ none) (*mcp.CallToolResult, any, error) {
	if err := sleep(ctx, time.Second); err != nil {
		return nil, nil, err
	}
	res := text("the job failed")
	res.IsError = true
	return res, nil, nil
}

func protocolErrorJob(ctx context.Context, _ *mcp.CallToolRequest, _ none) (*mcp.CallToolResult, any, error) {
	if err := sleep(ctx, 200*time.Millisecond); err != nil {
		return nil, nil, err
	}
	return nil, nil, &jsonrpc.Error{Code: jsonrpc.CodeInternalError, Message: "the job hit a protocol error"}
}

func question(message, property, kind string) *mcp.ElicitParams {
	return &mcp.ElicitParams{Mode: "form", Message: message, RequestedSchema: &jsonschema.Schema{
		Type: "object", Required: []string{property},
		Properties: map[string]*jsonschema.Schema{property: {Type: kind}},
	}}
}

// accepted returns the answer under key, nil if it was not accepted.
func accepted(req *mcp.CallToolRequest, key string) map[string]any {
	if r, ok := req.Params.InputResponses[key].(*mcp.ElicitResult); ok && r.Action == "accept" {
		return r.Content
	}
	return nil
}

func confirmDelete(_ context.Context, req *mcp.CallToolRequest, in struct {
	Filename string `json:"filename"`
}) (*mcp.CallToolResult, any, error) {
	if len(req.Params.InputResponses) == 0 {
		return &mcp.CallToolResult{InputRequests: mcp.InputRequestMap{
			"confirm": question("Delete "+in.Filename+"?", "confirm", "boolean"),
		}}, nil, nil
	}
	if yes, _ := accepted(req, "confirm")["confirm"].(bool); !yes {
		return text("kept " + in.Filename), nil, nil
	}
	return text("deleted " + in.Filename), nil, nil
}

func multiInput(_ context.Context, req *mcp.CallToolRequest, _ none) (*mcp.CallToolResult, any, error) {
	if len(req.Params.InputResponses) == 0 {
		return &mcp.CallToolResult{InputRequests: mcp.InputRequestMap{
			"first":  question("The first value?", "value", "string"),
			"second": question("The second value?", "value", "string"),
		}}, nil, nil
	}
	return text("got both"), nil, nil
}

func withTask(ctx context.Context, req *mcp.CallToolRequest, _ none) (*mcp.CallToolResult, any, error) {
	if len(req.Params.InputResponses) == 0 {
		return &mcp.CallToolResult{
			InputRequests: mcp.InputRequestMap{"user_name": question("What is your name?", "name", "string")},
			RequestState:  "asked",
		}, nil, nil
	}
	name, _ := accepted(req, "user_name")["name"].(string)
	if err := mcptasks.FromContext(ctx).Promote(ctx); err != nil {
		return nil, nil, err
	}
	if err := sleep(ctx, 300*time.Millisecond); err != nil {
		return nil, nil, err
	}
	return text("Hello, " + name + "!"), nil, nil
}

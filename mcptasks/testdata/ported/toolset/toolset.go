// Package toolset makes tools of the SDK from a program's own descriptions of them.
package toolset

import (
	"context"
	"encoding/json"
	"fmt"

	"github.com/google/jsonschema-go/jsonschema"
	"github.com/modelcontextprotocol/go-sdk/mcp"
)

// A Tool is one as the program describes it.
type Tool struct {
	Name     string
	Schema   *jsonschema.Schema
	ReadOnly bool
	Handler  func(ctx context.Context, args map[string]any) (string, error)
}

// An Item is one as the SDK takes it.
type Item struct {
	Tool    *mcp.Tool
	Handler mcp.ToolHandler
}

// Convert checks all tools before a server is given the first.
func Convert(tools []Tool) ([]Item, error) {
	var items []Item
	for _, t := range tools {
		if t.Schema == nil || t.Schema.Type != "object" {
			return nil, fmt.Errorf("tool %q: its schema is of no object", t.Name)
		}
		items = append(items, Item{
			Tool:    &mcp.Tool{Name: t.Name, InputSchema: t.Schema, Annotations: &mcp.ToolAnnotations{ReadOnlyHint: t.ReadOnly}},
			Handler: t.handle,
		})
	}
	return items, nil
}

func (t Tool) handle(ctx context.Context, req *mcp.CallToolRequest) (*mcp.CallToolResult, error) {
	var args map[string]any
	if err := json.Unmarshal(req.Params.Arguments, &args); err != nil {
		return nil, fmt.Errorf("the arguments of %s: %w", t.Name, err)
	}
	text, err := t.Handler(ctx, args)
	if err != nil {
		res := new(mcp.CallToolResult)
		res.SetError(err)
		return res, nil
	}
	return &mcp.CallToolResult{Content: []mcp.Content{&mcp.TextContent{Text: text}}}, nil
}

// Commit gives a server its tools, takes from it those of before that are not among them,
// and returns their names.
func Commit(before []string, items []Item, remove func(...string), add func(*mcp.Tool, mcp.ToolHandler)) []string {
	names := make(map[string]bool)
	var now, gone []string
	for _, item := range items {
		names[item.Tool.Name] = true
		now = append(now, item.Tool.Name)
	}
	for _, name := range before {
		if !names[name] {
			gone = append(gone, name)
		}
	}
	remove(gone...)
	for _, item := range items {
		add(item.Tool, item.Handler)
	}
	return now
}

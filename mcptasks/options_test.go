package mcptasks_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/modelcontextprotocol/go-sdk/mcp"

	"github.com/taskstore/taskstore/mcptasks"
)

// AddTool refuses options that make no sense, names the fault and leaves the tool out.
func TestToolOptionsThatMakeNoSense(t *testing.T) {
	for want, opts := range map[string]mcptasks.ToolOptions{
		"ToolOptions.TTL is -1ns":          {TTL: -1},
		"ToolOptions.PollInterval is -1s":  {PollInterval: -time.Second},
		"ToolOptions.Grace is -1h0m0s":     {Grace: -time.Hour, Mode: mcptasks.Manual},
		"ToolOptions.Mode is 7; it must":   {Mode: 7},
		"ToolOptions.Mode is -1; it must ": {Mode: -1},
	} {
		r := start(t, memory(), nil, func(tasks *mcptasks.Tasks, server *mcp.Server) {
			defer func() {
				if got := fmt.Sprint(recover()); !strings.Contains(got, want) || !strings.Contains(got, `"bad"`) {
					t.Errorf("AddTool panics with %q, not %q", got, want)
				}
			}()
			add(tasks, server, "bad", confirm, &opts)
		})
		if got := r.as("").do("tools/list", map[string]any{}); strings.Contains(string(got.Raw), "bad") {
			t.Errorf("%s: the tool was added: %v", want, got)
		}
	}
	start(t, memory(), nil, func(tasks *mcptasks.Tasks, server *mcp.Server) {
		add(tasks, server, "good", confirm, &mcptasks.ToolOptions{TTL: 1, PollInterval: 1, Grace: 1})
	})
}

// A call of a tool that the server does not have is an error at once, for every client.
func TestUnknownTool(t *testing.T) {
	r := start(t, memory(), nil, asking)
	for _, legacy := range []bool{false, true} {
		c := r.as("alice")
		c.legacy = legacy
		if got := c.call("unknown", nil); got.Error == nil || got.Error.Code != -32602 || !strings.Contains(got.Error.Message, "unknown") {
			t.Errorf("legacy %v: %v", legacy, got)
		}
	}
}

// A server's name is kept with its tasks: one that the store would refuse is refused
// when there are no tasks yet.
func TestAServersNameFitsTheStore(t *testing.T) {
	for name, ok := range map[string]bool{strings.Repeat("n", 256): true, strings.Repeat("n", 257): false, "\xff": false} {
		for what, install := range map[string]func() error{
			"Options.Name": func() error {
				_, _, err := assemble(memory(), &mcptasks.Options{Name: name}, func(*mcptasks.Tasks, *mcp.Server) {})
				return err
			},
			"the implementation's": func() error {
				tasks, err := mcptasks.New(memory(), nil)
				if err != nil {
					t.Fatal(err)
				}
				return tasks.Install(mcp.NewServer(&mcp.Implementation{Name: name, Version: "1"}, nil))
			},
		} {
			if err := install(); (err == nil) != ok {
				t.Errorf("%s, %d bytes: %v", what, len(name), err)
			}
		}
	}
}

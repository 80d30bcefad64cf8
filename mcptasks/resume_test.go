package mcptasks

import (
	"context"
	"testing"
	"time"

	"github.com/modelcontextprotocol/go-sdk/mcp"

	"github.com/taskstore/taskstore"
	"github.com/taskstore/taskstore/tasks"
)

// A server with the tool of a task without a runner resumes it. Any other server gives it
// up after more than ten leases; its log lines name the tool if the record tells it.
func TestATaskIsJudgedByItsToolAndByTheTime(t *testing.T) {
	server, err := New(taskstore.NewMemoryBackend(nil), &Options{Tasks: tasks.Options{Lease: 30 * time.Second}})
	if err != nil {
		t.Fatal(err)
	}
	sdk := mcp.NewServer(&mcp.Implementation{Name: "test", Version: "1"}, nil)
	handler := func(context.Context, *mcp.CallToolRequest) (*mcp.CallToolResult, error) { return nil, nil }
	for name, opts := range map[string]*ToolOptions{"again": {Retry: true}, "once": {}, "removed": {Retry: true}} {
		AddRawTool(server, sdk, &mcp.Tool{Name: name, InputSchema: map[string]any{"type": "object"}}, handler, opts)
	}
	sdk.RemoveTools("removed")
	in := server.installation(sdk)
	saved := func(tool string) []byte {
		request, err := savedRequest(&mcp.CallToolParamsRaw{Name: tool})
		if err != nil {
			t.Fatal(err)
		}
		return request
	}
	const leases = 10 * 30 * time.Second
	now := time.Now()
	for name, c := range map[string]struct {
		request []byte
		token   uint64
		idle    time.Duration
		want    verdict
		tool    string
	}{
		"its tool is here":                 {saved("again"), 1, time.Second, resume, "again"},
		"its tool is here, after leases":   {saved("again"), 1, 2 * leases, resume, "again"},
		"not to be called again":           {saved("once"), 1, leases, leave, ""},
		"the same, after more than leases": {saved("once"), 1, leases + 10*time.Nanosecond, abandon, "once"},
		"its tool was removed":             {saved("removed"), 1, leases, leave, ""},
		"the same, for longer":             {saved("removed"), 1, leases + 10*time.Nanosecond, abandon, "removed"},
		"no such tool":                     {saved("gone"), 1, leases, leave, ""},
		"the same for more than leases":    {saved("gone"), 1, leases + 10*time.Nanosecond, abandon, "gone"},
		"a call that cannot be read":       {[]byte("{"), 1, leases, leave, ""},
		"the same, over all leases":        {[]byte("{"), 1, 2 * leases, abandon, ""},
		"never leased":                     {saved("gone"), 0, 2 * leases, leave, ""},
		"not idle":                         {saved("gone"), 1, 0, leave, ""},
	} {
		task := &tasks.Task{Request: c.request}
		if task.Lease.Token = c.token; c.idle != 0 {
			task.Lease.IdleSince = now.Add(-c.idle)
		}
		if got, tool := in.classify(t.Context(), task, now); got != c.want || tool != c.tool {
			t.Errorf("%s: %v %q, not %v %q", name, got, tool, c.want, c.tool)
		}
	}
}

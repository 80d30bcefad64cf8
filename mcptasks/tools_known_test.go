package mcptasks_test

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

	"github.com/modelcontextprotocol/go-sdk/mcp"

	"github.com/taskstore/taskstore/mcptasks"
)

// A tool of somebody else's code is known as soon as it is added. One that was removed may
// get one more task, which fails, and is unknown a second later; no list is made for each call.
func TestToolsOfOthersComeAndGo(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		lists := 0
		tasks, err := mcptasks.New(memory(), &mcptasks.Options{Tool: func(string) *mcptasks.ToolOptions { return &mcptasks.ToolOptions{} }})
		if err != nil {
			t.Fatal(err)
		}
		server := mcp.NewServer(&mcp.Implementation{Name: "test", Version: "1"}, &mcp.ServerOptions{
			SetCacheable: func(context.Context, mcp.Request, *mcp.Cacheable) { lists++ },
		})
		if err := tasks.Install(server); err != nil {
			t.Fatal(err)
		}
		r := directTo(t, tasks, server)
		c := r.as("alice")
		unknown := func(when string) {
			t.Helper()
			if got := c.call("work", map[string]any{"n": 1}); got.Error == nil || got.Error.Code != -32602 {
				t.Errorf("%s: %v", when, got)
			}
		}
		unknown("before")
		for range 2 {
			server.AddTool(rawTool("work"), raw("done "))
			lists = 0
			for range 10 {
				if got := c.until(c.create("work", map[string]any{"n": 1}), "completed"); textOf(got) != "done 1" {
					t.Errorf("added: %v", got)
				}
			}
			if lists > 1 {
				t.Errorf("%d lists for 10 calls", lists)
			}
			server.RemoveTools("work")
			got := c.until(c.create("work", nil), "failed")
			if failure, _ := got.Result["error"].(map[string]any); failure["message"] != `unknown tool "work"` {
				t.Errorf("just removed: %v", got)
			}
			time.Sleep(time.Second)
			unknown("removed")
		}
		if err := tasks.Shutdown(t.Context()); err != nil {
			t.Error(err)
		}
	})
}

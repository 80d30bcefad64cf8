package mcptasks_test

import (
	"context"
	"net/http"
	"testing"

	"github.com/modelcontextprotocol/go-sdk/mcp"

	"github.com/taskstore/taskstore/mcptasks"
)

// kagent#2265 (a create with the id of another's task overwrote it, and one with the id of
// a deleted task reported success and stored no task): the server alone names a task. It
// ignores an id in a call, in any field.
func TestCreateWithAnothersID(t *testing.T) {
	onEach(t, func(t *testing.T, open opener) {
		r := start(t, open(), nil, func(tasks *mcptasks.Tasks, server *mcp.Server) {
			mcptasks.AddTool(tasks, server, &mcp.Tool{Name: "ask"}, func(ctx context.Context, req *mcp.CallToolRequest, _ map[string]any) (*mcp.CallToolResult, any, error) {
				return confirm(ctx, req, none{})
			}, nil)
		})
		for _, owner := range []string{"alice", ""} {
			victim, gone := r.as(owner).create("ask", nil), r.as(owner).create("ask", nil)
			before := r.as(owner).until(victim, "input_required").String()
			r.as(owner).until(gone, "input_required")
			if err := r.tasks.Store().Delete(t.Context(), storedOwner(owner, gone), gone[:36]); err != nil {
				t.Fatal(err)
			}
			seen := map[string]bool{victim: true, gone: true}
			for _, id := range []string{victim, gone} {
				for name, params := range map[string]map[string]any{
					"params.taskId":      {"taskId": id},
					"params.id":          {"id": id},
					"params.task":        {"task": map[string]any{"taskId": id, "id": id, "ttl": 60000}},
					"arguments":          {"arguments": map[string]any{"taskId": id, "id": id}},
					"related task":       {"_meta": map[string]any{"io.modelcontextprotocol/related-task": map[string]any{"taskId": id}}},
					"_meta":              {"_meta": map[string]any{"taskId": id, "io.modelcontextprotocol/taskId": id, "io.modelcontextprotocol/tasks": map[string]any{"taskId": id}}},
					"the progress token": {"_meta": map[string]any{"progressToken": id}},
					"the request state":  {"requestState": id},
				} {
					for _, user := range []string{"mallory", "", "alice"} {
						if params["arguments"] == nil {
							params["arguments"] = map[string]any{}
						}
						params["name"] = "ask"
						c, named := r.as(user), r.as(user)
						named.header = http.Header{"Mcp-Name": {"ask"}} // same for all params
						got := named.do("tools/call", params)
						made, _ := got.Result["taskId"].(string)
						if !idForm.MatchString(made) || seen[made] {
							t.Errorf("%s by %q: %v", name, user, got)
						}
						seen[made] = true
						if after := r.as(owner).get(victim).String(); after != before {
							t.Fatalf("%s by %q: before %s\nafter %s", name, user, before, after)
						}
						for _, known := range []string{victim, gone} {
							if got := c.get(known); (got.Error == nil) != (known == victim && user == owner) {
								t.Errorf("%s: %q looks up a task of %q: %v", name, user, owner, got)
							}
						}
						c.until(made, "input_required")
						c.cancel(made)
					}
				}
			}
		}
	})
}

// storedOwner returns the owner, in the store, of the task that clients call id.
func storedOwner(user, id string) string {
	if user == "" {
		return "a:" + id[37:]
	}
	return "n:" + user
}

package mcptasks_test

import (
	"context"
	"errors"
	"strings"
	"testing"

	"github.com/modelcontextprotocol/go-sdk/mcp"

	"github.com/taskstore/taskstore/mcptasks"
)

func asking(tasks *mcptasks.Tasks, server *mcp.Server) { add(tasks, server, "ask", confirm, nil) }

func TestOwnerOption(t *testing.T) {
	opts := fast()
	opts.Owner = func(_ context.Context, req mcp.Request) (string, error) {
		switch tenant := req.GetExtra().Header.Get("X-Tenant"); tenant {
		case "":
			return "", mcptasks.ErrAnonymous
		case "broken":
			return "", errors.New("secret reason")
		case "empty":
			return "", nil
		default:
			return tenant, nil
		}
	}
	r := start(t, memory(), opts, asking)
	as := func(tenant string) *caller {
		c := r.as("")
		c.header = map[string][]string{"X-Tenant": {tenant}}
		return c
	}
	id := as("one").create("ask", nil)
	if got := as("one").get(id); got.Error != nil {
		t.Errorf("the owner: %v", got)
	}
	if got := as("two").get(id); got.Error == nil || got.Error.Code != -32602 {
		t.Errorf("another: %v", got)
	}
	for _, tenant := range []string{"broken", "empty"} {
		if got := as(tenant).call("ask", nil); got.Error == nil || got.Error.Code != -32600 || strings.Contains(got.Error.Message, "secret") {
			t.Errorf("tenant %s: %v", tenant, got)
		}
	}
	if id := as("").create("ask", nil); len(id) != 39 {
		t.Errorf("an anonymous id: %q", id)
	}
}

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
		case "longest":
			return strings.Repeat("long owner", 102), nil
		case "too long":
			return strings.Repeat("long owner", 110), nil
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
	as("longest").create("ask", nil)
	// The caller's error names the fault; the server's log has the reason as well.
	for tenant, want := range map[string]struct{ told, logged string }{
		"broken":   {"the request's owner is not known", "secret reason"},
		"empty":    {"the request's owner is empty", "returned an owner that is empty or too long; for an anonymous caller return ErrAnonymous\" bytes=0 max=1020"},
		"too long": {"the request's owner is too long: at most 1020 bytes", "bytes=1100 max=1020"},
	} {
		for name, got := range map[string]reply{"tools/call": as(tenant).call("ask", nil), "tasks/get": as(tenant).get(id)} {
			if got.Error == nil || got.Error.Code != -32600 || got.Error.Message != want.told {
				t.Errorf("%s, tenant %s: %v", name, tenant, got)
			}
		}
		if log := r.log.String(); !strings.Contains(log, want.logged) || strings.Contains(log, "long owner") {
			t.Errorf("tenant %s, logged: %s", tenant, log)
		}
	}
	if id := as("").create("ask", nil); len(id) != 39 {
		t.Errorf("an anonymous id: %q", id)
	}
}

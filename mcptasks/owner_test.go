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

// A task of somebody else answers as one that never was, in every method.
func TestForeignTasks(t *testing.T) {
	r := start(t, memory(), nil, asking)
	unknown := "8c9a1c52-32f5-4a9e-9d61-2c0f6f2b7c11"
	ids := map[string]string{"alice": r.as("alice").create("ask", nil), "": r.as("").create("ask", nil)}
	if ids["alice"] == ids[""] {
		t.Fatal("one id twice")
	}
	for owner, id := range ids {
		for _, user := range []string{"alice", "mallory", ""} {
			c := r.as(user)
			if user == owner {
				continue
			}
			for _, variant := range []string{id, id + "-00", strings.TrimSuffix(id, id[len(id)-3:]), unknown, unknown + "-00", "a:00/" + id, "../" + id} {
				for method, params := range map[string]map[string]any{
					"tasks/get":    {"taskId": variant},
					"tasks/cancel": {"taskId": variant},
					"tasks/update": {"taskId": variant, "inputResponses": map[string]any{"confirm": accept(nil)}},
				} {
					got := c.do(method, params)
					if got.Error == nil || got.Error.Code != -32602 || got.Error.Message != "Task not found" || got.Error.Data != nil {
						t.Errorf("%s by %q of a task of %q: %v", method, user, owner, got)
					}
				}
			}
		}
		if got := r.as(owner).until(id, "input_required"); got.Error != nil {
			t.Errorf("the task of %q: %v", owner, got)
		}
	}
}

func TestTokenWithoutUser(t *testing.T) {
	r := start(t, memory(), nil, asking)
	id := r.as("").create("ask", nil)
	nobody := r.as("nobody")
	for what, got := range map[string]reply{
		"create": nobody.call("ask", nil), "get": nobody.get(id), "cancel": nobody.cancel(id),
		"update": nobody.update(id, map[string]any{}),
	} {
		if got.Error == nil || got.Error.Code != -32600 {
			t.Errorf("%s with a token that names no user: %v", what, got)
		}
	}
}

// Two users whose names look like the owners that are made for others.
func TestOwnersDoNotMeet(t *testing.T) {
	r := start(t, memory(), nil, asking)
	id := r.as("").create("ask", nil)
	i := strings.LastIndexByte(id, '-')
	for _, user := range []string{"a:" + id[i+1:], "n:a:" + id[i+1:], id[i+1:]} {
		for _, id := range []string{id, id[:i]} {
			if got := r.as(user).get(id); got.Error == nil || got.Error.Code != -32602 {
				t.Errorf("%q reached an anonymous task: %v", user, got)
			}
		}
	}
}

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

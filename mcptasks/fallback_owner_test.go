package mcptasks_test

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"

	"github.com/modelcontextprotocol/go-sdk/mcp"

	"github.com/taskstore/taskstore/mcptasks"
)

// about calls each of the three tools about a task.
func (m *modelClient) about(id string) map[string]*mcp.CallToolResult {
	m.t.Helper()
	return map[string]*mcp.CallToolResult{
		"task_status": m.call("task_status", map[string]any{"id": id, "wait": 0}),
		"task_answer": m.call("task_answer", map[string]any{"id": id, "answers": map[string]any{"confirm": accept(map[string]any{"ok": true})}}),
		"task_cancel": m.call("task_cancel", map[string]any{"id": id}),
	}
}

// A caller gets the same refusal for the task of another owner, of any kind, as for an
// unknown id.
func TestTenantsDoNotReachEachOthersTasks(t *testing.T) {
	noLeaks(t)
	opts := patient()
	opts.Fallback.Anonymous = true
	r := start(t, memory(), opts, fallbackTools).withSessions()
	alice := r.model("alice", nil)
	local := r.localModel(nil)
	ids := map[string]string{
		"alice's":   handle(t, alice.call("asks_early", nil)),
		"stdio's":   handle(t, local.call("asks_early", nil)),
		"anonymous": handle(t, r.model("", nil).call("asks_early", nil)),
		"no id":     "x",
		"unknown":   "0b8ab5de-3a0c-4b1c-8dd0-9b7a1f6c2d11",
	}
	var refused string
	for what, id := range ids {
		for tool, res := range r.model("bob", nil).about(id) {
			says := fmt.Sprint(saidBy(res), fields(res))
			if refused == "" {
				refused = says
			}
			if says != refused || !res.IsError || fields(res)["code"] != "task_not_found" || fields(res)["status"] != nil {
				t.Errorf("bob calls %s about %s: %s", tool, what, says)
			}
		}
	}
	for tool, res := range r.model("", nil).about(ids["alice's"]) {
		if fields(res)["code"] != "task_not_found" {
			t.Errorf("an anonymous caller calls %s: %s", tool, saidBy(res))
		}
	}
	for who, m := range map[string]*modelClient{"alice's": alice, "stdio's": local, "anonymous": r.model("", nil)} {
		m.user = map[string]map[string]any{"confirm": {"ok": true}}
		if res := m.follow(m.call("task_status", map[string]any{"id": ids[who]})); saidBy(res) != "answered: accept" {
			t.Errorf("%s: %s", who, saidBy(res))
		}
	}
}

// By default an anonymous caller over HTTP gets no id. Its calls wait, as they do without
// a fallback, and its list has no trace of the fallback.
func TestAnonymousCallersGetNoHandle(t *testing.T) {
	noLeaks(t)
	r := start(t, memory(), patient(), fallbackTools).withSessions()
	m := r.model("", nil)
	if res := m.call("long", map[string]any{"ms": 300}); saidBy(res) != `{"sum":300}` {
		t.Errorf("long: %s", saidBy(res))
	}
	list, err := m.session.ListTools(t.Context(), nil)
	if err != nil {
		t.Fatal(err)
	}
	for _, tool := range list.Tools {
		if strings.HasPrefix(tool.Name, "task_") || tool.Name == "long" && tool.OutputSchema == nil {
			t.Errorf("the list has %+v", tool)
		}
	}
	if m.session.InitializeResult().Instructions != "" {
		t.Errorf("the instructions: %s", m.session.InitializeResult().Instructions)
	}
	if _, err := m.session.CallTool(t.Context(), &mcp.CallToolParams{Name: "task_status", Arguments: map[string]any{"id": "x"}}); err == nil || !strings.Contains(err.Error(), `unknown tool "task_status"`) {
		t.Errorf("task_status: %v", err)
	}
	if log := r.log.String(); strings.Count(log, "got no fallback") != 1 {
		t.Errorf("the log: %s", log)
	}
}

// A client in memory or over a socket does not get the tasks of the process's user,
// because only stdio shows that it has the rights of the process.
func TestOnlyStdioIsTheProcessUsers(t *testing.T) {
	noLeaks(t)
	r := start(t, memory(), patient(), fallbackTools)
	clientSide, serverSide := mcp.NewInMemoryTransports()
	session, err := r.mcp.Connect(context.Background(), r.tasks.Transport(serverSide), nil)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = session.Close() })
	m := connectModel(t, clientSide, nil)
	if res := m.call("long", map[string]any{"ms": 300}); saidBy(res) != `{"sum":300}` {
		t.Errorf("long: %s", saidBy(res))
	}
	for transport, want := range map[mcp.Transport]bool{
		&mcp.StdioTransport{}: true, &mcp.LoggingTransport{Transport: &mcp.StdioTransport{}}: true,
		&mcp.IOTransport{}: false, serverSide: false,
	} {
		if got := mcptasks.IsStdio(r.tasks.Transport(transport)); got != want {
			t.Errorf("%T is stdio: %v", transport, got)
		}
	}
}

// The next process of the same user, on the same store, finds the tasks of the last.
func TestStdioHasTheSameOwnerAfterARestart(t *testing.T) {
	noLeaks(t)
	store := memory()
	first := start(t, store, patient(), fallbackTools)
	id := handle(t, first.localModel(nil).call("asks_early", nil))
	second := start(t, store, patient(), fallbackTools).localModel(nil)
	second.user = map[string]map[string]any{"confirm": {"ok": true}}
	if res := second.follow(second.call("task_status", map[string]any{"id": id})); saidBy(res) != "answered: accept" {
		t.Errorf("after a restart: %s", saidBy(res))
	}
}

// A handler gets the same owner with and without a fallback: on stdio the caller is
// anonymous.
func TestCallerIsTheSameWithAFallback(t *testing.T) {
	noLeaks(t)
	r := start(t, memory(), patient(), func(tasks *mcptasks.Tasks, server *mcp.Server) {
		add(tasks, server, "who", func(ctx context.Context, req *mcp.CallToolRequest, _ none) (*mcp.CallToolResult, any, error) {
			if req.Params.InputResponses == nil {
				return &mcp.CallToolResult{InputRequests: mcp.InputRequestMap{"confirm": elicit("go on?")}}, nil, nil
			}
			who, err := mcptasks.Caller(ctx)
			return text(fmt.Sprint(who, err)), nil, nil
		}, nil)
	}).withSessions()
	for want, m := range map[string]*modelClient{
		"alice<nil>":                      r.model("alice", nil),
		fmt.Sprint(mcptasks.ErrAnonymous): r.localModel(nil),
	} {
		if res := m.run("who", nil); saidBy(res) != want {
			t.Errorf("%s in the place of %s", saidBy(res), want)
		}
	}
}

// A plain client's list has the three tools, and leaves outputSchema out if an answer may
// be a task. The list of a client with the extension lacks these tools and keeps
// outputSchema. A cache must keep the two lists apart.
func TestListsDifferByClient(t *testing.T) {
	noLeaks(t)
	for name, ttl := range map[string]int{"not cached": 0, "cached": 60000} {
		t.Run(name, func(t *testing.T) {
			tasks, err := mcptasks.New(memory(), patient())
			if err != nil {
				t.Fatal(err)
			}
			server := mcp.NewServer(&mcp.Implementation{Name: "test", Version: "1"}, &mcp.ServerOptions{
				Instructions: "Be kind.",
				SetCacheable: func(_ context.Context, _ mcp.Request, c *mcp.Cacheable) { c.TTLMs = ttl },
			})
			fallbackTools(tasks, server)
			mcptasks.AddTool(tasks, server, &mcp.Tool{Name: "off"}, func(context.Context, *mcp.CallToolRequest, none) (*mcp.CallToolResult, addition, error) {
				return nil, addition{1}, nil
			}, &mcptasks.ToolOptions{Fallback: mcptasks.FallbackOff})
			if err := tasks.Install(server); err != nil {
				t.Fatal(err)
			}
			r := serve(t, tasks, server)
			r.log = new(lockedBuffer)
			own := []string{"asks", "asks_early", "bad", "endless", "fails", "long", "off"}
			for kind, legacy := range map[string]bool{"plain": true, "capable": false} {
				c := r.as("alice")
				c.legacy = legacy
				list, found := c.do("tools/list", map[string]any{}), c.do("server/discover", map[string]any{})
				names, outputs := []string{}, map[string]bool{}
				for _, tool := range list.Result["tools"].([]any) {
					tool := tool.(map[string]any)
					names = append(names, tool["name"].(string))
					if tool["outputSchema"] != nil {
						outputs[tool["name"].(string)] = true
					}
				}
				scope, wantNames, wantOutputs := "public", own, map[string]bool{"long": true, "off": true}
				if legacy {
					wantNames = append(slices.Clone(own), "task_answer", "task_cancel", "task_status")
					wantOutputs = map[string]bool{"off": true}
				}
				if legacy || ttl > 0 {
					scope = "private"
				}
				if !slices.Equal(names, wantNames) || !maps.Equal(outputs, wantOutputs) {
					t.Errorf("%s: the list has %q, with an outputSchema %v", kind, names, outputs)
				}
				if list.Result["cacheScope"] != scope || found.Result["cacheScope"] != scope {
					t.Errorf("%s: the list is %v, discovery %v", kind, list.Result["cacheScope"], found.Result["cacheScope"])
				}
				instructions, _ := found.Result["instructions"].(string)
				if legacy != strings.Contains(instructions, "task_status tells") || !strings.HasPrefix(instructions, "Be kind.") {
					t.Errorf("%s: the instructions: %s", kind, instructions)
				}
			}
		})
	}
}

// The annotations of the three tools tell their effects on the world.
func TestFallbackToolsHaveTheirHints(t *testing.T) {
	noLeaks(t)
	m := start(t, memory(), patient(), fallbackTools).localModel(nil)
	list, err := m.session.ListTools(t.Context(), nil)
	if err != nil {
		t.Fatal(err)
	}
	for _, tool := range list.Tools {
		if a := tool.Annotations; a != nil {
			got := fmt.Sprintf("read-only %v, idempotent %v, destructive %v, open %v", a.ReadOnlyHint, a.IdempotentHint, *a.DestructiveHint, *a.OpenWorldHint)
			want := "read-only false, idempotent true, destructive true, open false"
			if tool.Name == "task_status" {
				want = "read-only true, idempotent true, destructive false, open false"
			}
			if got != want {
				t.Errorf("%s: %s", tool.Name, got)
			}
		}
	}
}

// A name belongs to one tool: adding a second one of the name panics, in either order.
func TestFallbackNamesAreTheirOwn(t *testing.T) {
	tool := func(name string) func(*mcptasks.Tasks, *mcp.Server) {
		return func(tasks *mcptasks.Tasks, server *mcp.Server) {
			add(tasks, server, name, confirm, &mcptasks.ToolOptions{Fallback: mcptasks.FallbackOff})
		}
	}
	for name, order := range map[string][]func(*mcptasks.Tasks, *mcp.Server){
		"before": {tool("task_status"), fallbackTools}, "after": {fallbackTools, tool("task_status")},
	} {
		func() {
			defer func() {
				if s, _ := recover().(string); !strings.Contains(s, "Options.Fallback") {
					t.Errorf("%s: %q", name, s)
				}
			}()
			_, _, _ = assemble(memory(), patient(), func(tasks *mcptasks.Tasks, server *mcp.Server) {
				for _, add := range order {
					add(tasks, server)
				}
			})
		}()
	}
	opts := patient()
	opts.Fallback.StatusTool, opts.Fallback.AnswerTool, opts.Fallback.CancelTool = "look", "tell", "stop"
	m := start(t, memory(), opts, func(tasks *mcptasks.Tasks, server *mcp.Server) {
		fallbackTools(tasks, server)
		tool("task_status")(tasks, server)
	}).localModel(nil)
	m.user = map[string]map[string]any{"confirm": {"ok": true}}
	if res := m.run("asks", nil); saidBy(res) != "answered: accept" || !slices.Equal(slices.Compact(m.turns), []string{"asks", "look", "tell"}) {
		t.Errorf("%q: %s", m.turns, saidBy(res))
	}
	for _, bad := range []mcptasks.FallbackOptions{{Wait: -1}, {StatusTool: "task_cancel"}, {StatusTool: "x", AnswerTool: "x"}} {
		if _, err := mcptasks.New(memory(), &mcptasks.Options{Fallback: bad}); err == nil {
			t.Errorf("%+v is taken", bad)
		}
	}
}

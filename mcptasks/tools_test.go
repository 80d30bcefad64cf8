package mcptasks_test

import (
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"strings"
	"testing"
	"time"

	"github.com/modelcontextprotocol/go-sdk/mcp"

	"github.com/taskstore/taskstore/mcptasks"
)

// A twin is a tool that one server has from the SDK and another from this package.
type twin struct {
	sdk  func(*mcp.Server)
	ours func(*mcptasks.Tasks, *mcp.Server)
}

func twinOf[In, Out any](tool mcp.Tool, h mcp.ToolHandlerFor[In, Out]) twin {
	tool.Name = "work"
	return twin{
		func(server *mcp.Server) { mcp.AddTool(server, &tool, h) },
		func(tasks *mcptasks.Tasks, server *mcp.Server) { mcptasks.AddTool(tasks, server, &tool, h, nil) },
	}
}

func returns[Out any](out Out) mcp.ToolHandlerFor[none, Out] {
	return func(context.Context, *mcp.CallToolRequest, none) (*mcp.CallToolResult, Out, error) {
		return nil, out, nil
	}
}

// The SDK infers, checks and fills in the same for a typed tool of AddTool: in the list, in
// an answer and in the result of a task.
func TestATypedToolIsAsTheSDKHasIt(t *testing.T) {
	type output struct {
		N     int      `json:"n" jsonschema:"a number"`
		Names []string `json:"names,omitempty"`
	}
	for name, w := range map[string]twin{
		"any":               twinOf(mcp.Tool{}, returns[any](nil)),
		"any, with a value": twinOf(mcp.Tool{}, returns[any](map[string]int{"n": 1})),
		"a struct":          twinOf(mcp.Tool{}, returns(output{N: 1})),
		"a pointer":         twinOf(mcp.Tool{}, returns(&output{N: 1})),
		"a nil pointer":     twinOf(mcp.Tool{}, returns[*output](nil)),
		"a nil map":         twinOf(mcp.Tool{}, returns[map[string]int](nil)),
		"an array":          twinOf(mcp.Tool{}, returns([]int{1, 2})),
		"a number":          twinOf(mcp.Tool{}, returns(7)),
		"a schema given":    twinOf(mcp.Tool{OutputSchema: map[string]any{"type": "object", "required": []string{"n"}}}, returns(output{N: 1})),
		"nil for a schema":  twinOf(mcp.Tool{OutputSchema: anyObject}, returns[*output](nil)),
		"any for a schema":  twinOf(mcp.Tool{OutputSchema: anyObject}, returns[any](map[string]any{"n": 1})),
		"content and an array": twinOf(mcp.Tool{}, func(context.Context, *mcp.CallToolRequest, none) (*mcp.CallToolResult, []int, error) {
			return text("two"), []int{1, 2}, nil
		}),
		"an error": twinOf(mcp.Tool{}, func(context.Context, *mcp.CallToolRequest, none) (*mcp.CallToolResult, output, error) {
			return nil, output{}, fmt.Errorf("no luck")
		}),
		"an output that does not fit": twinOf(mcp.Tool{OutputSchema: map[string]any{"type": "string"}}, returns(output{N: 1})),
		"no JSON":                     twinOf(mcp.Tool{OutputSchema: anyObject}, returns[any](func() {})),
	} {
		t.Run(name, func(t *testing.T) {
			plain := start(t, memory(), nil, func(_ *mcptasks.Tasks, server *mcp.Server) { w.sdk(server) }).as("alice")
			ours := start(t, memory(), nil, w.ours).as("alice")
			if want, got := plain.do("tools/list", map[string]any{}), ours.do("tools/list", map[string]any{}); got.String() != want.String() {
				t.Errorf("the list: %v, not %v", got, want)
			}
			want := plain.call("work", nil)
			ours.legacy = true
			if got := ours.call("work", nil); got.String() != want.String() {
				t.Errorf("an answer: %v, not %v", got, want)
			}
			ours.legacy = false
			id := ours.create("work", nil)
			var ended reply
			for ended = ours.get(id); ended.Result["status"] == "working"; ended = ours.get(id) {
				time.Sleep(time.Millisecond)
			}
			if want.Error != nil {
				if failure, _ := ended.Result["error"].(map[string]any); failure["message"] != want.Error.Message {
					t.Errorf("the task: %v, not %v", ended, want)
				}
				return
			}
			var result, answer map[string]any
			result, _ = ended.Result["result"].(map[string]any)
			answer = want.Result
			delete(answer, "_meta")
			if got, want := mustJSON(t, result), mustJSON(t, answer); string(got) != string(want) {
				t.Errorf("the task: %s, not %s", got, want)
			}
		})
	}
}

// raw is a tool by hand that returns a given answer.
func raw(answer string) mcp.ToolHandler {
	return func(_ context.Context, req *mcp.CallToolRequest) (*mcp.CallToolResult, error) {
		var args map[string]any
		if err := json.Unmarshal(req.Params.Arguments, &args); err != nil {
			return nil, err
		}
		return text(fmt.Sprint(answer, args["n"])), nil
	}
}

func rawTool(name string) *mcp.Tool { return &mcp.Tool{Name: name, InputSchema: anyObject} }

// A reload removes tools and adds them anew, as others are or as they were, by this
// package or by the SDK: each call is as the tool of now has it.
func TestToolsAreRemovedAndAddedAgain(t *testing.T) {
	r := start(t, memory(), nil, func(*mcptasks.Tasks, *mcp.Server) {})
	c, one := r.as("alice"), map[string]any{"n": 1}
	ended := func(want string) {
		t.Helper()
		if got := textOf(c.until(c.create("work", one), "completed")); got != want {
			t.Errorf("the task ended with %q, not %q", got, want)
		}
	}
	answered := func(want string) {
		t.Helper()
		if got := textOf(c.call("work", one)); got != want {
			t.Errorf("answered with %q, not %q", got, want)
		}
	}
	mcptasks.AddRawTool(r.tasks, r.mcp, rawTool("work"), raw("first "), nil)
	ended("first 1")
	mcptasks.AddRawTool(r.tasks, r.mcp, rawTool("work"), raw("second "), nil)
	ended("second 1")
	mcptasks.AddRawTool(r.tasks, r.mcp, rawTool("work"), raw("third "), &mcptasks.ToolOptions{Grace: time.Minute})
	answered("third 1")
	r.mcp.RemoveTools("work")
	if got := c.call("work", one); got.Error == nil || got.Error.Code != -32602 {
		t.Errorf("a removed tool: %v", got)
	}
	r.mcp.AddTool(rawTool("work"), raw("plain "))
	answered("plain 1")
	mcptasks.AddRawTool(r.tasks, r.mcp, rawTool("work"), raw("again "), nil)
	ended("again 1")
}

// A task that is under way when its tool is removed ends with the handler that it has.
func TestATaskOutlivesTheRemovalOfItsTool(t *testing.T) {
	release := make(chan struct{})
	r := start(t, memory(), nil, func(tasks *mcptasks.Tasks, server *mcp.Server) {
		mcptasks.AddRawTool(tasks, server, rawTool("work"), func(context.Context, *mcp.CallToolRequest) (*mcp.CallToolResult, error) {
			<-release
			return text("done"), nil
		}, nil)
	})
	id := r.as("alice").create("work", nil)
	r.mcp.RemoveTools("work")
	close(release)
	if got := textOf(r.as("alice").until(id, "completed")); got != "done" {
		t.Errorf("the task ended with %q", got)
	}
}

// A server's tools have the options that were given for that server, though another one
// of the process has a tool of the same name.
func TestTwoServersHaveTheirOwnTools(t *testing.T) {
	tasks, err := mcptasks.New(memory(), fast())
	if err != nil {
		t.Fatal(err)
	}
	var replicas []*replica
	for i, opts := range []*mcptasks.ToolOptions{nil, {Grace: time.Minute}} {
		server := mcp.NewServer(&mcp.Implementation{Name: fmt.Sprint("server ", i), Version: "1"}, nil)
		mcptasks.AddRawTool(tasks, server, rawTool("work"), raw(fmt.Sprint("server ", i, " ")), opts)
		if err := tasks.Install(server); err != nil {
			t.Fatal(err)
		}
		replicas = append(replicas, serve(t, tasks, server))
	}
	first, second := replicas[0].as("alice"), replicas[1].as("alice")
	if got := textOf(first.until(first.create("work", map[string]any{"n": 1}), "completed")); got != "server 0 1" {
		t.Errorf("the first: %q", got)
	}
	if got := textOf(second.call("work", map[string]any{"n": 1})); got != "server 1 1" {
		t.Errorf("the second: %q", got)
	}
}

// Two policies are two Tasks, which one store may have: each looks after its own server.
func TestTwoPoliciesShareAStore(t *testing.T) {
	store := memory()
	var callers []*caller
	for i := range 2 {
		opts := fast()
		opts.Tool = func(string) *mcptasks.ToolOptions {
			return &mcptasks.ToolOptions{Grace: time.Duration(i) * time.Minute}
		}
		callers = append(callers, start(t, store, opts, func(_ *mcptasks.Tasks, server *mcp.Server) {
			server.AddTool(rawTool("work"), raw("done "))
		}).as("alice"))
	}
	id := callers[0].create("work", map[string]any{"n": 1})
	if got := textOf(callers[1].until(id, "completed")); got != "done 1" {
		t.Errorf("the first: %q", got)
	}
	if got := textOf(callers[1].call("work", map[string]any{"n": 1})); got != "done 1" {
		t.Errorf("the second: %q", got)
	}
}

// Options.Tool is asked for tools that the program added by the SDK, before Install or
// after. Options of it that make no sense are ignored.
func TestAPolicyByNameIsForToolsOfOthers(t *testing.T) {
	opts, log := fast(), new(lockedBuffer)
	opts.Logger = slog.New(slog.NewTextHandler(log, nil))
	opts.Tool = func(name string) *mcptasks.ToolOptions {
		switch {
		case name == "wrong":
			return &mcptasks.ToolOptions{Grace: -1}
		case strings.HasPrefix(name, "required"):
			return &mcptasks.ToolOptions{Required: true}
		case strings.HasPrefix(name, "task"):
			return &mcptasks.ToolOptions{}
		}
		return nil
	}
	tasks, server, err := assemble(memory(), opts, func(tasks *mcptasks.Tasks, server *mcp.Server) {
		server.AddTool(rawTool("task_before"), raw("before "))
		mcptasks.AddRawTool(tasks, server, rawTool("task_of_ours"), raw("ours "), &mcptasks.ToolOptions{Grace: time.Minute})
	})
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"task_after", "wrong", "plain", "required"} {
		server.AddTool(rawTool(name), raw(name+" "))
	}
	c, one := serve(t, tasks, server).as("alice"), map[string]any{"n": 1}
	for tool, want := range map[string]string{"task_before": "before 1", "task_after": "task_after 1", "required": "required 1"} {
		if got := textOf(c.until(c.create(tool, one), "completed")); got != want {
			t.Errorf("%s: %q", tool, got)
		}
	}
	for tool, want := range map[string]string{"task_of_ours": "ours 1", "plain": "plain 1", "wrong": "wrong 1"} {
		if got := textOf(c.call(tool, one)); got != want {
			t.Errorf("%s: %q", tool, got)
		}
	}
	if got := c.call("task_that_is_not_there", one); got.Error == nil || got.Error.Code != -32602 {
		t.Errorf("a tool that is not there: %v", got)
	}
	c.legacy = true
	if got := textOf(c.call("task_after", one)); got != "task_after 1" {
		t.Errorf("without the extension: %q", got)
	}
	if got := c.call("required", one); got.Error == nil || got.Error.Code != -32021 {
		t.Errorf("required, without the extension: %v", got)
	}
	if got := log.String(); strings.Count(got, "Options.Tool is ignored") != 1 || strings.Contains(got, "before Install") {
		t.Errorf("the log: %s", got)
	}
}

// With Options.Tool set, the server warns of middleware from before Install: the policy
// comes too late for it.
func TestALateInstallWithAPolicyIsSaid(t *testing.T) {
	for _, late := range []bool{false, true} {
		for _, policy := range []bool{false, true} {
			log := new(lockedBuffer)
			opts := &mcptasks.Options{Logger: slog.New(slog.NewTextHandler(log, nil))}
			if policy {
				opts.Tool = func(string) *mcptasks.ToolOptions { return nil }
			}
			if _, _, err := assemble(memory(), opts, func(_ *mcptasks.Tasks, server *mcp.Server) {
				if late {
					server.AddReceivingMiddleware(new(diary).middleware("inner"))
				}
			}); err != nil {
				t.Fatal(err)
			}
			if said := strings.Contains(log.String(), "before Install"); said != (late && policy) {
				t.Errorf("late %t, policy %t: %s", late, policy, log)
			}
		}
	}
}

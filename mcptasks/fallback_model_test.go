package mcptasks_test

import (
	"context"
	"encoding/json"
	"maps"
	"net/http"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/modelcontextprotocol/go-sdk/mcp"

	"github.com/taskstore/taskstore/mcptasks"
)

// A modelClient is a client of 2025-11-25 with a model that follows the text of answers,
// and only that.
type modelClient struct {
	t       testing.TB
	session *mcp.ClientSession
	// user holds the content for the answer to each question. A key that is missing is
	// declined.
	user  map[string]map[string]any
	turns []string // the tools that it called
}

// patient are options with which calls become tasks soon.
func patient() *mcptasks.Options {
	opts := fast()
	opts.Fallback = mcptasks.FallbackOptions{All: true, Wait: 100 * time.Millisecond}
	return opts
}

// model connects to a replica over HTTP as a user; an empty one is anonymous.
func (r *replica) model(user string, opts *mcp.ClientOptions) *modelClient {
	r.t.Helper()
	transport := &mcp.StreamableClientTransport{Endpoint: r.url}
	if user != "" {
		transport.HTTPClient = &http.Client{Transport: bearer(user)}
	}
	return connectModel(r.t, transport, opts)
}

// localModel connects as the process's user does on stdio.
func (r *replica) localModel(opts *mcp.ClientOptions) *modelClient {
	r.t.Helper()
	clientSide, serverSide := mcp.NewInMemoryTransports()
	session, err := r.mcp.Connect(context.Background(), mcptasks.AsStdio(r.tasks.Transport(serverSide)), nil)
	if err != nil {
		r.t.Fatal(err)
	}
	r.t.Cleanup(func() { _ = session.Close() })
	return connectModel(r.t, clientSide, opts)
}

func connectModel(t testing.TB, transport mcp.Transport, opts *mcp.ClientOptions) *modelClient {
	t.Helper()
	client := mcp.NewClient(&mcp.Implementation{Name: "model", Version: "1"}, opts)
	session, err := client.Connect(context.Background(), transport, &mcp.ClientSessionOptions{ProtocolVersion: "2025-11-25"})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = session.Close() })
	return &modelClient{t: t, session: session}
}

// call calls a tool once.
func (m *modelClient) call(tool string, args any) *mcp.CallToolResult {
	m.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	defer cancel()
	m.turns = append(m.turns, tool)
	res, err := m.session.CallTool(ctx, &mcp.CallToolParams{Name: tool, Arguments: args})
	if err != nil {
		m.t.Fatalf("%s: %v", tool, err)
	}
	return res
}

// run calls a tool and follows the answers until one asks for no further call.
func (m *modelClient) run(tool string, args any) *mcp.CallToolResult {
	m.t.Helper()
	return m.follow(m.call(tool, args))
}

func (m *modelClient) follow(res *mcp.CallToolResult) *mcp.CallToolResult {
	m.t.Helper()
	for range 100 {
		tool, args, ok := m.next(res)
		if !ok {
			return res
		}
		res = m.call(tool, args)
	}
	m.t.Fatalf("the chain of calls did not end: %s", saidBy(res))
	return nil
}

var nextCall = regexp.MustCompile(`[Cc]all (\S+) with (\{.*)`)

// next returns the call that the last line of an answer asks for.
func (m *modelClient) next(res *mcp.CallToolResult) (tool string, args map[string]any, ok bool) {
	m.t.Helper()
	lines := strings.Split(saidBy(res), "\n")
	line, ok := strings.CutPrefix(lines[len(lines)-1], "next: ")
	if !ok {
		return "", nil, false
	}
	call := nextCall.FindStringSubmatch(line)
	if call == nil {
		return "", nil, false
	}
	if err := json.NewDecoder(strings.NewReader(call[2])).Decode(&args); err != nil {
		m.t.Fatalf("%s: %v", line, err)
	}
	answers, _ := args["answers"].(map[string]any)
	for _, key := range slices.Sorted(maps.Keys(answers)) {
		content, knows := m.user[key]
		if !knows {
			answers[key] = map[string]any{"action": "decline"}
			continue
		}
		answers[key].(map[string]any)["content"] = content
	}
	return call[1], args, true
}

// saidBy returns the text of a result.
func saidBy(res *mcp.CallToolResult) string {
	var all []string
	for _, c := range res.Content {
		if c, ok := c.(*mcp.TextContent); ok {
			all = append(all, c.Text)
		}
	}
	return strings.Join(all, "\n")
}

// fields returns the structured content of a result.
func fields(res *mcp.CallToolResult) map[string]any {
	f, _ := res.StructuredContent.(map[string]any)
	return f
}

// handle returns the id of the task that an answer names.
func handle(t testing.TB, res *mcp.CallToolResult) string {
	t.Helper()
	id, _ := fields(res)["id"].(string)
	if id == "" || !strings.Contains(saidBy(res), "\nid: "+id+"\n") {
		t.Fatalf("no task: %s", saidBy(res))
	}
	return id
}

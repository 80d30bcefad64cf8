package mcptasks_test

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/jsonschema-go/jsonschema"

	ported "github.com/taskstore/taskstore/mcptasks/testdata/ported/after"
	before "github.com/taskstore/taskstore/mcptasks/testdata/ported/before"
	"github.com/taskstore/taskstore/mcptasks/testdata/ported/middleware"
	"github.com/taskstore/taskstore/mcptasks/testdata/ported/toolset"
)

// A server that makes raw tools from descriptions, makes them anew when its configuration
// changes, and has seven middlewares, gets tasks by at most 20 changed lines.
func TestAServerIsPortedByTwentyLines(t *testing.T) {
	lines := func(which string) []string {
		source, err := os.ReadFile("testdata/ported/" + which + "/server.go")
		if err != nil {
			t.Fatal(err)
		}
		return strings.Split(string(source), "\n")
	}
	old, now := lines("before"), lines("after")
	// Lines of the longest common subsequence did not change.
	common := make([][]int, len(old)+1)
	for i := range common {
		common[i] = make([]int, len(now)+1)
	}
	for i, a := range slices.Backward(old) {
		for j, b := range slices.Backward(now) {
			if common[i][j] = max(common[i+1][j], common[i][j+1]); a == b {
				common[i][j] = 1 + common[i+1][j+1]
			}
		}
	}
	removed, written := len(old)-common[0][0], len(now)-common[0][0]
	t.Logf("%d lines are written, in the place of %d", written, removed)
	if written > 20 || written < 5 {
		t.Errorf("%d lines are written", written)
	}
}

func described(name string, readOnly bool, h func(ctx context.Context, args map[string]any) (string, error)) toolset.Tool {
	return toolset.Tool{Name: name, ReadOnly: readOnly, Schema: &jsonschema.Schema{Type: "object"}, Handler: h}
}

// served serves a ported server; the Authorization header names the user.
func served(t *testing.T, h http.Handler) *replica {
	web := httptest.NewServer(h)
	t.Cleanup(func() { web.CloseClientConnections(); web.Close() })
	return &replica{t: t, url: web.URL, http: http.DefaultClient}
}

// Clients without the extension see the ported server as it was before.
func TestAPortedServerIsAsBeforeForClientsWithoutTheExtension(t *testing.T) {
	tools := []toolset.Tool{
		described("echo", true, func(_ context.Context, args map[string]any) (string, error) { return fmt.Sprint(args["x"]), nil }),
		described("broken", false, func(context.Context, map[string]any) (string, error) { return "", errors.New("no luck") }),
	}
	old, err := before.New(tools)
	if err != nil {
		t.Fatal(err)
	}
	now, err := ported.New(tools, memory())
	if err != nil {
		t.Fatal(err)
	}
	was, is := served(t, old.Handler()).as("alice"), served(t, now.Handler()).as("alice")
	was.legacy, is.legacy = true, true
	for _, q := range []question{
		{"tools/list", map[string]any{}},
		{"tools/call", map[string]any{"name": "echo", "arguments": map[string]any{"x": 1}}},
		{"tools/call", map[string]any{"name": "echo", "arguments": []any{1}}},
		{"tools/call", map[string]any{"name": "broken", "arguments": map[string]any{}}},
		{"tools/call", map[string]any{"name": "none", "arguments": map[string]any{}}},
	} {
		if want, got := was.do(q.method, q.params).String(), is.do(q.method, q.params).String(); got != want {
			t.Errorf("%s %v: %s\nbefore:\n%s", q.method, q.params, got, want)
		}
	}
}

// Calls of the ported server become tasks within the seven middlewares, through a reload
// that removes their tool.
func TestAPortedServerHasTasks(t *testing.T) {
	noLeaks(t)
	release := make(chan struct{})
	long := func(answer string) func(ctx context.Context, _ map[string]any) (string, error) {
		return func(ctx context.Context, _ map[string]any) (string, error) {
			<-release
			_, limited := ctx.Deadline()
			return fmt.Sprint(answer, " for ", middleware.Value(ctx, "authorization"), ", deadline ", limited, ", ", ctx.Err()), nil
		}
	}
	server, err := ported.New([]toolset.Tool{described("drain", false, long("drained")), described("old", false, long("old"))}, memory())
	if err != nil {
		t.Fatal(err)
	}
	c := served(t, server.Handler()).as("alice")
	stranger := served(t, server.Handler()).as("")
	if got := stranger.call("drain", nil); got.Error == nil {
		t.Errorf("without a token: %v", got)
	}
	var ids []string
	for range 6 { // more than may be in flight
		ids = append(ids, c.create("drain", nil))
	}
	gone := c.create("old", nil)
	if err := server.Reload([]toolset.Tool{described("drain", false, long("drained anew")), {Name: "wrong"}}); err == nil {
		t.Error("a wrong configuration is taken")
	}
	if err := server.Reload([]toolset.Tool{described("drain", false, long("drained anew"))}); err != nil {
		t.Fatal(err)
	}
	if got := c.call("old", nil); got.Error == nil || got.Error.Code != -32602 {
		t.Errorf("a tool that is no more: %v", got)
	}
	anew := c.create("drain", nil)
	calls, running, longest := server.Watch.Seen("tools/call")
	if calls != 10 || running != 0 || longest > 20*time.Second {
		t.Errorf("%d calls, %d running, the longest for %v", calls, running, longest)
	}
	close(release)
	const as = " for Bearer alice, deadline false, <nil>"
	for id, want := range map[string]string{ids[0]: "drained" + as, ids[5]: "drained" + as, gone: "old" + as, anew: "drained anew" + as} {
		if got := textOf(c.until(id, "completed")); got != want {
			t.Errorf("got %q, not %q", got, want)
		}
	}
}

func TestAPortedServerEndsWhenItsContextDoes(t *testing.T) {
	noLeaks(t)
	server, err := ported.New(nil, memory())
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- server.Run(ctx, "127.0.0.1:0") }()
	cancel()
	if err := <-ended; err != nil {
		t.Error(err)
	}
}

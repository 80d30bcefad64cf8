package mcptasks_test

import (
	"context"
	"encoding/hex"
	"errors"
	"maps"
	"net/http"
	"net/http/httptest"
	"net/url"
	"regexp"
	"strings"
	"sync"
	"testing"

	"github.com/modelcontextprotocol/go-sdk/auth"
	"github.com/modelcontextprotocol/go-sdk/mcp"

	"github.com/taskstore/taskstore"
	"github.com/taskstore/taskstore/mcptasks"
	"github.com/taskstore/taskstore/tasks"
)

// One test for each failure that was published of a server with tasks, over HTTP.

// counted counts the requests to a store by method.
type counted struct {
	taskstore.StorageBackend
	mu    sync.Mutex
	calls map[string]int
}

func (c *counted) count(call string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.calls[call]++
}

// taken returns the counts and starts anew.
func (c *counted) taken() map[string]int {
	c.mu.Lock()
	defer c.mu.Unlock()
	calls := c.calls
	c.calls = make(map[string]int)
	return calls
}

func (c *counted) Get(ctx context.Context, key taskstore.Key) (taskstore.Record, error) {
	c.count("Get")
	return c.StorageBackend.Get(ctx, key)
}

func (c *counted) PutIfVersion(ctx context.Context, key taskstore.Key, v taskstore.Value, expected taskstore.Version) (taskstore.Version, error) {
	c.count("PutIfVersion")
	return c.StorageBackend.PutIfVersion(ctx, key, v, expected)
}

func (c *counted) PutBatch(ctx context.Context, writes []taskstore.Write) error {
	c.count("PutBatch")
	return taskstore.PutBatch(ctx, c.StorageBackend, writes)
}

func (c *counted) Unwrap() taskstore.StorageBackend { return c.StorageBackend }

// notFoundMessage is the answer for a task that is unknown, expired or another's.
const notFoundMessage = "Task not found: it is unknown or has expired"

const unknownID = "8c9a1c52-32f5-4a9e-9d61-2c0f6f2b7c11"

// idForm is a random UUID, and for anonymous tasks two digits more.
var idForm = regexp.MustCompile(`^[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}(-[0-9a-f]{2})?$`)

// A question is a request that names a task.
type question struct {
	method string
	params map[string]any
}

func questions(id string) []question {
	return []question{
		{"tasks/get", map[string]any{"taskId": id}},
		{"tasks/cancel", map[string]any{"taskId": id}},
		{"tasks/update", map[string]any{"taskId": id, "inputResponses": map[string]any{"confirm": accept(nil)}}},
		{"tasks/update", map[string]any{"taskId": id, "inputResponses": map[string]any{"confirm": 42}}}, // looked at in another way
		{"subscriptions/listen", map[string]any{"notifications": map[string]any{"taskIds": []string{id}}}},
		// No protocol that has this server's tasks has these.
		{"tasks/list", map[string]any{"cursor": id}},
		{"tasks/result", map[string]any{"taskId": id}},
	}
}

// CVE-2026-52870 (the MCP Python SDK listed, read and cancelled tasks for any caller) and
// a2a-go#351 (Get, Cancel and the push configurations did not check the owner): to all but its
// owner a task is unknown, in every method, to the last byte and the last read of the store.
func TestForeignTaskIsUnknown(t *testing.T) {
	onEach(t, func(t *testing.T, open opener) {
		store := &counted{StorageBackend: open(), calls: make(map[string]int)}
		r := start(t, store, nil, asking)
		for _, owner := range []string{"alice", ""} {
			id := r.as(owner).create("ask", nil)
			before := r.as(owner).until(id, "input_required").String()
			unknown := unknownID
			if owner == "" {
				unknown += id[36:]
			}
			for _, stranger := range []string{"mallory", "", "Alice", "alice2", "n:alice", "a:" + id[len(id)-2:], "n:a:" + id[len(id)-2:], id[len(id)-2:], "alice"} {
				if stranger == owner {
					continue
				}
				c := r.as(stranger)
				for _, variant := range []func(string) string{
					func(id string) string { return id },
					func(id string) string { return id[:36] },
					func(id string) string { return id[:36] + "-00" },
					strings.ToUpper,
				} {
					theirs, nobodys := questions(variant(id)), questions(variant(unknown))
					for i, q := range theirs {
						store.taken()
						want := c.answer(q.method, nobodys[i].params)
						work := store.taken()
						if got := c.answer(q.method, q.params); got != want {
							t.Errorf("%s by %q of a task of %q:\n%s\nof an unknown task:\n%s", q.method, stranger, owner, got, want)
						}
						if now := store.taken(); !maps.Equal(now, work) {
							t.Errorf("%s by %q of a task of %q asked the store %v, of an unknown task %v", q.method, stranger, owner, now, work)
						}
					}
				}
				if got := c.get(id); got.Error == nil || got.Error.Code != -32602 || got.Error.Message != notFoundMessage || got.Error.Data != nil {
					t.Errorf("tasks/get by %q of a task of %q: %v", stranger, owner, got)
				}
			}
			if after := r.as(owner).get(id).String(); after != before {
				t.Errorf("before %s\nafter %s", before, after)
			}
		}
	})
}

// tower-mcp#1390 (subscriptions/listen did not check the owner, and pushed whole tasks): the
// server authorises each task of a subscription, and is silent about another's, then and later.
func TestASubscriptionAuthorizesEachTask(t *testing.T) {
	onEach(t, func(t *testing.T, open opener) {
		r := start(t, open(), nil, asking)
		for owner, others := range map[string][]string{"alice": {"bob", ""}, "": {"alice", "bob"}} {
			c, own := r.as(owner), r.as(owner).create("ask", nil)
			c.until(own, "input_required")
			named := []string{unknownID}
			for _, other := range others {
				named = append(named, r.as(other).create("ask", nil))
			}
			events := c.listen(t.Context(), map[string]any{"taskIds": append(named, own, named[1])})
			ack := next(t, events)
			if agreed, _ := ack.Params["notifications"].(map[string]any)["taskIds"].([]any); len(agreed) != 1 || agreed[0] != own {
				t.Errorf("%q is told: %s", owner, ack.Raw)
			}
			for i, other := range others { // before the stream ends
				theirs := named[i+1]
				r.as(other).until(theirs, "input_required")
				r.as(other).update(theirs, map[string]any{"confirm": accept(nil)})
				r.as(other).until(theirs, "completed")
			}
			c.cancel(own)
			for e := range events {
				if e.Method != "" && e.Params["taskId"] != own {
					t.Errorf("%q sees: %s", owner, e.Raw)
				}
			}
		}
	})
}

// The OpenClaw advisories (ids that could be guessed): an id is 122 random bits, and no more.
func TestIDsCannotBeGuessed(t *testing.T) {
	t.Parallel()
	const n = 256
	opts := fast()
	opts.Tasks.MaxActive = -1
	r := start(t, memory(), opts, asking)
	for _, user := range []string{"alice", ""} {
		var ones [128]int
		seen := make(map[string]bool)
		for range n {
			id := r.as(user).create("ask", nil)
			if !idForm.MatchString(id) || user != "" && len(id) != 36 {
				t.Fatalf("the id of a task is %q", id)
			}
			u, err := hex.DecodeString(strings.ReplaceAll(id[:36], "-", ""))
			if err != nil {
				t.Fatal(err)
			}
			if seen[id[:36]] {
				t.Fatal("one id twice")
			}
			seen[id[:36]] = true
			for bit := range ones {
				ones[bit] += int(u[bit/8]>>(bit%8)) & 1
			}
		}
		random := 0
		for _, n1 := range ones {
			if n1 != 0 && n1 != n {
				random++
				// 128 are to be expected, give or take 8. A fair bit strays by 56 once in 4e11.
				if n1 < 128-56 || n1 > 128+56 {
					t.Errorf("a bit is set in %d of %d ids", n1, n)
				}
			}
		}
		if random != 122 {
			t.Errorf("%d bits of an id change", random)
		}
	}
}

// The same source (a missing owner that meant every owner): a caller without a known owner
// reaches no task, creates no task, and cannot learn from the refusal whether one exists.
func TestUnknownCallersOpenNoTask(t *testing.T) {
	opts := fast()
	opts.Owner = func(_ context.Context, req mcp.Request) (string, error) {
		switch name := req.GetExtra().Header.Get("X-Owner"); name {
		case "unknown":
			return "", errors.New("no such user")
		default:
			return name, nil // also the empty one
		}
	}
	custom, ordinary := start(t, memory(), opts, asking), start(t, memory(), nil, asking)
	strict := start(t, memory(), nil, asking)
	only := httptest.NewServer(auth.RequireBearerToken(func(context.Context, string, *http.Request) (*auth.TokenInfo, error) {
		return nil, auth.ErrInvalidToken
	}, nil)(overHTTP(strict.tasks, strict.mcp)))
	t.Cleanup(only.Close)
	guarded := &replica{t: t, url: only.URL, http: only.Client()}
	owned := custom.as("")
	owned.header = http.Header{"X-Owner": {"alice"}}
	for name, c := range map[string]struct {
		owner, nobody *caller
		status, code  string
	}{
		"a token that names no user":  {ordinary.as("alice"), ordinary.as("nobody"), "", "-32600"},
		"an empty owner":              {owned, &caller{replica: custom}, "", "-32600"},
		"an owner that is not known":  {owned, &caller{replica: custom, header: http.Header{"X-Owner": {"unknown"}}}, "", "-32600"},
		"a required token is missing": {strict.as("alice"), &caller{replica: guarded}, "401", ""},
		"a token that is not a token": {strict.as("alice"), &caller{replica: guarded, user: "x"}, "401", ""},
	} {
		id := c.owner.create("ask", nil)
		before := c.owner.until(id, "input_required").String()
		call := question{"tools/call", map[string]any{"name": "ask", "arguments": map[string]any{}}}
		unknown := append(questions(unknownID), call)
		for i, q := range append(questions(id), call) {
			got := c.nobody.answer(q.method, q.params)
			if want := c.nobody.answer(q.method, unknown[i].params); got != want {
				t.Errorf("%s: %s of a task:\n%s\nof an unknown one:\n%s", name, q.method, got, want)
			}
			if c.code != "" && (q.method == "tasks/list" || q.method == "tasks/result") {
				continue // the method does not exist, for any caller
			}
			if !strings.HasPrefix(got, c.status) || !strings.Contains(got, c.code) || strings.Contains(got, `"result"`) {
				t.Errorf("%s: %s: %s", name, q.method, got)
			}
		}
		if after := c.owner.get(id).String(); after != before {
			t.Errorf("%s: before %s\nafter %s", name, before, after)
		}
	}
}

// A late write took a cancel back: cancelled is final, after any request to any replica.
func TestCancelIsNotTakenBack(t *testing.T) {
	onEach(t, func(t *testing.T, open opener) {
		one, two := start(t, open(), nil, asking).as("alice"), start(t, open(), nil, asking).as("alice")
		id := one.create("ask", nil)
		one.until(id, "input_required")
		two.cancel(id)
		before := two.until(id, "cancelled").String()
		if got := one.update(id, map[string]any{"confirm": accept(nil)}); got.Error != nil {
			t.Errorf("a late answer: %v", got)
		}
		two.cancel(id)
		if err := one.tasks.Shutdown(t.Context()); err != nil { // its background work is over
			t.Fatal(err)
		}
		if after := two.get(id).String(); after != before {
			t.Errorf("before %s\nafter %s", before, after)
		}
	})
}

// The same, and a stale runner that overwrites: a result is on its way to the store
// while others settle the task, or run it again. It comes too late.
func TestLateResult(t *testing.T) {
	for status, settle := range map[string]func(t *testing.T, c *caller, id string){
		"failed":    func(*testing.T, *caller, string) {},
		"cancelled": func(_ *testing.T, c *caller, id string) { c.cancel(id) },
		"working":   func(t *testing.T, c *caller, _ string) { go func() { _ = c.tasks.Run(t.Context(), c.mcp) }() },
	} {
		t.Run(status, func(t *testing.T) {
			onEach(t, func(t *testing.T, open opener) {
				finish, again := make(chan struct{}), make(chan struct{}, 1)
				work := func(h handler) func(tasks *mcptasks.Tasks, server *mcp.Server) {
					return func(tasks *mcptasks.Tasks, server *mcp.Server) {
						add(tasks, server, "work", h, &mcptasks.ToolOptions{Retry: status == "working"})
					}
				}
				stopped := &gate{StorageBackend: open()}
				one := start(t, stopped, short(), work(func(context.Context, *mcp.CallToolRequest, none) (*mcp.CallToolResult, any, error) {
					<-finish
					return text("too late"), nil, nil
				})).as("alice")
				two := start(t, open(), short(), work(func(ctx context.Context, _ *mcp.CallToolRequest, _ none) (*mcp.CallToolResult, any, error) {
					again <- struct{}{}
					<-ctx.Done()
					return nil, nil, ctx.Err()
				})).as("alice")
				id := one.create("work", nil)
				stopped.mu.Lock()
				close(finish)
				settle(t, two, id)
				if status == "working" {
					<-again
				}
				before := two.until(id, status)
				stopped.mu.Unlock()
				if err := one.tasks.Shutdown(t.Context()); err != nil { // its writes are over
					t.Fatal(err)
				}
				if after := two.get(id); after.String() != before.String() {
					t.Errorf("before %s\nafter %s", before, after)
				}
			})
		})
	}
}

var longest = strings.Repeat("x", tasks.MaxOwnerLength-len("n:"))

// hostileOwners are names that look like a part of something else.
var hostileOwners = []string{
	"a", "a:b", "a:", ":", "{x}", "x", "a}:{b", "}", "{", "{}", "u:", "n:", "n:a", "u:n:a", "r:0", "a:00", "%", "%25", "a%3Ab",
	"a/t", "t/", "*", "?", "[a-z]", "\x00", "a\x00", "\x00a", "a\r\nb", " ", "a ", "A", "\xff", "ä", "a\u0308", "..", "../a", longest, longest[1:],
}

// Key injection: an owner or an id like a key, a separator or a hash tag reaches its own only.
func TestNamesStayNames(t *testing.T) {
	opts := fast()
	opts.Owner = func(_ context.Context, req mcp.Request) (string, error) {
		return url.QueryUnescape(req.GetExtra().Header.Get("X-Owner"))
	}
	onEach(t, func(t *testing.T, open opener) {
		store := &counted{StorageBackend: open(), calls: make(map[string]int)}
		own := *opts
		r := start(t, store, &own, asking)
		as := func(owner string) *caller {
			c := r.as("")
			c.header = http.Header{"X-Owner": {url.QueryEscape(owner)}}
			return c
		}
		ids := make(map[string]string)
		for _, owner := range hostileOwners {
			ids[owner] = as(owner).create("ask", nil)
			as(owner).until(ids[owner], "input_required")
		}
		for _, owner := range hostileOwners {
			for other, id := range ids {
				if got := as(owner).get(id); (got.Error == nil) != (owner == other) {
					t.Errorf("%q asks for a task of %q: %v", owner, other, got)
				}
			}
		}
		for _, owner := range []string{"a", "{x}"} {
			id := ids[owner]
			for _, bad := range []string{
				"t/" + id, id + ":", ":" + id, "a:" + id, "{a}:" + id, id + "}", "{" + id + "}", "../" + id, id + "/..", id + "/", "./" + id,
				id + "\x00", "\x00" + id, " " + id, id + " ", id + "\n", "%" + id, id + "%00", strings.ToUpper(id), strings.ReplaceAll(id, "-", ""),
				"urn:uuid:" + id, "{" + id, id[:35], id + id, "*", "?", "[a-f]*", strings.Repeat("x", 1<<16), "00000000-0000-0000-0000-000000000000",
			} {
				store.taken()
				for _, q := range questions(bad)[:4] {
					got := as(owner).do(q.method, q.params)
					if got.Error == nil || got.Error.Code != -32602 || got.Error.Message != notFoundMessage {
						t.Errorf("%s of %.50q: %v", q.method, bad, got)
					}
				}
				if calls := store.taken(); len(calls) != 0 {
					t.Errorf("%.50q, which is no id, came to the store: %v", bad, calls)
				}
			}
		}
		for owner, id := range ids {
			as(owner).until(id, "input_required")
		}
		if got := as(longest+"xx").call("ask", nil); got.Error == nil || got.Error.Code != -32600 || strings.Contains(got.Error.Message, "xx") {
			t.Errorf("an owner that is too long: %v", got)
		}
	})
}

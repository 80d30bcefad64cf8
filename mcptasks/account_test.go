package mcptasks_test

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/modelcontextprotocol/go-sdk/mcp"

	"github.com/taskstore/taskstore"
	"github.com/taskstore/taskstore/mcptasks"
	domain "github.com/taskstore/taskstore/tasks"
)

// listed walks through an account in pages and returns the ids.
func listed(t *testing.T, a *mcptasks.Account, limit int) (ids []string) {
	t.Helper()
	for cursor := ""; ; {
		page, next, err := a.List(t.Context(), cursor, limit)
		if err != nil || len(page) > limit {
			t.Fatalf("a page of %d: %v", len(page), err)
		}
		for _, task := range page {
			ids = append(ids, task.ID)
		}
		if cursor = next; next == "" {
			return ids
		}
	}
}

// total counts an account.
func total(t *testing.T, a *mcptasks.Account) (n int) {
	t.Helper()
	counts, err := a.Count(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range counts {
		n += c
	}
	return n
}

func sorted(ids []string) []string { return slices.Sorted(slices.Values(ids)) }

// accountTools are three tools: wait runs until its ctx ends, ask asks, done ends at
// once.
func accountTools(causes chan<- error) func(*mcptasks.Tasks, *mcp.Server) {
	return func(tasks *mcptasks.Tasks, server *mcp.Server) {
		add(tasks, server, "wait", func(ctx context.Context, _ *mcp.CallToolRequest, _ none) (*mcp.CallToolResult, any, error) {
			<-ctx.Done()
			causes <- context.Cause(ctx)
			return text("too late"), nil, nil
		}, nil)
		add(tasks, server, "ask", confirm, nil)
		add(tasks, server, "done", func(context.Context, *mcp.CallToolRequest, none) (*mcp.CallToolResult, any, error) {
			return text("done"), nil, nil
		}, nil)
	}
}

// An account lists, counts, looks up, cancels and purges the tasks of its owner, under
// the name and the ids that clients know and through any replica. The tasks of other
// owners stay out of its reach.
func TestAccountHoldsTheTasksOfItsOwner(t *testing.T) {
	onEach(t, func(t *testing.T, open opener) {
		causes := make(chan error, 10)
		one, two := start(t, open(), nil, accountTools(causes)), start(t, open(), nil, accountTools(causes))
		accounts := map[string]*mcptasks.Account{"alice": two.tasks.Account("alice"), "bob": two.tasks.Account("bob"), "": two.tasks.AnonymousAccount()}
		ids := make(map[string][]string)
		for user := range accounts {
			c := one.as(user)
			wait, ask, done := c.create("wait", nil), c.create("ask", nil), c.create("done", nil)
			c.until(ask, "input_required")
			c.until(done, "completed")
			ids[user] = []string{wait, ask, done}
		}
		for user, a := range accounts {
			for _, limit := range []int{1, 2, 3, 100} {
				got := listed(t, a, limit)
				if want := ids[user]; user != "" && !slices.Equal(got, want) || !slices.Equal(sorted(got), sorted(want)) {
					t.Errorf("%q in pages of %d: %v, not %v", user, limit, got, want)
				}
			}
			counts, err := a.Count(t.Context())
			if err != nil || len(counts) != 3 || counts[domain.Working] != 1 || counts[domain.InputRequired] != 1 || counts[domain.Completed] != 1 {
				t.Errorf("%q has %v, %v", user, counts, err)
			}
			for other, theirs := range ids {
				for i, id := range theirs {
					task, err := a.Get(t.Context(), id)
					if own := other == user; own != (err == nil) || !own && !errors.Is(err, domain.ErrNotFound) {
						t.Errorf("%q looks up a task of %q: %v", user, other, err)
					}
					if other == user && (task.ID != id || task.Owner != user || i == 2 && !strings.Contains(string(task.Result), "done")) {
						t.Errorf("%q: %q of %q", user, task.ID, task.Owner)
					}
					if _, err := a.Cancel(t.Context(), id); other != user && !errors.Is(err, domain.ErrNotFound) {
						t.Errorf("%q cancels a task of %q: %v", user, other, err)
					}
				}
			}
			if cause := <-causes; !errors.Is(cause, mcptasks.ErrCancelled) {
				t.Errorf("the handler of %q: %v", user, cause)
			}
			one.as(user).until(ids[user][1], "cancelled")
		}
		for user, a := range accounts {
			wait := one.as(user).create("wait", nil)
			if n, err := a.Purge(t.Context()); n != 4 || err != nil {
				t.Errorf("%q: %d are removed, %v", user, n, err)
			}
			if cause := <-causes; !errors.Is(cause, mcptasks.ErrLost) {
				t.Errorf("the handler of %q: %v", user, cause)
			}
			for _, id := range append(ids[user], wait) {
				if got := one.as(user).get(id); got.Error == nil || got.Error.Code != -32602 {
					t.Errorf("%q, of a task that was purged: %v", user, got)
				}
			}
			if n, err := a.Purge(t.Context()); n != 0 || err != nil || total(t, a) != 0 || len(listed(t, a, 3)) != 0 {
				t.Errorf("%q: %d more are removed, %v", user, n, err)
			}
			delete(ids, user)
			for other := range ids {
				if n := total(t, accounts[other]); n != 3 {
					t.Errorf("%q was purged, %q has %d tasks", user, other, n)
				}
			}
		}
	})
}

// Clients create tasks while a walk and a purge of their account run. The walk lists each
// earlier task once, and the purge removes it.
func TestAccountWhileTasksAreCreated(t *testing.T) {
	onEach(t, func(t *testing.T, open opener) {
		opts := fast()
		opts.Tasks.MaxActive = -1
		r := start(t, open(), opts, accountTools(nil))
		for user, a := range map[string]*mcptasks.Account{"alice": r.tasks.Account("alice"), "": r.tasks.AnonymousAccount()} {
			var before []string
			for range 30 {
				before = append(before, r.as(user).create("ask", nil))
			}
			for _, id := range before {
				r.as(user).until(id, "input_required") // no handler runs any more
			}
			stop := make(chan struct{})
			var creating sync.WaitGroup
			creating.Go(func() {
				for {
					select {
					case <-stop:
						return
					default:
						r.as(user).create("ask", nil)
					}
				}
			})
			seen := make(map[string]int)
			cursor := ""
			for range 100 { // at most: of a named owner the walk may not end while it creates
				page, next, err := a.List(t.Context(), cursor, 4)
				if err != nil {
					t.Fatal(err)
				}
				for _, task := range page {
					seen[task.ID]++
				}
				if cursor = next; next == "" {
					break
				}
			}
			for id, n := range seen {
				if n != 1 {
					t.Errorf("%q: %s is listed %d times", user, id, n)
				}
			}
			n, err := a.Purge(t.Context())
			if err != nil || n < len(before) {
				t.Errorf("%q: %d are removed, %v", user, n, err)
			}
			close(stop)
			creating.Wait()
			for _, id := range before {
				if seen[id] != 1 {
					t.Errorf("%q: %s is listed %d times", user, id, seen[id])
				}
				if _, err := a.Get(t.Context(), id); !errors.Is(err, domain.ErrNotFound) {
					t.Errorf("%q: a task from before the purge: %v", user, err)
				}
			}
			left := total(t, a)
			if n, err := a.Purge(t.Context()); n != left || err != nil {
				t.Errorf("%q: %d of %d are removed, %v", user, n, left, err)
			}
		}
	})
}

// A name that looks like a part of a key, or like the stored owner of somebody else,
// is an account of its own.
func TestHostileNamesAreAccountsOfTheirOwn(t *testing.T) {
	onEach(t, func(t *testing.T, open opener) {
		opts := fast()
		opts.Owner = func(_ context.Context, req mcp.Request) (string, error) {
			if _, named := req.GetExtra().Header["X-Owner"]; !named {
				return "", mcptasks.ErrAnonymous
			}
			return url.QueryUnescape(req.GetExtra().Header.Get("X-Owner"))
		}
		r := start(t, open(), opts, accountTools(nil))
		ids := make(map[string]string)
		for _, owner := range hostileOwners {
			c := r.as("")
			c.header = http.Header{"X-Owner": {url.QueryEscape(owner)}}
			ids[owner] = c.create("ask", nil)
			c.until(ids[owner], "input_required")
		}
		anonymous := r.as("").create("ask", nil)
		r.as("").until(anonymous, "input_required")
		for i, owner := range hostileOwners {
			a := r.tasks.Account(owner)
			if got := listed(t, a, 10); !slices.Equal(got, []string{ids[owner]}) {
				t.Errorf("%.20q has %v", owner, got)
			}
			if task, err := a.Get(t.Context(), ids[owner]); err != nil || task.Owner != owner {
				t.Errorf("%.20q: %v", owner, err)
			}
			if i%2 == 0 {
				if n, err := a.Purge(t.Context()); n != 1 || err != nil {
					t.Errorf("%.20q: %d are removed, %v", owner, n, err)
				}
			}
		}
		for i, owner := range hostileOwners {
			if n := total(t, r.tasks.Account(owner)); n != i%2 {
				t.Errorf("%.20q has %d tasks after the others were purged", owner, n)
			}
		}
		if got := listed(t, r.tasks.AnonymousAccount(), 10); !slices.Equal(got, []string{anonymous}) {
			t.Errorf("anonymous callers have %v", got)
		}
	})
}

// A page of anonymous tasks begins within one of their owners and goes on to the next.
func TestAnonymousPagesGoFromOwnerToOwner(t *testing.T) {
	r := start(t, memory(), nil, accountTools(nil))
	var want []string
	for owner, n := range map[string]int{"a:10": 3, "a:20": 3, "a:ff": 2} {
		for range n {
			task, _, err := r.tasks.Store().Create(t.Context(), owner, domain.CreateParams{})
			if err != nil {
				t.Fatal(err)
			}
			want = append(want, task.ID+"-"+owner[2:])
		}
	}
	for limit := 1; limit < 10; limit++ {
		if got := listed(t, r.tasks.AnonymousAccount(), limit); !slices.Equal(sorted(got), sorted(want)) {
			t.Errorf("in pages of %d: %v, not %v", limit, got, want)
		}
	}
}

func TestAccountArguments(t *testing.T) {
	store := memory()
	r := start(t, store, nil, accountTools(nil))
	ctx := t.Context()
	for name, a := range map[string]*mcptasks.Account{"it is empty": r.tasks.Account(""), "it is longer than 1020 bytes": r.tasks.Account(longest + "x")} {
		_, _, list := a.List(ctx, "", 1)
		_, count := a.Count(ctx)
		_, get := a.Get(ctx, unknownID)
		_, cancel := a.Cancel(ctx, unknownID)
		_, purge := a.Purge(ctx)
		for i, err := range []error{list, count, get, cancel, purge} {
			if !errors.Is(err, domain.ErrInvalidOwner) || !strings.Contains(err.Error(), name) || strings.Contains(err.Error(), "xx") {
				t.Errorf("%s, method %d: %v", name, i, err)
			}
		}
	}
	for range 3 {
		r.as("alice").until(r.as("alice").create("ask", nil), "input_required")
		r.as("").until(r.as("").create("ask", nil), "input_required")
	}
	alice, anonymous := r.tasks.Account("alice"), r.tasks.AnonymousAccount()
	_, cursor, err := alice.List(ctx, "", 1)
	if err != nil || cursor == "" {
		t.Fatal(err)
	}
	for name, c := range map[string]struct {
		a      *mcptasks.Account
		cursor string
		want   error
	}{
		"no cursor of a named one":       {alice, "zz", taskstore.ErrInvalidCursor},
		"another's":                      {r.tasks.Account("bob"), cursor, taskstore.ErrInvalidCursor},
		"no cursor of an anonymous one":  {anonymous, "zz", taskstore.ErrInvalidCursor},
		"a short one":                    {anonymous, "0", taskstore.ErrInvalidCursor},
		"a bucket in capitals":           {anonymous, "FF", taskstore.ErrInvalidCursor},
		"a bucket and no cursor":         {anonymous, "00zz", taskstore.ErrInvalidCursor},
		"a named one's, with the bucket": {anonymous, "00" + cursor, taskstore.ErrInvalidCursor},
		"none":                           {anonymous, "", nil},
	} {
		if page, next, err := c.a.List(ctx, c.cursor, 1); !errors.Is(err, c.want) || err != nil && (page != nil || next != "") {
			t.Errorf("%s: %v", name, err)
		}
	}
	for _, a := range []*mcptasks.Account{alice, anonymous} {
		if _, _, err := a.List(ctx, "", 0); !errors.Is(err, domain.ErrInvalid) {
			t.Errorf("a limit of 0: %v", err)
		}
		for _, id := range []string{"", "x", unknownID, unknownID + "-00", "-00"} {
			if _, err := a.Get(ctx, id); !errors.Is(err, domain.ErrNotFound) {
				t.Errorf("%q: %v", id, err)
			}
		}
		for _, verb := range []string{"%v", "%+v", "%#v", "%s"} {
			if got := fmt.Sprintf(verb, a); got != "Account" {
				t.Errorf("an Account prints %q", got)
			}
		}
	}
}

// A walk and a count leave damaged tasks out and report them; a purge removes them like
// the rest.
func TestAccountWithDamagedTasks(t *testing.T) {
	store := memory()
	r := start(t, store, nil, accountTools(nil))
	ctx := t.Context()
	for user, a := range map[string]*mcptasks.Account{"alice": r.tasks.Account("alice"), "": r.tasks.AnonymousAccount()} {
		var ids []string
		for range 4 {
			id := r.as(user).create("ask", nil)
			r.as(user).until(id, "input_required")
			ids = append(ids, id)
		}
		owner := "u:n:alice"
		if user == "" {
			owner = "u:a:" + ids[1][37:]
		}
		if _, err := store.Put(ctx, taskstore.Key{Owner: owner, Task: ids[1][:36]}, taskstore.Value{Data: []byte("damaged")}); err != nil {
			t.Fatal(err)
		}
		var got []string
		var told error
		for cursor := ""; ; {
			page, next, err := a.List(ctx, cursor, 1)
			if page == nil {
				t.Fatal(err)
			}
			told = errors.Join(told, err)
			for _, task := range page {
				got = append(got, task.ID)
			}
			if cursor = next; next == "" {
				break
			}
		}
		if want := []string{ids[0], ids[2], ids[3]}; !slices.Equal(sorted(got), sorted(want)) || !errors.Is(told, taskstore.ErrCorrupt) {
			t.Errorf("%q: %v, %v", user, got, told)
		}
		if counts, err := a.Count(ctx); counts[domain.InputRequired] != 3 || !errors.Is(err, taskstore.ErrCorrupt) {
			t.Errorf("%q: %v, %v", user, counts, err)
		}
		if n, err := a.Purge(ctx); n != 4 || err != nil {
			t.Errorf("%q: %d are removed, %v", user, n, err)
		}
	}
}

package mcptasks

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/taskstore/taskstore"
	"github.com/taskstore/taskstore/tasks"
)

// An Account is all that one owner has in the store, for programs that look after a
// server: a user's tasks, for support; the tasks that a tenant leaves behind, to be
// removed. It does not check that the program may.
//
// Tasks come as the store has them, but for two fields: ID is the one that clients know,
// and Owner the name that [Options.Owner] returned, empty for an anonymous task and for
// one of the LocalAccount. Their fields show the program the client's requests and
// results; printing a [tasks.Task] does not.
//
// Each method checks the owner: an empty one, or one longer than 1020 bytes, gives an
// error that matches [tasks.ErrInvalidOwner]. Methods may be called by any number of
// goroutines at once.
type Account struct {
	store *tasks.Store
	who   tenant
}

// Account returns the account of the owner that [Options.Owner] names so.
func (t *Tasks) Account(owner string) *Account {
	return &Account{store: t.store, who: tenant{named: namedPrefix + owner}}
}

// AnonymousAccount returns the account of all anonymous callers together. Theirs are 256
// owners in the store, so List, Count and Purge make as many calls of it at least.
func (t *Tasks) AnonymousAccount() *Account { return &Account{store: t.store} }

// LocalAccount returns the account of clients without the extension that use a [Fallback]
// on stdio: it belongs to the user of this process, and no name that Options.Owner
// returns stands for that user. If servers on several machines share a store, it is that
// of every user of this id and name.
func (t *Tasks) LocalAccount() *Account {
	return &Account{store: t.store, who: localTenant()}
}

// String leaves the owner out, and so does a log of an Account.
func (a *Account) String() string { return "Account" }

// GoString is String; it keeps the owner out of %#v too.
func (a *Account) GoString() string { return a.String() }

// owners returns the stored ones of the account.
func (a *Account) owners() ([]string, error) {
	switch {
	case a.who.named == namedPrefix:
		return nil, &tasks.InvalidError{Argument: "owner", Reason: "it is empty; for anonymous callers use AnonymousAccount"}
	case len(a.who.name()) > maxNamed:
		return nil, &tasks.InvalidError{Argument: "owner", Reason: fmt.Sprintf("it is longer than %d bytes", maxNamed)}
	case a.who.named != "":
		return []string{a.who.named}, nil
	}
	var all []string
	for bucket := range 1 << (4 * bucketLen) {
		all = append(all, anonymousPrefix+fmt.Sprintf("%0*x", bucketLen, bucket))
	}
	return all, nil
}

// List returns the tasks, a page of at most limit at a time, those of a named owner
// oldest first. An empty cursor starts; next continues; only an empty next ends the walk,
// because a page can be short. A task that lives through the whole walk is returned
// exactly once. Limits, cursors, errors and the handling of unreadable tasks are those of
// [tasks.Store.List].
func (a *Account) List(ctx context.Context, cursor string, limit int) (page []tasks.Task, next string, err error) {
	owners, err := a.owners()
	if err != nil {
		return nil, "", err
	}
	bucket := func() string { return strings.TrimPrefix(owners[0], anonymousPrefix) }
	if a.who.named != "" {
		bucket = func() string { return "" }
	} else if cursor != "" { // the bucket stands before the store's own cursor
		for len(owners) > 0 && !strings.HasPrefix(cursor, bucket()) {
			owners = owners[1:]
		}
		if len(owners) == 0 {
			return nil, "", taskstore.ErrInvalidCursor
		}
		cursor = cursor[bucketLen:]
	}
	page = []tasks.Task{}
	var unreadable error
	for ; len(owners) > 0; owners, cursor = owners[1:], "" {
		if len(page) > 0 && len(page) == limit {
			return page, bucket(), unreadable
		}
		some, more, err := a.store.List(ctx, owners[0], cursor, limit-len(page))
		if some == nil {
			return nil, "", err
		}
		unreadable = errors.Join(unreadable, err)
		for _, t := range some {
			page = append(page, a.show(t))
		}
		if more != "" {
			return page, bucket() + more, unreadable
		}
	}
	return page, "", unreadable
}

// countPage is how many tasks Count reads at a time.
const countPage = 100

// Count returns how many tasks there are, by status: those that are Working or
// InputRequired have not ended. It reads them all. A task that cannot be read is left
// out; then the error is that of List, and comes with the others' counts.
func (a *Account) Count(ctx context.Context) (map[tasks.Status]int, error) {
	counts := make(map[tasks.Status]int)
	var unreadable error
	for cursor := ""; ; {
		page, next, err := a.List(ctx, cursor, countPage)
		if page == nil {
			return nil, err
		}
		unreadable = errors.Join(unreadable, err)
		for _, t := range page {
			counts[t.Status]++
		}
		if cursor = next; next == "" {
			return counts, unreadable
		}
	}
}

// Get returns one task, by the id that clients know.
func (a *Account) Get(ctx context.Context, id string) (tasks.Task, error) {
	return a.of(id, func(owner, id string) (tasks.Task, error) { return a.store.Get(ctx, owner, id) })
}

// Cancel asks for one task to end, as tasks/cancel does; see [tasks.Store.Cancel].
func (a *Account) Cancel(ctx context.Context, id string) (tasks.Task, error) {
	return a.of(id, func(owner, id string) (tasks.Task, error) { return a.store.Cancel(ctx, owner, id) })
}

func (a *Account) of(id string, do func(owner, id string) (tasks.Task, error)) (tasks.Task, error) {
	if _, err := a.owners(); err != nil {
		return tasks.Task{}, err
	}
	owner, stored, ok := a.who.stored(id)
	if !ok {
		return tasks.Task{}, tasks.ErrNotFound
	}
	t, err := do(owner, stored)
	if err != nil {
		return tasks.Task{}, err
	}
	return a.show(t), nil
}

// Purge removes every task that exists when it is called, in any status, and returns how
// many. A handler that runs for one, on any replica, sees its ctx end with [ErrLost], and
// its result is dropped. Clients are told that the task is not found.
//
// It can be called again at any time: after an error, which comes with how many were
// removed, it goes on; an account without tasks gives 0. A task that is created meanwhile
// may stay, so first see to it that the owner can make no more requests. A call that is
// not a task yet can become one afterwards.
func (a *Account) Purge(ctx context.Context) (removed int, err error) {
	owners, err := a.owners()
	if err != nil {
		return 0, err
	}
	for _, owner := range owners {
		n, err := a.store.Purge(ctx, owner)
		removed += n
		if err != nil {
			return removed, err
		}
	}
	return removed, nil
}

// show returns t by its public names.
func (a *Account) show(t tasks.Task) tasks.Task {
	t.ID, t.Owner = wireID(t.Owner, t.ID), a.who.name()
	return t
}

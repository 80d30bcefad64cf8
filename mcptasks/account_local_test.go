package mcptasks_test

import (
	"context"
	"testing"

	domain "github.com/taskstore/taskstore/tasks"
)

// LocalAccount holds the tasks that clients without the extension make on stdio. They
// belong to the process's user and are in no other account.
func TestTheLocalAccountHoldsTheTasksOfStdio(t *testing.T) {
	noLeaks(t)
	r := start(t, memory(), patient(), fallbackTools).withSessions()
	id := handle(t, r.localModel(nil).call("asks_early", nil))
	handle(t, r.model("alice", nil).call("asks_early", nil))
	local := r.tasks.LocalAccount()
	page, _, err := local.List(t.Context(), "", 10)
	if err != nil || len(page) != 1 || page[0].ID != id || page[0].Owner != "" {
		t.Fatalf("the account has %d tasks, %v", len(page), err)
	}
	if n := total(t, r.tasks.AnonymousAccount()); n != 0 {
		t.Errorf("anonymous callers have %d", n)
	}
	if got, err := local.Cancel(t.Context(), id); err != nil || got.Status != domain.Cancelled {
		t.Errorf("cancelled: %v, %v", got, err)
	}
	if n, err := local.Purge(context.Background()); err != nil || n != 1 || total(t, local) != 0 {
		t.Errorf("%d removed, %v", n, err)
	}
	if n := total(t, r.tasks.Account("alice")); n != 1 {
		t.Errorf("alice has %d", n)
	}
}

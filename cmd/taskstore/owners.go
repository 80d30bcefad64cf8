package main

import (
	"context"
	"encoding/base64"
	"fmt"
	"time"
	"unicode/utf8"

	"github.com/spf13/cobra"

	"github.com/taskstore/taskstore"
	"github.com/taskstore/taskstore/cmd/taskstore/internal/look"
	"github.com/taskstore/taskstore/tasks"
)

// An ownerView summarizes an owner. Its JSON is as stable as that of [look.Task].
type ownerView struct {
	Owner       string     `json:"owner"`
	OwnerBase64 string     `json:"owner_base64,omitempty"` // set if Owner is not UTF-8
	Tasks       int        `json:"tasks"`
	Active      int        `json:"active"` // have not ended
	Orphans     int        `json:"orphans"`
	Bytes       int64      `json:"bytes"` // of the tasks' records
	Oldest      *time.Time `json:"oldest,omitempty"`
	Unreadable  int        `json:"unreadable"`
}

func (a *app) ownersCommand() *cobra.Command {
	var form string
	cmd := &cobra.Command{
		Use: "owners", Short: "List the owners of tasks, with a count of each one's tasks",
		Args: usageArgs(cobra.NoArgs),
		RunE: a.withStore(func(ctx context.Context, b taskstore.StorageBackend, _ []string) error {
			return a.listOwners(ctx, b, form)
		}),
	}
	formFlag(cmd, &form, formTable, formJSON, formJSONL)
	return cmd
}

func (a *app) listOwners(ctx context.Context, b taskstore.StorageBackend, form string) error {
	now, err := taskstore.Now(ctx, b)
	if err != nil {
		return err
	}
	w := &walk{a: a, i: tasks.NewInspector(b)}
	l := &list{a: a, name: "owners", lines: form == formJSONL}
	t := (*table)(nil)
	if form == formTable {
		t = a.table("OWNER", "TASKS", "ACTIVE", "ORPHANS", "BYTES", "OLDEST")
	}
	err = w.eachOwner(ctx, func(owner string) error {
		v, err := w.sum(ctx, owner, now)
		if err != nil || v.Tasks+v.Unreadable == 0 {
			return err
		}
		if t == nil {
			return l.add(v)
		}
		oldest := ""
		if v.Oldest != nil {
			oldest = age(now, *v.Oldest)
		}
		return t.row(v.Owner, fmt.Sprint(v.Tasks), fmt.Sprint(v.Active), fmt.Sprint(v.Orphans), fmt.Sprint(v.Bytes), oldest)
	})
	switch {
	case t != nil && err == nil:
		err = t.end()
	case t != nil:
		_ = t.end()
	case err == nil:
		err = l.end(w.unreadable)
	}
	w.finish()
	return err
}

// sum adds up the tasks of an owner.
func (w *walk) sum(ctx context.Context, owner string, now time.Time) (ownerView, error) {
	v := ownerView{Owner: owner}
	if !utf8.ValidString(owner) {
		v.OwnerBase64 = base64.StdEncoding.EncodeToString([]byte(owner))
	}
	before := w.unreadable
	err := w.of(ctx, owner, func(t tasks.Stored) error {
		v.Tasks++
		v.Bytes += int64(t.Bytes)
		if !t.Status.Terminal() {
			v.Active++
		}
		if look.IsOrphan(t.Task, now) {
			v.Orphans++
		}
		if v.Oldest == nil || t.CreatedAt.Before(*v.Oldest) {
			v.Oldest = &t.CreatedAt
		}
		return nil
	})
	v.Unreadable = w.unreadable - before
	return v, err
}

package main

import (
	"context"
	"fmt"

	"github.com/taskstore/taskstore/cmd/taskstore/internal/look"
	"github.com/taskstore/taskstore/tasks"
)

// A walk goes through the tasks of one owner or of all.
type walk struct {
	a          *app
	i          *tasks.Inspector
	owner      string // empty: all
	unreadable int    // unreadable records, each reported on standard error
}

// each calls f with each task, owner by owner, oldest first.
func (w *walk) each(ctx context.Context, f func(tasks.Stored) error) error {
	return w.eachOwner(ctx, func(owner string) error {
		return w.of(ctx, owner, f)
	})
}

// eachOwner calls f with each owner, and shows its progress.
func (w *walk) eachOwner(ctx context.Context, f func(owner string) error) error {
	if w.owner != "" {
		return f(w.owner)
	}
	all, err := look.Owners(ctx, w.i)
	if err != nil {
		return err
	}
	bar := w.a.progress("owners", len(all))
	defer w.a.end(bar)
	for _, owner := range all {
		if err := f(owner); err != nil {
			return err
		}
		bar.step()
	}
	return nil
}

// of calls f with each task of the owner.
func (w *walk) of(ctx context.Context, owner string, f func(tasks.Stored) error) error {
	return look.Each(ctx, w.i, owner, f, func(t tasks.Stored, err error) {
		w.unreadable++
		w.a.clearBar()
		fmt.Fprintf(w.a.err, "taskstore: of owner %q, task %q: %s\n", safeLine(owner), safeLine(t.ID), safeLine(err.Error()))
	})
}

// finish sets the exit code if there were unreadable records.
func (w *walk) finish() {
	if w.unreadable > 0 {
		w.a.code = exitFailed
	}
}

// hintAtOwner explains the owner names of mcptasks if an owner has no tasks.
func (w *walk) hintAtOwner(found int) {
	if found > 0 || w.owner == "" || isServed(w.owner) {
		return
	}
	fmt.Fprintf(w.a.err, "taskstore: no tasks; a server of mcptasks stores those of a user as owner n:%s\n", safeLine(w.owner))
}

// isServed reports whether mcptasks would name an owner like that.
func isServed(owner string) bool {
	return len(owner) > 2 && (owner[:2] == "n:" || owner[:2] == "a:" || owner[:2] == "l:")
}

func (a *app) clearBar() {
	if a.clear != nil {
		a.clear()
	}
}

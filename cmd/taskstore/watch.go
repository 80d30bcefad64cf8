package main

import (
	"context"
	"time"

	"github.com/spf13/cobra"

	"github.com/taskstore/taskstore"
	"github.com/taskstore/taskstore/cmd/taskstore/internal/look"
	"github.com/taskstore/taskstore/tasks"
)

func (a *app) watchCommand() *cobra.Command {
	var owner, form string
	var interval time.Duration
	cmd := &cobra.Command{
		Use: "watch [ID]", Short: "Print the changes of one task until it ends, or of an owner's tasks until interrupted",
		Args: usageArgs(cobra.MaximumNArgs(1)),
		PreRunE: func(_ *cobra.Command, args []string) error {
			if len(args) == 0 && owner == "" {
				return usagef("give the ID of a task or --owner NAME")
			}
			if interval <= 0 {
				return usagef("--interval must be positive")
			}
			return nil
		},
		RunE: a.withStore(func(ctx context.Context, b taskstore.StorageBackend, args []string) error {
			w := &watcher{a: a, b: b, i: tasks.NewInspector(b), form: form, seen: make(map[string]seenState)}
			if len(args) == 1 {
				return w.one(ctx, owner, args[0], interval)
			}
			return w.all(ctx, owner, interval)
		}),
	}
	ownerFlag(cmd, &owner)
	cmd.Flags().DurationVar(&interval, "interval", time.Second, "time between polls")
	formFlag(cmd, &form, formTable, formJSONL)
	return cmd
}

// A watcher prints the states of tasks that it has not printed yet.
type watcher struct {
	a    *app
	b    taskstore.StorageBackend
	i    *tasks.Inspector
	form string
	seen map[string]seenState
}

// A seenState distinguishes the states of a task that are worth a line; the renewal of a
// lease is not.
type seenState struct {
	revision, token uint64
	orphan          bool
}

func stateOf(t tasks.Stored, now time.Time) seenState {
	return seenState{t.Revision, t.Lease.Token, look.IsOrphan(t.Task, now)}
}

// show prints the state of a task if it is new.
func (w *watcher) show(now time.Time, t tasks.Stored) error {
	state := stateOf(t, now)
	if w.seen[t.ID] == state {
		return nil
	}
	w.seen[t.ID] = state

	p := &taskPrinter{now: now, list: &list{a: w.a, lines: true}}
	if w.form == formTable {
		p = &taskPrinter{now: now, table: w.a.table()}
	}
	if err := p.print(look.TaskOf(t, now, false)); err != nil {
		return err
	}
	return p.flush()
}

// one follows a task to its end.
func (w *watcher) one(ctx context.Context, owner, id string, interval time.Duration) error {
	t, err := w.a.find(ctx, w.i, owner, id)
	if err != nil {
		return err
	}
	for {
		now, err := taskstore.Now(ctx, w.b)
		if err != nil {
			return err
		}
		if err := w.show(now, t); err != nil || t.Status.Terminal() {
			return err
		}
		if err := pause(ctx, interval); err != nil {
			return err
		}
		if t, err = w.i.Get(ctx, t.Owner, t.ID); err != nil {
			return err
		}
	}
}

// all follows the tasks of an owner.
func (w *watcher) all(ctx context.Context, owner string, interval time.Duration) error {
	for {
		now, err := taskstore.Now(ctx, w.b)
		if err != nil {
			return err
		}
		there := make(map[string]bool)
		err = look.Each(ctx, w.i, owner, func(t tasks.Stored) error {
			there[t.ID] = true
			return w.show(now, t)
		}, func(tasks.Stored, error) {}) // doctor reports unreadable records
		if err != nil {
			return err
		}
		for id := range w.seen {
			if !there[id] {
				delete(w.seen, id)
			}
		}
		if err := pause(ctx, interval); err != nil {
			return err
		}
	}
}

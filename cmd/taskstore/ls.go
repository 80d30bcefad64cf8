package main

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/taskstore/taskstore"
	"github.com/taskstore/taskstore/cmd/taskstore/internal/look"
	"github.com/taskstore/taskstore/tasks"
)

// A filter chooses among tasks.
type filter struct {
	status, tool string
	older        time.Duration
	orphans      bool
}

var statuses = []string{string(tasks.Working), string(tasks.InputRequired), string(tasks.Completed), string(tasks.Failed), string(tasks.Cancelled)}

func (f *filter) flags(cmd *cobra.Command) {
	cmd.Flags().StringVar(&f.status, "status", "", "only those that are "+strings.Join(statuses, ", "))
	cmd.Flags().StringVar(&f.tool, "tool", "", "only those of this tool")
	cmd.Flags().DurationVar(&f.older, "older", 0, "only those older than this")
	cmd.Flags().BoolVar(&f.orphans, "orphans", false, "only orphans: working tasks of a lost runner")
	_ = cmd.RegisterFlagCompletionFunc("status", cobra.FixedCompletions(statuses, cobra.ShellCompDirectiveNoFileComp))
}

func (f *filter) check() error {
	if f.status != "" && !slices.Contains(statuses, f.status) {
		return usagef("--status is %q; it must be one of %s", f.status, strings.Join(statuses, ", "))
	}
	if f.older < 0 {
		return usagef("--older must not be negative")
	}
	return nil
}

func (f *filter) takes(v look.Task, now time.Time) bool {
	return (f.status == "" || v.Status == f.status) && (f.tool == "" || v.Tool == f.tool) &&
		(f.older == 0 || now.Sub(v.CreatedAt) > f.older) && (!f.orphans || v.Orphan)
}

// A scope is one owner or all owners.
type scope struct {
	owner string
	all   bool
}

func (s *scope) flags(cmd *cobra.Command) {
	cmd.Flags().StringVar(&s.owner, "owner", "", "the owner, as it is stored: n:NAME for a user of mcptasks, a: and two hex digits for anonymous callers")
	cmd.Flags().BoolVar(&s.all, "all", false, "all owners, if the store can list them")
}

func (s *scope) check() error {
	if (s.owner == "") == !s.all {
		return usagef("give --owner NAME or --all")
	}
	return nil
}

func (a *app) lsCommand() *cobra.Command {
	var f filter
	var s scope
	var form string
	cmd := &cobra.Command{
		Use: "ls (--owner NAME | --all)", Short: "List tasks, of each owner the newest last",
		Args: usageArgs(cobra.NoArgs),
		PreRunE: func(*cobra.Command, []string) error {
			if err := s.check(); err != nil {
				return err
			}
			return f.check()
		},
		RunE: a.withStore(func(ctx context.Context, b taskstore.StorageBackend, _ []string) error {
			return a.ls(ctx, b, s, f, form)
		}),
	}
	f.flags(cmd)
	s.flags(cmd)
	formFlag(cmd, &form, formTable, formJSON, formJSONL)
	return cmd
}

func (a *app) ls(ctx context.Context, b taskstore.StorageBackend, s scope, f filter, form string) error {
	now, err := taskstore.Now(ctx, b)
	if err != nil {
		return err
	}
	w := &walk{a: a, i: tasks.NewInspector(b), owner: s.owner}
	p := a.printer(form, now)
	found := 0
	err = w.each(ctx, func(t tasks.Stored) error {
		found++
		v := look.TaskOf(t, now, false)
		if !f.takes(v, now) {
			return nil
		}
		return p.print(v)
	})
	if err != nil {
		_ = p.flush()
		return err
	}
	if err := p.end(w.unreadable); err != nil {
		return err
	}
	w.hintAtOwner(found + w.unreadable)
	w.finish()
	return nil
}

// A taskPrinter prints tasks in one of the forms.
type taskPrinter struct {
	now   time.Time
	list  *list
	table *table // nil: list is used
}

func (a *app) printer(form string, now time.Time) *taskPrinter {
	if form == formTable {
		return &taskPrinter{now: now, table: a.table("ID", "OWNER", "STATUS", "TOOL", "AGE", "CHANGED", "MESSAGE")}
	}
	return &taskPrinter{now: now, list: &list{a: a, name: "tasks", lines: form == formJSONL}}
}

func (p *taskPrinter) print(v look.Task) error {
	if p.table == nil {
		return p.list.add(v)
	}
	return p.table.row(v.ID, v.Owner, statusText(v), v.Tool, age(p.now, v.CreatedAt), age(p.now, v.UpdatedAt), v.StatusMessage)
}

// flush prints the rows that are held back.
func (p *taskPrinter) flush() error {
	if p.table == nil {
		return nil
	}
	return p.table.end()
}

func (p *taskPrinter) end(unreadable int) error {
	if p.table == nil {
		return p.list.end(unreadable)
	}
	return p.table.end()
}

// statusText returns a status with the details that an operator needs.
func statusText(v look.Task) string {
	switch {
	case v.Orphan:
		return v.Status + ", orphan"
	case v.CancelRequested && v.Status == string(tasks.Working):
		return v.Status + ", cancelling"
	}
	return v.Status
}

// age returns the time from then to now in its greatest unit.
func age(now, then time.Time) string {
	if then.IsZero() {
		return ""
	}
	d := max(now.Sub(then), 0)
	switch {
	case d < time.Minute:
		return d.Truncate(time.Second).String()
	case d < time.Hour:
		return strings.TrimSuffix(d.Truncate(time.Minute).String(), "0s")
	case d < 48*time.Hour:
		return strings.TrimSuffix(d.Truncate(time.Minute).String(), "0s")
	}
	return fmt.Sprintf("%dd", d/(24*time.Hour))
}

package main

import (
	"bytes"
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"github.com/taskstore/taskstore"
	"github.com/taskstore/taskstore/cmd/taskstore/internal/look"
	"github.com/taskstore/taskstore/tasks"
)

func (a *app) topCommand() *cobra.Command {
	var s scope
	var interval time.Duration
	cmd := &cobra.Command{
		Use: "top (--owner NAME | --all)", Short: "Show running, new, ended and lost tasks per tool, until interrupted",
		Args: usageArgs(cobra.NoArgs),
		PreRunE: func(*cobra.Command, []string) error {
			if interval <= 0 {
				return usagef("--interval must be positive")
			}
			return s.check()
		},
		RunE: a.withStore(func(ctx context.Context, b taskstore.StorageBackend, _ []string) error {
			return a.everyInterval(ctx, interval, func(w *bytes.Buffer) error { return a.top(ctx, b, s, w) })
		}),
	}
	s.flags(cmd)
	cmd.Flags().DurationVar(&interval, "interval", 5*time.Second, "time between polls; each poll reads all tasks")
	return cmd
}

// top reads all tasks and prints their sums.
func (a *app) top(ctx context.Context, b taskstore.StorageBackend, s scope, out *bytes.Buffer) error {
	now, err := taskstore.Now(ctx, b)
	if err != nil {
		return err
	}
	quiet := *a
	quiet.errTTY = false // a bar would disturb the drawing
	w := &walk{a: &quiet, i: tasks.NewInspector(b), owner: s.owner}
	tools := make(map[string]*look.ToolSum)
	total := 0
	err = w.each(ctx, func(t tasks.Stored) error {
		total++
		name := look.ToolOf(t.Task)
		if tools[name] == nil {
			tools[name] = look.NewToolSum()
		}
		tools[name].Add(t.Task, now)
		return nil
	})
	if err != nil {
		return err
	}
	fmt.Fprintf(out, "%s  %d tasks, %d unreadable\n\n", now.UTC().Format(time.TimeOnly), total, w.unreadable)
	t := tabwriter.NewWriter(out, 4, 0, 2, ' ', 0)
	fmt.Fprintln(t, "TOOL\tWORKING\tINPUT\tCOMPLETED\tFAILED\tCANCELLED\tORPHANS\tOLDEST\tMADE/MIN\tENDED/MIN")
	for _, name := range slices.Sorted(maps.Keys(tools)) {
		sum := tools[name]
		cells := []string{safeLine(name)}
		if cells[0] == "" {
			cells[0] = "-"
		}
		for _, status := range statuses {
			cells = append(cells, fmt.Sprint(sum.ByStatus[tasks.Status(status)]))
		}
		oldest := "-"
		if !sum.Oldest.IsZero() {
			oldest = age(now, sum.Oldest)
		}
		fmt.Fprintln(t, strings.Join(append(cells, fmt.Sprint(sum.Orphans), oldest, fmt.Sprint(sum.Created), fmt.Sprint(sum.Ended)), "\t"))
	}
	return t.Flush()
}

package main

import (
	"context"
	"fmt"

	"github.com/spf13/cobra"

	"github.com/taskstore/taskstore"
	"github.com/taskstore/taskstore/cmd/taskstore/internal/look"
	"github.com/taskstore/taskstore/tasks"
)

// changeCommand makes a command that changes one task, by a store with default options.
func (a *app) changeCommand(use, short string, change func(ctx context.Context, s *tasks.Store, t tasks.Task) (string, error)) *cobra.Command {
	var owner string
	cmd := &cobra.Command{
		Use: use, Short: short,
		Args: usageArgs(cobra.ExactArgs(1)),
		RunE: a.withStore(func(ctx context.Context, b taskstore.StorageBackend, args []string) error {
			s, err := tasks.New(b, nil)
			if err != nil {
				return err
			}
			t, err := a.find(ctx, tasks.NewInspector(b), owner, args[0])
			if err != nil && !look.Unreadable(err) {
				return err
			}
			done, err := change(ctx, s, t.Task)
			if err != nil {
				return err
			}
			_, err = fmt.Fprintln(a, done)
			return err
		}),
	}
	ownerFlag(cmd, &owner)
	return cmd
}

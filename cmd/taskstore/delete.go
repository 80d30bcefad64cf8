package main

import (
	"context"

	"github.com/spf13/cobra"

	"github.com/taskstore/taskstore/tasks"
)

func (a *app) deleteCommand() *cobra.Command {
	var yes bool
	cmd := a.changeCommand("delete ID", "Remove a task, whatever its status",
		func(ctx context.Context, s *tasks.Store, t tasks.Task) (string, error) {
			if !yes {
				if err := a.confirm(ctx, "Remove "+describe(t)+"?"); err != nil {
					return "", err
				}
			}
			if err := s.Delete(ctx, t.Owner, t.ID); err != nil {
				return "", err
			}
			return "removed: " + describe(t), nil
		})
	yesFlag(cmd, &yes)
	return cmd
}

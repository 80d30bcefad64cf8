package main

import (
	"context"

	"github.com/spf13/cobra"

	"github.com/taskstore/taskstore/tasks"
)

func (a *app) cancelCommand() *cobra.Command {
	return a.changeCommand("cancel ID", "Ask for a task to end; at once where nobody runs it",
		func(ctx context.Context, s *tasks.Store, t tasks.Task) (string, error) {
			was := t.Status
			t, err := s.Cancel(ctx, t.Owner, t.ID)
			switch {
			case err != nil:
				return "", err
			case t.Status == tasks.Cancelled && was != tasks.Cancelled:
				return "cancelled: " + describe(t), nil
			case t.Status.Terminal():
				return "it has ended before: " + describe(t), nil
			}
			return "its runner is asked to end it: " + describe(t), nil
		})
}

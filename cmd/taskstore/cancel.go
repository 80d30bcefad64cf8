package main

import (
	"context"

	"github.com/spf13/cobra"

	"github.com/taskstore/taskstore/cmd/taskstore/internal/look"
	"github.com/taskstore/taskstore/tasks"
)

func (a *app) cancelCommand() *cobra.Command {
	return a.changeCommand("cancel ID", "Ask the runner of a task to end it; a task without a runner ends at once",
		func(ctx context.Context, s *tasks.Store, t tasks.Task) (string, error) {
			was := t.Status
			t, err := s.Cancel(ctx, t.Owner, t.ID)
			if err != nil {
				return "", err
			}
			return look.Cancelled(was, t) + ": " + describe(t), nil
		})
}

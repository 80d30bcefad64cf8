package main

import (
	"context"
	"errors"

	"github.com/spf13/cobra"

	"github.com/taskstore/taskstore/tasks"
)

// internalError is JSON-RPC's code, used for a task that an operator fails.
const internalError = -32603

func (a *app) failCommand() *cobra.Command {
	message := "an operator ended the task"
	cmd := a.changeCommand("fail ID", "End a task as failed, even while it runs",
		func(ctx context.Context, s *tasks.Store, t tasks.Task) (string, error) {
			ended, err := s.Fail(ctx, t.Owner, t.ID, tasks.Error{Code: internalError, Message: message})
			if errors.Is(err, tasks.ErrTerminal) {
				return "", errors.New("it has already ended: " + describe(ended))
			}
			if err != nil {
				return "", err
			}
			return "failed: " + describe(ended), nil
		})
	cmd.Flags().StringVar(&message, "message", message, "error message for the client")
	return cmd
}

package main

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/spf13/cobra"

	"github.com/taskstore/taskstore"
	"github.com/taskstore/taskstore/tasks"
)

func (a *app) purgeCommand() *cobra.Command {
	var owner string
	var yes bool
	cmd := &cobra.Command{
		Use: "purge --owner NAME", Short: "Remove all tasks of an owner, and say how many of each status",
		Long: "Remove all tasks that an owner has when the command begins, and say how many of each status. " +
			"First make sure that the owner can make no more requests.",
		Args: usageArgs(cobra.NoArgs),
		PreRunE: func(*cobra.Command, []string) error {
			if owner == "" {
				return usagef("give --owner NAME")
			}
			return nil
		},
		RunE: a.withStore(func(ctx context.Context, b taskstore.StorageBackend, _ []string) error {
			return a.purge(ctx, b, owner, yes)
		}),
	}
	cmd.Flags().StringVar(&owner, "owner", "", "the owner, as it is stored: n:NAME for a user of mcptasks")
	yesFlag(cmd, &yes)
	return cmd
}

// purgeSlack is the greatest expected difference between the clocks of servers.
const purgeSlack = time.Second

func (a *app) purge(ctx context.Context, b taskstore.StorageBackend, owner string, yes bool) error {
	s, err := tasks.New(b, nil)
	if err != nil {
		return err
	}
	if !yes {
		if err := a.confirm(ctx, fmt.Sprintf("Remove all tasks of owner %q?", safeLine(owner))); err != nil {
			return err
		}
	}
	begun, err := taskstore.Now(ctx, b)
	if err != nil {
		return err
	}
	removed := make(map[string]int)
	total := 0
	err = a.purgeEach(ctx, tasks.NewInspector(b), s, owner, begun, func(status string) { removed[status]++; total++ })
	for _, status := range append(statuses, noStatus) {
		if n := removed[status]; n > 0 {
			fmt.Fprintf(a, "%-15s %d\n", status, n)
		}
	}
	fmt.Fprintf(a, "%-15s %d\n", "removed", total)
	if err == nil {
		w := walk{a: a, owner: owner}
		w.hintAtOwner(total)
	}
	return err
}

// noStatus stands for the status of a task that cannot be read.
const noStatus = "unreadable"

func (a *app) purgeEach(ctx context.Context, i *tasks.Inspector, s *tasks.Store, owner string, begun time.Time, removed func(status string)) error {
	var left error
	for t, err := range i.All(ctx, owner) {
		status := string(t.Status)
		switch {
		case errors.Is(err, tasks.ErrNoTask):
			left = errors.New("records that are not tasks stay: another version or another program wrote them")
			continue
		case err != nil && t.ID == "":
			return err
		case err != nil:
			status = noStatus
		case t.CreatedAt.After(begun.Add(purgeSlack)):
			return left // all later tasks are younger too
		}
		switch err := s.Delete(ctx, owner, t.ID); {
		case err == nil:
			removed(status)
		case !errors.Is(err, tasks.ErrNotFound):
			return err
		}
	}
	return left
}

package look

import (
	"context"
	"errors"

	"github.com/taskstore/taskstore"
	"github.com/taskstore/taskstore/tasks"
)

// Each calls f with each task of the owner, oldest first, and unread with the name of each
// unreadable record and its error.
func Each(ctx context.Context, i *tasks.Inspector, owner string, f func(tasks.Stored) error, unread func(tasks.Stored, error)) error {
	for t, err := range i.All(ctx, owner) {
		switch {
		case err == nil:
			err = f(t)
		case t.ID != "" || errors.Is(err, taskstore.ErrCorrupt):
			unread(t, err)
			err = nil
		}
		if err != nil {
			return err
		}
	}
	return nil
}

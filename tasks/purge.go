package tasks

import (
	"context"
	"errors"
	"time"

	"github.com/taskstore/taskstore"
)

// purgeSlack is the greatest difference between the clocks of replicas.
const purgeSlack = time.Second

// Purge removes every task that the owner has when it is called, as Delete does: in any
// status, damaged tasks and those of a newer format included. A Run of one is over. It
// returns how many it removed, also with an error; call it again to go on. An owner
// without tasks gives 0.
//
// A task that is created meanwhile may stay. Purge does not wait until such creates
// end.
func (s *Store) Purge(ctx context.Context, owner string) (removed int, err error) {
	if err := checkOwner(owner); err != nil {
		return 0, err
	}
	begun, err := s.now(ctx)
	if err != nil {
		return 0, err
	}
	for raw, err := range taskstore.All(ctx, s.backend, tasksKey(owner)) {
		var damaged *taskstore.CorruptError
		switch {
		case errors.As(err, &damaged) && damaged.Key.Task != "": // otherwise the list as a whole failed
			raw.Key = damaged.Key
		case err != nil:
			return removed, err
		}
		if r, err := recordOf(raw); err == nil && r.CreatedAt.After(begun.Add(purgeSlack)) {
			return removed, nil // and all later ones are newer
		}
		switch err := s.Delete(ctx, owner, raw.Key.Task); {
		case err == nil:
			removed++
		case !errors.Is(err, ErrNotFound): // expired, or another caller removed it
			return removed, err
		}
	}
	return removed, nil
}

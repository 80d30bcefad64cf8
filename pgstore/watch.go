package pgstore

import (
	"context"
	"iter"

	"github.com/taskstore/taskstore"
	"github.com/taskstore/taskstore/internal/hub"
)

func scopeOf(key taskstore.Key) hub.Scope {
	return hub.Scope{Owner: key.Owner, Collection: key.Collection}
}

// Watch implements [taskstore.Watcher]. Each process that watches polls the server for
// changes, on one connection, every [Options].PollInterval and after its own writes. The
// number of watches hardly matters.
//
// After a fault the watch yields Resync, and is in place again, once the server accepts
// connections.
func (b *Backend) Watch(ctx context.Context, prefix taskstore.Key) iter.Seq2[taskstore.Change, error] {
	return func(yield func(taskstore.Change, error) bool) {
		err := b.usable(ctx)
		if err == nil {
			err = prefix.ValidatePrefix()
		}
		if err != nil {
			yield(taskstore.Change{}, err)
			return
		}
		w := b.feed.join(prefix)
		defer b.feed.leave(w)
		w.Run(ctx, func(h hub.Hint, err error) bool {
			if err != nil {
				return yield(taskstore.Change{}, err)
			}
			return yield(taskstore.ChangeOf(prefix, h.Task, taskstore.Version(h.Version)), nil)
		})
	}
}

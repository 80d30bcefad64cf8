package peers

import (
	"context"
	"errors"
	"time"

	"github.com/taskstore/taskstore"
)

// Taskstore is any backend of it. Its tasks expire, as those of servers do.
func Taskstore(name string, b taskstore.StorageBackend) Peer {
	expires := time.Now().Add(life)
	p := Peer{
		Name:  name,
		Swaps: true,
		Get: func(ctx context.Context, owner, task string) (Record, error) {
			r, err := b.Get(ctx, taskstore.Key{Owner: owner, Task: task})
			return Record{uint64(r.Version), r.Data}, err
		},
		Update: func(ctx context.Context, owner, task string, data []byte, prev Record) (Record, error) {
			v, err := b.PutIfVersion(ctx, taskstore.Key{Owner: owner, Task: task},
				taskstore.Value{Data: data, ExpiresAt: expires}, taskstore.Version(prev.Revision))
			if errors.Is(err, taskstore.ErrVersionConflict) {
				err = ErrConflict
			}
			return Record{uint64(v), data}, err
		},
		Delete: func(ctx context.Context, owner, task string) error {
			_, err := b.Delete(ctx, taskstore.Key{Owner: owner, Task: task})
			return err
		},
		List: func(ctx context.Context, owner string) (int, error) {
			list, err := b.ListByPrefix(ctx, taskstore.Key{Owner: owner})
			return len(list), err
		},
	}
	p.Create = func(ctx context.Context, owner, task string, data []byte) (Record, error) {
		return p.Update(ctx, owner, task, data, Record{})
	}
	if pager, ok := taskstore.As[taskstore.Pager](b); ok {
		p.Page = func(ctx context.Context, owner string, limit int) (int, error) {
			page, _, err := pager.ListPage(ctx, taskstore.Key{Owner: owner}, "", limit)
			return len(page), err
		}
	}
	return p
}

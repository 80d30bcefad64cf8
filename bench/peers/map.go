package peers

import (
	"context"
	"errors"
	"sync"
)

// Map is the limit of stores in memory: a map under a lock, without copies of data, owners,
// expiry or order.
func Map() Peer {
	type name struct{ owner, task string }
	var mu sync.RWMutex
	tasks := make(map[name]Record)
	p := Peer{
		Name:  "a bare map",
		Swaps: true,
		Get: func(_ context.Context, owner, task string) (Record, error) {
			mu.RLock()
			defer mu.RUnlock()
			r, ok := tasks[name{owner, task}]
			if !ok {
				return Record{}, errors.New("peers: no such task")
			}
			return r, nil
		},
		Update: func(_ context.Context, owner, task string, data []byte, prev Record) (Record, error) {
			mu.Lock()
			defer mu.Unlock()
			if tasks[name{owner, task}].Revision != prev.Revision {
				return Record{}, ErrConflict
			}
			r := Record{prev.Revision + 1, data}
			tasks[name{owner, task}] = r
			return r, nil
		},
		Delete: func(_ context.Context, owner, task string) error {
			mu.Lock()
			defer mu.Unlock()
			delete(tasks, name{owner, task})
			return nil
		},
	}
	p.Create = func(ctx context.Context, owner, task string, data []byte) (Record, error) {
		return p.Update(ctx, owner, task, data, Record{})
	}
	return p
}

package taskstore

import (
	"context"
	"slices"

	"github.com/taskstore/taskstore/internal/hub"
	"github.com/taskstore/taskstore/internal/redislink"
)

// maxRepair keeps the script short; the next listing goes on.
const maxRepair = 128

// repair removes index entries of tasks that seem to be gone, and returns how many; the
// script looks again itself, for one of them may just have been created anew. Nothing
// that can be observed depends on it, so it may fail.
func (b *RedisBackend) repair(ctx context.Context, o scopeKeys, gone []string) (removed int) {
	if len(gone) == 0 {
		return 0
	}
	gone = gone[:min(len(gone), maxRepair)]
	keys := []string{o.index, o.expiry}
	for _, task := range gone {
		keys = append(keys, o.task(task))
	}
	r, _ := b.link.Run(ctx, redislink.Call{Script: b.scripts.repair, Keys: keys, Args: gone})
	return int(r.Number)
}

// maxRecount is how many places at the front of each index recount looks at.
const maxRecount = maxRepair / 2

// makeRoom returns what makes room for a record of key's collection where there seems to be none.
func (b *RedisBackend) makeRoom(key Key) func(context.Context, int) bool {
	return func(ctx context.Context, _ int) bool { return b.recount(ctx, scopeOf(key)) }
}

// recount looks, when an owner has as many records as it may, at those that are the
// soonest to be gone, and has the indexes repaired if one of them is. It reports
// whether there is room now.
//
// A server deletes a record when its TTL is over. If its clock steps back then, the
// indexes have the record's task as one that is not past yet, and it counts. So does
// that of a record that somebody else deleted.
func (b *RedisBackend) recount(ctx context.Context, s hub.Scope) bool {
	o := b.keys.scope(s)
	gone, _ := redislink.Detach(ctx, func() ([]string, error) {
		tasks, err := b.soonest(ctx, o)
		if err != nil {
			return nil, err
		}
		args := []any{"exists"}
		for _, task := range tasks {
			args = append(args, o.task(task))
		}
		var there redislink.Count
		if err := b.link.Pipeline(ctx, func(p *redislink.Pipeline) { there = p.Count(args...) }); err != nil {
			return nil, err
		}
		if n, err := there.Result(); err != nil || int(n) == len(tasks) {
			return nil, err
		}
		return tasks, nil
	})
	return b.repair(ctx, o, gone) > 0
}

// soonest returns the tasks at the front of the indexes.
func (b *RedisBackend) soonest(ctx context.Context, o scopeKeys) ([]string, error) {
	var expiring, oldest redislink.Members
	err := b.link.Pipeline(ctx, func(p *redislink.Pipeline) {
		expiring = p.Members("zrange", o.expiry, 0, maxRecount-1)
		oldest = p.Members("zrange", o.index, 0, maxRecount-1)
	})
	if err != nil {
		return nil, err
	}
	tasks, err := expiring.Result()
	if err != nil {
		return nil, err
	}
	more, err := oldest.Result()
	if err != nil {
		return nil, err
	}
	tasks = append(tasks, more...)
	slices.Sort(tasks)
	return slices.Compact(tasks), nil
}

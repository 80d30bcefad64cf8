package taskstore

import (
	"context"
	"slices"

	"github.com/taskstore/taskstore/internal/hub"
	"github.com/taskstore/taskstore/internal/redislink"
)

// maxRepair keeps the script short; the next listing repairs the rest.
const maxRepair = 128

// repair removes index entries of tasks that seem to be gone, and returns how many. The
// script looks again itself, as one of them may just have been created again. repair has
// no observable effect, so it may fail.
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

// makeRoom returns a function that tries to make room in key's collection when it seems full.
func (b *RedisBackend) makeRoom(key Key) func(context.Context, int) bool {
	return func(ctx context.Context, _ int) bool { return b.recount(ctx, scopeOf(key)) }
}

// recount is for an owner at its limit of records. It looks at the records that are due to
// go first, repairs the indexes if one of them is gone, and reports whether there is room
// now.
//
// A server deletes a record when its TTL is over. If its clock then steps back, the indexes
// still hold the record's task as a live one, and it counts. So does the task of a record
// that another program deleted.
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

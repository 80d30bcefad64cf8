package main

import (
	"context"
	"fmt"
	"math"
	"strconv"
	"sync/atomic"
	"time"

	"github.com/taskstore/taskstore"
)

// The assumptions of the arithmetic. Change them here and run again.
const (
	liveTasks     = 100_000_000
	writesOfATask = 10
	lifeOfATask   = time.Hour
	shardMemory   = 16 << 30
	shardFilled   = 0.6 // the rest is for peaks, replication and forks
)

// scaleCallers keep a server busy.
const scaleCallers = 64

// scale measures a server's rates at the greatest place. Each caller has its share of the tasks.
func (b *bench) scale(ctx context.Context, s *sheet, p place) error {
	share := max(1, p.tasks/scaleCallers)
	key := func(caller, i int) taskstore.Key {
		return taskstore.Key{Owner: p.key(0).Owner, Task: taskName(min(i*7919%share*scaleCallers+caller, p.tasks-1))}
	}
	var made atomic.Int64
	for _, c := range []struct {
		work string
		do   call
	}{
		{workGet, func(ctx context.Context, caller, i int) error {
			_, err := p.store.Get(ctx, key(caller, i))
			return err
		}},
		{workUpdate, func(ctx context.Context, caller, i int) error { return p.update(ctx, key(caller, i)) }},
		{workCreate, func(ctx context.Context, _, _ int) error {
			_, err := p.store.PutIfVersion(ctx, taskstore.Key{Owner: p.key(0).Owner, Task: fmt.Sprint("scale-", made.Add(1))}, grownValue(), 0)
			return err
		}},
	} {
		contest := Contest{Keys: []string{c.work, p.name}, Rounds: b.Turns, Contestants: []Contestant{b.loaded(strconv.Itoa(scaleCallers), scaleCallers, 1, c.do)}}
		if err := b.contest(ctx, s, contest); err != nil {
			return err
		}
	}
	return nil
}

// arithmetic computes the needs of many tasks from the measurements.
func (r *report) arithmetic() string {
	bytes := r.sheet("bytes").find("redis_used_memory").stat(ours, value).Median
	rates, tasks := make(map[string]float64), ""
	for _, result := range r.sheet("scale").results {
		rates[result.Keys[0]], tasks = result.stat(result.Names[0], value).Median, result.Keys[1]
	}
	mixed := writesOfATask / (1/rates[workCreate] + (writesOfATask-1)/rates[workUpdate])
	writes := float64(liveTasks) * writesOfATask / lifeOfATask.Seconds()
	perShard := shardMemory * shardFilled / bytes
	return markdown([][]string{
		{"for many tasks", "figure", "from"},
		{"tasks of 1 KiB per GiB", figure((1 << 30) / bytes), fmt.Sprintf("%s bytes each, indexes included", figure(bytes))},
		{"reads/s of a shard", figure(rates[workGet]), fmt.Sprintf("%d callers, any of %s tasks", scaleCallers, tasks)},
		{"writes/s of a shard", figure(mixed), fmt.Sprintf("one create and %d updates: %s and %s/s", writesOfATask-1, figure(rates[workCreate]), figure(rates[workUpdate]))},
		{"tasks of a shard", figure(perShard), fmt.Sprintf("%d GiB, %.0f%% filled; at most so many can be one owner's", shardMemory>>30, 100*shardFilled)},
		{"shards for 100,000,000 tasks", figure(math.Ceil(max(liveTasks/perShard, writes/mixed))),
			fmt.Sprintf("%d writes each in %v: %s/s in all; replicas besides", writesOfATask, lifeOfATask, figure(writes))},
	})
}

package main

import (
	"context"
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"sync/atomic"
	"time"

	"github.com/taskstore/taskstore"
)

// What the arithmetic assumes. Change it here and run again.
const (
	liveTasks     = 100_000_000
	writesOfATask = 10
	lifeOfATask   = time.Hour
	shardMemory   = 16 << 30
	shardFilled   = 0.6 // the rest is for peaks, replication and forks
)

// A scale is what the arithmetic starts from.
type scale struct {
	place                  string  // the greatest that was measured
	gets, updates, creates float64 // a second, there
	taskBytes              float64 // of the server, for a task of 1 KiB with its share of the indexes
}

// scaleCallers is how many callers it takes to keep a server busy.
const scaleCallers = 64

// scaleRates measures what a server does in a second at the greatest place, kept
// busy by callers each of which has its share of the tasks.
func (b *bench) scaleRates(ctx context.Context, p place) error {
	share := p.tasks / scaleCallers
	if share == 0 {
		return nil
	}
	key := func(caller int) taskstore.Key {
		return taskstore.Key{Owner: p.owner, Task: taskName(rand.IntN(share)*scaleCallers + caller)}
	}
	v := grownValue()
	var made atomic.Int64
	rate := func(name string, do call) (float64, error) {
		c := b.rates(scaleCallers)
		c.Name += ", " + name
		c.Contestants = []Contestant{b.loaded(name, scaleCallers, 1, do)}
		r, err := b.contest(ctx, c)
		return r.stat(name, value).Median, err
	}
	m := &b.scale
	m.place = p.name
	var errs [3]error
	m.gets, errs[0] = rate("get", func(ctx context.Context, caller, _ int) error {
		_, err := p.store.Get(ctx, key(caller))
		return err
	})
	m.updates, errs[1] = rate("update", func(ctx context.Context, caller, _ int) error { return p.update(ctx, key(caller), v) })
	m.creates, errs[2] = rate("create", func(ctx context.Context, _, _ int) error {
		_, err := p.store.PutIfVersion(ctx, taskstore.Key{Owner: p.owner, Task: fmt.Sprint("scale-", made.Add(1))}, v, 0)
		return err
	})
	return errors.Join(errs[:]...)
}

// scaleSections computes what many tasks need from what was measured.
func (b *bench) scaleSections(context.Context) error {
	s := b.report.section("Arithmetic for internet scale")
	m := b.scale
	if m.taskBytes == 0 || m.updates == 0 {
		s.text("The run left out what it needs: memory and growth.\n")
		return nil
	}
	mixed := writesOfATask / (1/m.creates + (writesOfATask-1)/m.updates)
	writes := float64(liveTasks) * writesOfATask / lifeOfATask.Seconds()
	perShard := shardMemory * shardFilled / m.taskBytes
	byMemory := math.Ceil(liveTasks / perShard)
	byWrites := math.Ceil(writes / mixed)
	t := table{header: []string{"", "figure", "from"}}
	t.row("a task of 1 KiB", figure(m.taskBytes)+" bytes", "measured, indexes included")
	t.row("tasks per GiB", figure((1<<30)/m.taskBytes), "2^30 / bytes")
	from := fmt.Sprintf("measured: %d callers, any of %s, client and server on the same cores, without automatic pipelining", scaleCallers, m.place)
	t.row("reads per second and shard", figure(m.gets), from)
	t.row("updates per second and shard", figure(m.updates), "the same")
	t.row("creates per second and shard", figure(m.creates), "the same")
	t.row("writes per second and shard", figure(mixed), fmt.Sprintf("one create and %d updates", writesOfATask-1))
	t.row("tasks per shard", figure(perShard), fmt.Sprintf("%d GiB, %.0f%% filled", shardMemory>>30, 100*shardFilled))
	t.row("writes per second in all", figure(writes), fmt.Sprintf("%s live tasks, %d writes each in %v", countText(liveTasks), writesOfATask, lifeOfATask))
	t.row("shards for the memory", countText(int(byMemory)), "live tasks / tasks per shard")
	t.row("shards for the writes", countText(int(byWrites)), "writes in all / writes per shard")
	t.row("shards", countText(int(max(byMemory, byWrites))), "the greater; each with its replicas")
	t.row("one owner outgrows a shard at", fmt.Sprintf("%s tasks or %s writes/s", figure(perShard), figure(mixed)), "all of an owner is in one slot")
	s.table(t)
	return nil
}

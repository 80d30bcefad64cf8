package main

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"strconv"
	"strings"

	"github.com/redis/go-redis/v9"

	"github.com/taskstore/taskstore/bench/peers"
)

// usageSections measures what a task takes of memory.
func (b *bench) usageSections(ctx context.Context) error {
	s := b.report.section("Memory of a task")
	s.text("%s tasks with 1 KiB of data, 100 for each owner. On Redis: the growth of used_memory for each task, which has everything in it, and of that "+
		"what MEMORY USAGE says of the record and of its share of the indexes. In the process: the growth of the heap for each task.\n", countText(b.Owned))
	onRedis := table{header: []string{"bytes for each task, on Redis", "in all", "record", "indexes", "beyond the data"}}
	for _, u := range []struct {
		db   int
		peer func(*redis.Client) peers.Peer
		keys func(owner, task string) (record string, indexes []string)
	}{
		{dbOurs, nil, func(owner, task string) (string, []string) {
			return "taskstore:tasks:{" + owner + "}:" + task, []string{"taskstore:idx:{" + owner + "}", "taskstore:exp:{" + owner + "}"}
		}},
		{dbModel, peers.Model, func(owner, task string) (string, []string) {
			record, index := peers.ModelKeys(owner, task)
			return record, []string{index}
		}},
		{dbValkeyrie, peers.Valkeyrie, func(owner, task string) (string, []string) { return owner + "/" + task, nil }},
		{dbAsynq, peers.Asynq, func(owner, task string) (string, []string) {
			return "asynq:{" + owner + "}:t:" + task, []string{"asynq:{" + owner + "}:scheduled"}
		}},
	} {
		if err := b.flush(ctx); err != nil {
			return err
		}
		p, err := peers.Redis(b.client(dbOurs))
		if u.peer != nil {
			p = u.peer(b.client(u.db))
		}
		if err != nil {
			return err
		}
		all, err := b.usedMemory(ctx, p)
		if err != nil {
			return fmt.Errorf("%s: %w", p.Name, err)
		}
		record, indexes, err := b.memoryUsage(ctx, b.client(u.db), u.keys)
		if err != nil {
			return fmt.Errorf("%s: %w", p.Name, err)
		}
		if p.Name == ours {
			b.scale.taskBytes = all
		}
		onRedis.row(p.Name, figure(all), figure(record), figure(indexes), figure(all-1024))
	}
	s.table(onRedis)
	inProcess := table{header: []string{"bytes for each task, in the process", "in all", "beyond the data"}}
	for _, open := range []func() (peers.Peer, error){
		func() (peers.Peer, error) { return peers.Map(), nil },
		func() (peers.Peer, error) { return peers.Memory(), nil },
		func() (peers.Peer, error) { return peers.A2A(), nil },
		func() (peers.Peer, error) { p, _, err := peers.NATS(ctx, false); return p, err },
	} {
		p, err := open()
		if err != nil {
			return err
		}
		all, err := b.heapUsed(ctx, p)
		if p.Close != nil {
			err = errors.Join(err, p.Close())
		}
		if err != nil {
			return fmt.Errorf("%s: %w", p.Name, err)
		}
		inProcess.row(p.Name, figure(all), figure(all-1024))
	}
	s.table(inProcess)
	return b.flush(ctx)
}

// tasksEach is how many tasks an owner has here.
const tasksEach = 100

func ownedKey(i int) (owner, task string) {
	return fmt.Sprintf("owner-%06d", i/tasksEach), fmt.Sprintf("task-%032d", i)
}

func (b *bench) fillOwned(ctx context.Context, p peers.Peer) error {
	return fill(ctx, b.Owned, func(ctx context.Context, i int) error {
		owner, task := ownedKey(i)
		_, err := p.Create(ctx, owner, task, payload(1<<10)) // data of its own, which it may keep
		return err
	})
}

// usedMemory returns by how much a task makes the server grow.
func (b *bench) usedMemory(ctx context.Context, p peers.Peer) (float64, error) {
	c := b.client(dbScratch)
	// Scripts and connections are not the tasks'.
	err := fill(ctx, 1000, func(ctx context.Context, i int) error {
		_, err := p.Create(ctx, "warm-up", taskName(i), payload(1<<10))
		return err
	})
	if err != nil {
		return 0, err
	}
	before, err := usedBytes(ctx, c)
	if err != nil {
		return 0, err
	}
	if err := b.fillOwned(ctx, p); err != nil {
		return 0, err
	}
	after, err := usedBytes(ctx, c)
	return (after - before) / float64(b.Owned), err
}

// usedBytes returns used_memory_dataset plus the server's own tables: all of
// used_memory but clients' buffers.
func usedBytes(ctx context.Context, c *redis.Client) (float64, error) {
	info, err := c.Info(ctx, "memory").Result()
	if err != nil {
		return 0, err
	}
	used, err := infoNumber(info, "used_memory")
	if err != nil {
		return 0, err
	}
	clients, err := infoNumber(info, "mem_clients_normal")
	return used - clients, err
}

func infoNumber(info, name string) (float64, error) {
	for line := range strings.Lines(info) {
		if text, ok := strings.CutPrefix(strings.TrimSpace(line), name+":"); ok {
			return strconv.ParseFloat(text, 64)
		}
	}
	return 0, fmt.Errorf("the server's INFO has no %s", name)
}

// memoryUsage returns what the server says of one record and, for each task, of
// the indexes of its owner.
func (b *bench) memoryUsage(ctx context.Context, c *redis.Client, keys func(owner, task string) (string, []string)) (record, indexes float64, err error) {
	// The first owner's last task: all its indexes are complete.
	owner, task := ownedKey(min(tasksEach, b.Owned) - 1)
	name, others := keys(owner, task)
	n, err := c.MemoryUsage(ctx, name, 0).Result()
	if err != nil {
		return 0, 0, err
	}
	for _, other := range others {
		n, err := c.MemoryUsage(ctx, other, 0).Result()
		if err != nil {
			return 0, 0, err
		}
		indexes += float64(n) / float64(min(tasksEach, b.Owned))
	}
	return float64(n), indexes, nil
}

// heapUsed returns by how much a task makes the heap grow.
func (b *bench) heapUsed(ctx context.Context, p peers.Peer) (float64, error) {
	heap := func() float64 {
		runtime.GC()
		runtime.GC() // what finalizers and pools let go in the first
		var m runtime.MemStats
		runtime.ReadMemStats(&m)
		return float64(m.HeapAlloc)
	}
	before := heap()
	if err := b.fillOwned(ctx, p); err != nil {
		return 0, err
	}
	grown := heap() - before
	// It has been there until now.
	owner, task := ownedKey(0)
	_, err := p.Get(ctx, owner, task)
	return grown / float64(b.Owned), err
}

package main

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"strconv"
	"sync"

	"github.com/taskstore/taskstore"
)

// A place is a store of its own with many tasks or owners, alike each: it has grown.
type place struct {
	name          string // how many there are
	owners, tasks int    // tasks of each owner
	store         taskstore.StorageBackend
	full          taskstore.StorageBackend // the same, with a limit that its owners have reached

	mu       *sync.Mutex
	versions map[taskstore.Key]taskstore.Version // of updated tasks; others are at 1
}

// key returns the i-th key of those that are there, spread over all.
func (p place) key(i int) taskstore.Key {
	const prime = 7919
	i = i * prime % (p.owners * p.tasks)
	return taskstore.Key{Owner: fmt.Sprint("owner-", i%p.owners), Task: taskName(i / p.owners)}
}

func (p place) anyKey() taskstore.Key { return p.key(rand.IntN(1 << 30)) }

// update writes a task. Each task has one writer at a time.
func (p place) update(ctx context.Context, key taskstore.Key) error {
	p.mu.Lock()
	version := max(p.versions[key], 1)
	p.mu.Unlock()
	version, err := p.store.PutIfVersion(ctx, key, grownValue(), version)
	p.mu.Lock()
	defer p.mu.Unlock()
	p.versions[key] = version
	return err
}

// Work whose cost may grow, besides that on single tasks.
const (
	workLimited = "create under a limit"
	workRefused = "create beyond the limit"
	workOneList = "list of one owner"
)

// Numbers that grow.
const (
	growTasks  = "tasks of one owner"
	growOwners = "owners"
)

// growthTopic measures the cost of work against the number of tasks of one owner, and against
// the number of owners with ten tasks each: on Redis the server's time, in memory a call's.
func (b *bench) growthTopic(ctx context.Context) error {
	s := b.sheet(sheet{file: "growth", keys: []string{"store", "of", "work"}, names: "number", columns: []column{{"us", value}}})
	scale := b.sheet(sheet{file: "scale", keys: []string{"work", "tasks"}, names: "callers", columns: []column{{"ops_per_s", value}}})
	for _, g := range []struct {
		of             string
		counts         []int
		owners, tasks  func(n int) int
		redis, inStore []string
	}{
		{growTasks, b.GrowthTasks, func(int) int { return 1 }, func(n int) int { return n },
			[]string{workLimited, workRefused, workGet, workUpdate, workPage}, []string{workCreate, workGet, workUpdate, workPage}},
		{growOwners, b.GrowthOwners, func(n int) int { return n }, func(int) int { return b.PerOwner },
			[]string{workLimited, workGet, workUpdate, workPage}, []string{workCreate, workGet, workUpdate, workPage, workOneList}},
	} {
		for _, onRedis := range []bool{true, false} {
			var places []place
			for i, n := range g.counts {
				p := place{name: strconv.Itoa(n), owners: g.owners(n), tasks: g.tasks(n), mu: new(sync.Mutex), versions: make(map[taskstore.Key]taskstore.Version)}
				if err := b.open(ctx, &p, i, onRedis); err != nil {
					return err
				}
				places = append(places, p)
			}
			store, works, call := "redis", g.redis, b.served
			if !onRedis {
				store, works, call = "memory", g.inStore, b.called
			}
			for _, work := range works {
				if err := b.grown(ctx, s, []string{store, g.of, work}, places, call); err != nil {
					return err
				}
			}
			if last := places[len(places)-1]; onRedis && g.of == growTasks {
				if err := b.scale(ctx, scale, last); err != nil {
					return err
				}
			}
			if err := b.flush(ctx); err != nil {
				return err
			}
		}
	}
	return b.plotGrowth(s)
}

// open gives a place its store, and fills it. On Redis every place has a database.
func (b *bench) open(ctx context.Context, p *place, i int, onRedis bool) (err error) {
	p.store = taskstore.NewMemoryBackend(nil)
	if onRedis {
		c := b.client(dbGrowth + i)
		backend, err := taskstore.NewRedisBackend(c, &taskstore.RedisOptions{MaxRecordsPerOwner: 1 << 30})
		if err != nil {
			return err
		}
		if _, err := backend.Now(ctx); err != nil { // a reading of the clock is not to be measured
			return err
		}
		p.store = backend
		if p.full, err = taskstore.NewRedisBackend(c, &taskstore.RedisOptions{MaxRecordsPerOwner: p.tasks}); err != nil {
			return err
		}
	}
	return fill(ctx, p.owners*p.tasks, func(ctx context.Context, i int) error {
		_, err := p.store.PutIfVersion(ctx, p.key(i), grownValue(), 0)
		return err
	})
}

// grownValue is that of all tasks, before and after an update, so that they keep their expiry.
func grownValue() taskstore.Value {
	return taskstore.Value{Data: payload(1 << 10), ExpiresAt: grownExpiry}
}

var grownExpiry = tomorrow()

// called makes a contestant that is measured by the time of a call.
func (b *bench) called(name string, f func(ctx context.Context, i int) error) Contestant {
	return Contestant{Name: name, Sample: averaged(b.Calls, 1e6, f)}
}

// grown measures a work at all places. Creates leave out places that they would make much
// larger.
func (b *bench) grown(ctx context.Context, s *sheet, keys []string, places []place, call func(string, func(context.Context, int) error) Contestant) error {
	c := Contest{Keys: keys, Pinned: keys[0] == "redis"}
	var resets []func(context.Context) error
	for _, p := range places {
		work := keys[2]
		if (work == workCreate || work == workLimited) && p.owners*p.tasks < b.Calls {
			continue
		}
		more := func(i int) taskstore.Key {
			return taskstore.Key{Owner: p.key(i).Owner, Task: fmt.Sprint("more-", i)}
		}
		contestant := call(p.name, func(ctx context.Context, i int) error { return p.do(ctx, work, more(i)) })
		if work == workCreate || work == workLimited {
			contestant.Reset = func(ctx context.Context) error {
				return fill(ctx, b.Calls, func(ctx context.Context, i int) error { _, err := p.store.Delete(ctx, more(i)); return err })
			}
			resets = append(resets, contestant.Reset)
		}
		c.Contestants = append(c.Contestants, contestant)
	}
	if len(c.Contestants) == 0 {
		return nil
	}
	err := b.contest(ctx, s, c)
	for _, reset := range resets {
		err = errors.Join(err, reset(ctx))
	}
	return err
}

// do does a work once. A create makes the task more.
func (p place) do(ctx context.Context, work string, more taskstore.Key) error {
	var err error
	switch work {
	case workCreate, workLimited:
		_, err = p.store.PutIfVersion(ctx, more, grownValue(), 0)
	case workRefused:
		if _, err = p.full.PutIfVersion(ctx, more, grownValue(), 0); !errors.Is(err, taskstore.ErrCapacityExceeded) {
			return fmt.Errorf("a create beyond the limit gives: %v", err)
		}
		err = nil
	case workGet:
		_, err = p.store.Get(ctx, p.anyKey())
	case workUpdate:
		err = p.update(ctx, p.anyKey())
	case workPage:
		pager, _ := taskstore.As[taskstore.Pager](p.store)
		page, _, pageErr := pager.ListPage(ctx, taskstore.Key{Owner: p.anyKey().Owner}, "", pageSize)
		err = counted(len(page), pageErr)(min(p.tasks, pageSize))
	case workOneList:
		list, listErr := p.store.ListByPrefix(ctx, taskstore.Key{Owner: p.key(0).Owner})
		err = counted(len(list), listErr)(p.tasks)
	}
	return err
}

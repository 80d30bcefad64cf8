package main

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"

	"github.com/taskstore/taskstore"
)

// A place is a store as it has grown, and the owner in it that is worked with.
type place struct {
	name  string
	size  int // what is plotted
	store taskstore.StorageBackend
	full  taskstore.StorageBackend // the same with a limit that owner has reached; nil: not measured
	owner string                   // empty: any of size owners
	tasks int                      // of an owner

	versions *versions // of its tasks
}

// versions are those of tasks that have been updated; others are at 1.
type versions struct {
	mu    sync.Mutex
	known map[taskstore.Key]taskstore.Version
}

func newVersions() *versions { return &versions{known: make(map[taskstore.Key]taskstore.Version)} }

// update writes a task that nobody else writes at the time.
func (p place) update(ctx context.Context, key taskstore.Key, v taskstore.Value) error {
	p.versions.mu.Lock()
	version := max(p.versions.known[key], 1)
	p.versions.mu.Unlock()
	version, err := p.store.PutIfVersion(ctx, key, v, version)
	p.versions.mu.Lock()
	defer p.versions.mu.Unlock()
	p.versions.known[key] = version
	return err
}

// key returns the i-th of the keys that work goes to, which are spread over all
// there are.
func (p place) key(i int) taskstore.Key {
	const prime = 7919
	if p.owner != "" {
		return taskstore.Key{Owner: p.owner, Task: taskName(i * prime % p.tasks)}
	}
	return taskstore.Key{Owner: fmt.Sprint("owner-", i*prime%p.size), Task: taskName(i / p.size % p.tasks)}
}

// total is how many tasks there are.
func (p place) total() int {
	if p.owner != "" {
		return p.tasks
	}
	return p.size * p.tasks
}

// The work whose cost may grow.
var growing = []string{"create", refused, "get", "update", "first page"}

const refused = "create, refused by a limit"

// growthSections measures cost against the number of tasks and of owners.
func (b *bench) growthSections(ctx context.Context) error {
	for _, g := range []struct {
		title, text, axis, file string
		redis, memory           func(context.Context) ([]place, error)
	}{{
		"Growth: tasks of one owner", "One owner has more and more tasks of 1 KiB; all sizes are there at once and measured in turns.",
		"tasks of the owner", "growth-tasks", b.tasksOnRedis, b.tasksInMemory,
	}, {
		"Growth: owners", fmt.Sprintf("More and more owners with %d tasks of 1 KiB each; work goes to any of them.", b.PerOwner),
		"owners", "growth-owners", b.ownersOnRedis, b.ownersInMemory,
	}} {
		s := b.report.section(g.title)
		s.text("%s The ratios are to the smallest; a page is of %d tasks, or as many as there are. Work goes to tasks at random: "+
			"with many of them it pays for memory that is in no cache of the processor. Creates are left out where they would make a place much larger. "+
			"One caller waits for each answer, on Redis with a ctx that cannot end.\n", g.text, pageSize)
		places, err := g.redis(ctx)
		if err != nil {
			return err
		}
		served, err := b.grown(ctx, places, b.servedPlace)
		if err != nil {
			return err
		}
		if g.axis != "owners" {
			if err := b.scaleRates(ctx, places[len(places)-1]); err != nil {
				return err
			}
		}
		if err := b.flush(ctx); err != nil {
			return err
		}
		if places, err = g.memory(ctx); err != nil {
			return err
		}
		called, err := b.grown(ctx, places, b.calledPlace)
		if err != nil {
			return err
		}
		if g.axis == "owners" {
			one, err := b.listOfOne(ctx, places)
			if err != nil {
				return err
			}
			called = append(called, one)
			first, last := one.Names[0], one.Names[len(one.Names)-1]
			b.report.atMost(1.5, one.ratio(last, first, value), "memory, list of one owner: with %s against %s", last, first)
		}
		b.showGrowth(s, g.axis, g.file+"-redis.svg", "Redis: µs of the server", served, value)
		b.showGrowth(s, g.axis, "", "Redis: µs at a caller", served, p50)
		b.showGrowth(s, g.axis, g.file+"-memory.svg", "In memory: µs", called, value)
	}
	return nil
}

// tasksOnRedis has one owner for each number of tasks, all in one database.
func (b *bench) tasksOnRedis(ctx context.Context) (places []place, err error) {
	c := b.client(dbGrowth)
	store, err := taskstore.NewRedisBackend(c, nil)
	if err != nil {
		return nil, err
	}
	for _, n := range b.GrowthTasks {
		full, err := taskstore.NewRedisBackend(c, &taskstore.RedisOptions{MaxRecordsPerOwner: n})
		if err != nil {
			return nil, err
		}
		places = append(places, place{recordsText(n), n, store, full, fmt.Sprint("owner-", n), n, newVersions()})
	}
	return places, b.populate(ctx, places)
}

func (b *bench) tasksInMemory(ctx context.Context) (places []place, err error) {
	store := taskstore.NewMemoryBackend(nil)
	for _, n := range b.GrowthTasks {
		places = append(places, place{recordsText(n), n, store, nil, fmt.Sprint("owner-", n), n, newVersions()})
	}
	return places, b.populate(ctx, places)
}

// ownersOnRedis has a database for each number of owners: they are apart then.
func (b *bench) ownersOnRedis(ctx context.Context) (places []place, err error) {
	for i, n := range b.GrowthOwners {
		store, err := taskstore.NewRedisBackend(b.client(dbOwners+i), nil)
		if err != nil {
			return nil, err
		}
		places = append(places, place{ownersText(n), n, store, nil, "", b.PerOwner, newVersions()})
		if err := b.settle(ctx, store, n); err != nil {
			return nil, err
		}
	}
	return places, nil
}

func (b *bench) ownersInMemory(ctx context.Context) (places []place, err error) {
	for _, n := range b.GrowthOwners {
		store := taskstore.NewMemoryBackend(nil)
		places = append(places, place{ownersText(n), n, store, nil, "", b.PerOwner, newVersions()})
		if err := b.settle(ctx, store, n); err != nil {
			return nil, err
		}
	}
	return places, nil
}

func ownersText(n int) string {
	if n == 1 {
		return "1 owner"
	}
	return countText(n) + " owners"
}

// populate gives the places' owners their tasks.
func (b *bench) populate(ctx context.Context, places []place) error {
	for _, p := range places {
		if err := put(ctx, p.store, p.tasks, func(i int) taskstore.Key { return taskstore.Key{Owner: p.owner, Task: taskName(i)} }); err != nil {
			return err
		}
	}
	return nil
}

// settle gives so many owners their tasks.
func (b *bench) settle(ctx context.Context, store taskstore.StorageBackend, owners int) error {
	return put(ctx, store, owners*b.PerOwner, func(i int) taskstore.Key {
		return taskstore.Key{Owner: fmt.Sprint("owner-", i/b.PerOwner), Task: taskName(i % b.PerOwner)}
	})
}

func put(ctx context.Context, store taskstore.StorageBackend, n int, key func(i int) taskstore.Key) error {
	v := grownValue()
	return fill(ctx, n, func(ctx context.Context, i int) error {
		_, err := store.PutIfVersion(ctx, key(i), v, 0)
		return err
	})
}

// grownValue is what all tasks have, before and after an update, so that it keeps
// their expiry.
func grownValue() taskstore.Value {
	return taskstore.Value{Data: payload(1 << 10), ExpiresAt: grownExpiry}
}

var grownExpiry = tomorrow()

// grown measures each work at all places.
func (b *bench) grown(ctx context.Context, places []place, sampled func(p place, work string) (Contestant, error)) (results []Result, err error) {
	for _, work := range growing {
		c := Contest{Name: work}
		for _, p := range places {
			if p.full == nil && work == refused || p.total() < b.Calls && work == "create" {
				continue
			}
			who, err := sampled(p, work)
			if err != nil {
				return nil, err
			}
			who.Name = p.name
			c.Contestants = append(c.Contestants, who)
		}
		if len(c.Contestants) == 0 {
			continue
		}
		r, err := b.contest(ctx, c)
		if err != nil {
			return nil, err
		}
		results = append(results, r)
	}
	return results, nil
}

// servedPlace measures a work by the server's time.
func (b *bench) servedPlace(p place, work string) (Contestant, error) {
	do, reset := p.work(work, b.Calls)
	who := Contestant{Reset: reset}
	onRedis, ok := p.store.(*taskstore.RedisBackend)
	if !ok {
		return who, errors.New("only Redis tells the server's time")
	}
	c := b.client(dbScratch)
	who.Sample = func(ctx context.Context) (Sample, error) {
		if _, err := onRedis.Now(ctx); err != nil { // not to be measured
			return Sample{}, err
		}
		return serverTime(ctx, c, b.Calls, do)
	}
	return who, nil
}

// calledPlace measures a work by what a call takes.
func (b *bench) calledPlace(p place, work string) (Contestant, error) {
	do, reset := p.work(work, b.Calls)
	return Contestant{Reset: reset, Sample: func(ctx context.Context) (Sample, error) {
		s, err := timed(func() error {
			for i := range b.Calls {
				if err := do(ctx, i); err != nil {
					return err
				}
			}
			return nil
		})
		s.Value *= 1e3 / float64(b.Calls)
		return s, err
	}}, nil
}

// listOfOne lists one and the same owner, whatever others there are.
func (b *bench) listOfOne(ctx context.Context, places []place) (Result, error) {
	c := Contest{Name: "list of one"}
	for _, p := range places {
		who := Contestant{Name: p.name, Sample: averaged(b.Calls, func(ctx context.Context) error {
			list, err := p.store.ListByPrefix(ctx, taskstore.Key{Owner: p.key(0).Owner})
			return counted(len(list), err)(p.tasks)
		})}
		ms := who.Sample
		who.Sample = func(ctx context.Context) (Sample, error) {
			s, err := ms(ctx)
			s.Value *= 1e3 // µs, as the others in its table
			return s, err
		}
		c.Contestants = append(c.Contestants, who)
	}
	return b.contest(ctx, c)
}

// work returns the i-th call of a work, and what takes n of them back.
func (p place) work(name string, n int) (do func(ctx context.Context, i int) error, reset func(context.Context) error) {
	more := func(i int) taskstore.Key {
		return taskstore.Key{Owner: p.key(i).Owner, Task: fmt.Sprint("more-", i)}
	}
	remove := func(ctx context.Context) error {
		return fill(ctx, n, func(ctx context.Context, i int) error { _, err := p.store.Delete(ctx, more(i)); return err })
	}
	v := grownValue()
	switch name {
	case "create":
		return func(ctx context.Context, i int) error {
			_, err := p.store.PutIfVersion(ctx, more(i), v, 0)
			return err
		}, remove
	case refused:
		return func(ctx context.Context, i int) error {
			_, err := p.full.PutIfVersion(ctx, more(i), v, 0)
			if !errors.Is(err, taskstore.ErrCapacityExceeded) {
				return fmt.Errorf("a create beyond the limit gives: %v", err)
			}
			return nil
		}, remove
	case "get":
		return func(ctx context.Context, _ int) error {
			_, err := p.store.Get(ctx, p.key(rand.IntN(1<<30)))
			return err
		}, nil
	case "update":
		return func(ctx context.Context, _ int) error { return p.update(ctx, p.key(rand.IntN(1<<30)), v) }, nil
	}
	pager, _ := taskstore.As[taskstore.Pager](p.store)
	return func(ctx context.Context, _ int) error {
		page, _, err := pager.ListPage(ctx, taskstore.Key{Owner: p.key(rand.IntN(1 << 30)).Owner}, "", pageSize)
		return counted(len(page), err)(min(p.tasks, pageSize))
	}, remove
}

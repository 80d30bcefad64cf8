package main

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/taskstore/taskstore"
	"github.com/taskstore/taskstore/bench/peers"
)

// expirySections has many tasks expire at one instant, and looks at who suffers
// and what stays behind.
func (b *bench) expirySections(ctx context.Context) error {
	s := b.report.section("Many tasks expire at once")
	s.text("%s tasks of 1 KiB, of 100 owners, expire at one instant. How long until the last is gone, what a read of another task takes "+
		"meanwhile, and how many index entries stay behind when nobody looks at those owners any more.\n", countText(b.Expiring))
	c := Contest{Name: "expiry", Rounds: b.SlowRounds, NoWarmup: true, Contestants: []Contestant{
		{Name: ours, Sample: func(ctx context.Context) (Sample, error) { return b.expireOurs(ctx) }},
		{Name: "model", Sample: func(ctx context.Context) (Sample, error) { return b.expireModel(ctx) }},
		{Name: oursInMemory, Sample: b.expireMemory},
	}}
	r, err := b.contest(ctx, c)
	if err != nil {
		return err
	}
	t := table{header: []string{"", "gone after, s", "reads meanwhile: p50 µs", "p99 µs", "index entries left"}}
	for _, name := range r.Names {
		left := figure(r.stat(name, extra).Median)
		if name == oursInMemory {
			left = "-"
		}
		t.row(name, withSpread(r.stat(name, value)), figure(r.stat(name, p50).Median), figure(r.stat(name, p99).Median), left)
	}
	s.table(t)
	return b.flush(ctx)
}

const expiringOwners = 100

func expiringOwner(i int) string { return fmt.Sprint("expiring-", i%expiringOwners) }

func (b *bench) expireOurs(ctx context.Context) (Sample, error) {
	c := b.client(dbOurs)
	store, err := taskstore.NewRedisBackend(c, nil)
	if err != nil {
		return Sample{}, err
	}
	now, err := store.Now(ctx)
	if err != nil {
		return Sample{}, err
	}
	at := now.Add(b.Notice)
	return b.expire(ctx, c, peers.TaskstoreExpiring(ours, store, at), at, func(owner string) []string {
		return []string{"taskstore:idx:{" + owner + "}", "taskstore:exp:{" + owner + "}"}
	})
}

func (b *bench) expireModel(ctx context.Context) (Sample, error) {
	at := time.Now().Add(b.Notice).Truncate(time.Second)
	c := b.client(dbModel)
	return b.expire(ctx, c, peers.ModelExpiring(c, at), at, func(owner string) []string {
		_, index := peers.ModelKeys(owner, "")
		return []string{index}
	})
}

// expire fills a database with tasks that expire at an instant, and reads another
// key from then on until all of them are gone.
func (b *bench) expire(ctx context.Context, c *redis.Client, p peers.Peer, at time.Time, indexes func(owner string) []string) (Sample, error) {
	if err := c.FlushDB(ctx).Err(); err != nil {
		return Sample{}, err
	}
	err := fill(ctx, b.Expiring, func(ctx context.Context, i int) error {
		_, err := p.Create(ctx, expiringOwner(i), taskName(i), payload(1<<10))
		return err
	})
	if err != nil {
		return Sample{}, err
	}
	if time.Until(at) < 0 {
		return Sample{}, errors.New("the tasks expired while they were created: this machine needs a longer notice")
	}
	if err := c.Set(ctx, "bystander", "x", 0).Err(); err != nil {
		return Sample{}, err
	}
	var keys []string
	for i := range min(expiringOwners, b.Expiring) {
		keys = append(keys, indexes(expiringOwner(i))...)
	}
	if err := pause(ctx, time.Until(at)); err != nil {
		return Sample{}, err
	}
	s, took, err := whileReading(ctx, c, func() error { return emptied(ctx, c, 1+len(keys), time.Minute) }, at)
	if err != nil {
		return Sample{}, err
	}
	// Indexes that end by themselves do so a moment later; others never do.
	const moment = 3 * time.Second
	if err := emptied(ctx, c, 1, moment); err != nil && !errors.Is(err, errStillThere) {
		return Sample{}, err
	}
	for _, key := range keys {
		n, err := c.ZCard(ctx, key).Result()
		if err != nil {
			return Sample{}, err
		}
		s.Extra += float64(n)
	}
	s.Value = took.Seconds()
	return s, nil
}

// whileReading reads a key over and over until wait returns, and tells how long
// after an instant that was.
func whileReading(ctx context.Context, c *redis.Client, wait func() error, since time.Time) (s Sample, took time.Duration, err error) {
	done := make(chan struct{})
	var waited error
	go func() {
		defer close(done)
		waited = wait()
		took = time.Since(since)
	}()
	s, err = load{callers: 1, until: done, every: 1}.run(ctx, func(ctx context.Context, _, _ int) error {
		return c.Get(ctx, "bystander").Err()
	})
	<-done
	return s, took, errors.Join(waited, err)
}

var errStillThere = errors.New("expired keys are still there")

// emptied waits until a database has no more than so many keys.
func emptied(ctx context.Context, c *redis.Client, keys int, limit time.Duration) error {
	for deadline := time.Now().Add(limit); ; {
		n, err := c.DBSize(ctx).Result()
		if err != nil || n <= int64(keys) {
			return err
		}
		if time.Now().After(deadline) {
			return fmt.Errorf("%w after %v: %d, not %d", errStillThere, limit, n, keys)
		}
		if err := pause(ctx, 5*time.Millisecond); err != nil {
			return err
		}
	}
}

// expireMemory reads another task while a MemoryBackend's tasks are reclaimed,
// which it is asked for as soon as they are over, so that it can be seen.
func (b *bench) expireMemory(ctx context.Context) (Sample, error) {
	store := taskstore.NewMemoryBackend(nil)
	at := time.Now().Add(b.Notice / 4).Truncate(time.Millisecond)
	p := peers.TaskstoreExpiring("", store, at)
	err := fill(ctx, b.Expiring, func(ctx context.Context, i int) error {
		_, err := p.Create(ctx, expiringOwner(i), taskName(i), payload(1<<10))
		return err
	})
	key := taskstore.Key{Owner: "bystander", Task: "task"}
	if _, putErr := store.Put(ctx, key, taskstore.Value{}); err != nil || putErr != nil {
		return Sample{}, errors.Join(err, putErr)
	}
	if err := pause(ctx, time.Until(at.Add(time.Millisecond))); err != nil {
		return Sample{}, err
	}
	done := make(chan struct{})
	var took time.Duration
	var cleaned error
	go func() {
		defer close(done)
		_, cleaned = store.CleanupExpired(ctx)
		took = time.Since(at)
	}()
	s, err := load{callers: 1, until: done, every: 1}.run(ctx, func(ctx context.Context, _, _ int) error {
		_, err := store.Get(ctx, key)
		return err
	})
	<-done
	s.Value = took.Seconds()
	return s, errors.Join(err, cleaned)
}

// pause waits, at most until ctx ends.
func pause(ctx context.Context, d time.Duration) error {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

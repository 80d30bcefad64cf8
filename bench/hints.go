package main

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/taskstore/taskstore"
)

// changesPerSecond is how fast a watched task is changed.
const changesPerSecond = 1000

const bare = "PUBLISH and SUBSCRIBE"

// hints measures the time from before a write until the watcher has its hint, in the same
// process. Bare is a message of the same size without a write, received by go-redis.
func (b *bench) hints(ctx context.Context, all []kept) error {
	s := b.sheet(sheet{file: "hints", keys: []string{"changes_per_s"}, reference: bare, columns: []column{
		{"p99_us", p99}, {"p50_us", p50}, {"changes_made_per_s", value}, {"hints_per_write", extra},
	}})
	c := Contest{Keys: []string{strconv.Itoa(changesPerSecond)}, Pinned: true, Contestants: []Contestant{{Name: bare, Sample: b.watchBare}}}
	for _, k := range all {
		c.Contestants = append(c.Contestants, Contestant{Name: k.Name, Sample: func(ctx context.Context) (Sample, error) {
			return b.watchStore(ctx, k.backend)
		}})
	}
	return b.contest(ctx, s, c)
}

// A trip is a turn of watching: the times at which changes were sent and at which they, or
// later ones in their stead, came.
type trip struct {
	sent []atomic.Int64
	came []atomic.Int64
	mu   sync.Mutex
	next int // the first change that is to come
	all  chan struct{}
	hits int
}

func (b *bench) trip() *trip {
	n := max(int(b.WatchFor.Seconds()*changesPerSecond), 10)
	return &trip{sent: make([]atomic.Int64, n), came: make([]atomic.Int64, n), all: make(chan struct{})}
}

// arrived notes that change n, and with it every earlier one, has come.
func (t *trip) arrived(n int) {
	now := time.Now().UnixNano()
	t.mu.Lock()
	defer t.mu.Unlock()
	if n < t.next || n >= len(t.came) {
		return // of another turn
	}
	t.hits++
	for ; t.next <= n; t.next++ {
		t.came[t.next].Store(now)
	}
	if t.next == len(t.came) {
		close(t.all)
	}
}

// measure has send make the changes, each at its time, and waits for the last.
func (t *trip) measure(ctx context.Context, send func(ctx context.Context, n int) error) (Sample, error) {
	ctx, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	start := time.Now()
	for n := range t.sent {
		at := start.Add(time.Duration(n) * time.Second / changesPerSecond)
		if err := pause(ctx, time.Until(at)); err != nil {
			return Sample{}, err
		}
		t.sent[n].Store(time.Now().UnixNano())
		if err := send(ctx, n); err != nil {
			return Sample{}, err
		}
	}
	rate := float64(len(t.sent)) / time.Since(start).Seconds()
	select {
	case <-t.all:
	case <-ctx.Done():
		t.mu.Lock()
		defer t.mu.Unlock()
		return Sample{}, fmt.Errorf("change %d of %d did not come: %w", t.next, len(t.sent), ctx.Err())
	}
	took := make([]float64, len(t.sent))
	for n := range took {
		took[n] = float64(t.came[n].Load()-t.sent[n].Load()) / 1e3
	}
	slices.Sort(took)
	t.mu.Lock()
	defer t.mu.Unlock()
	return Sample{Value: rate, P50: quantile(took, 0.5), P99: quantile(took, 0.99), Timed: len(took), Extra: float64(t.hits) / float64(len(took))}, nil
}

// watchStore watches a task that is put over and over.
func (b *bench) watchStore(ctx context.Context, store taskstore.StorageBackend) (Sample, error) {
	key := taskstore.Key{Owner: "watched", Task: "task"}
	if _, err := store.Delete(ctx, key); err != nil { // then versions start at 1
		return Sample{}, err
	}
	watcher, ok := taskstore.As[taskstore.Watcher](store)
	if !ok {
		return Sample{}, errors.New("the store cannot be watched")
	}
	watching, stop := context.WithCancel(ctx)
	t := b.trip()
	ready, ended := make(chan struct{}), make(chan error, 1)
	go func() {
		for change, err := range watcher.Watch(watching, key) {
			switch {
			case err != nil:
				ended <- err
				return
			case change.Resync:
				close(ready) // a second one would mean that hints were lost
			default:
				t.arrived(int(change.Version) - 1)
			}
		}
	}()
	select {
	case <-ready:
	case err := <-ended:
		stop()
		return Sample{}, err
	}
	v := taskstore.Value{Data: payload(1 << 10), ExpiresAt: time.Now().Add(time.Hour)}
	s, err := t.measure(ctx, func(ctx context.Context, _ int) error {
		_, err := store.Put(ctx, key, v)
		return err
	})
	stop()
	if end := <-ended; !errors.Is(end, context.Canceled) {
		err = errors.Join(err, end)
	}
	return s, err
}

// watchBare publishes the text of a hint, without a write.
func (b *bench) watchBare(ctx context.Context) (Sample, error) {
	c := b.client(dbScratch)
	const channel = "bare"
	sub := c.Subscribe(ctx, channel)
	if _, err := sub.Receive(ctx); err != nil { // it is in place
		return Sample{}, errors.Join(err, sub.Close())
	}
	t := b.trip()
	go func() {
		for {
			m, err := sub.ReceiveMessage(ctx)
			if err != nil {
				return
			}
			n, _ := strconv.Atoi(strings.TrimSuffix(m.Payload, " task"))
			t.arrived(n)
		}
	}()
	s, err := t.measure(ctx, func(ctx context.Context, n int) error {
		return c.Publish(ctx, channel, strconv.Itoa(n)+" task").Err()
	})
	return s, errors.Join(err, sub.Close())
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

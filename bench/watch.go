package main

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"github.com/nats-io/nats.go/jetstream"
	"github.com/taskstore/taskstore"
	"github.com/taskstore/taskstore/bench/peers"
)

// changesPerSecond is how fast a task is changed while somebody watches it.
const changesPerSecond = 1000

const bare = "PUBLISH and SUBSCRIBE"

// watchSections measures from before a write is sent until a watcher has it.
func (b *bench) watchSections(ctx context.Context) (err error) {
	s := b.report.section("Watching")
	s.text("A task of 1 KiB is changed %s times a second. Microseconds from before a write until the watcher, in the same process, is told. "+
		"The bare way is a PUBLISH of the same size of hint, received by go-redis, without a write.\n", countText(changesPerSecond))
	nats, kv, err := peers.NATS(ctx, true)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, nats.Close()) }()
	onRedis, err := taskstore.NewRedisBackend(b.client(dbOurs), nil)
	if err != nil {
		return err
	}
	c := Contest{Name: "watch", Contestants: []Contestant{
		{Name: bare, Sample: func(ctx context.Context) (Sample, error) { return b.watchBare(ctx) }},
		{Name: ours, Sample: func(ctx context.Context) (Sample, error) { return b.watchStore(ctx, onRedis) }},
		{Name: oursInMemory, Sample: func(ctx context.Context) (Sample, error) {
			return b.watchStore(ctx, taskstore.NewMemoryBackend(nil))
		}},
		{Name: nats.Name, Sample: func(ctx context.Context) (Sample, error) {
			w, err := kv.Watch(ctx, "watched", jetstream.UpdatesOnly())
			if err != nil {
				return Sample{}, err
			}
			t := b.trip()
			go func() {
				for e := range w.Updates() {
					if e != nil {
						n, _ := strconv.Atoi(string(e.Value()[:trim(e.Value())]))
						t.arrived(n)
					}
				}
			}()
			s, err := t.measure(ctx, func(ctx context.Context, n int) error {
				_, err := kv.Put(ctx, "watched", numbered(n))
				return err
			})
			return s, errors.Join(err, w.Stop())
		}},
	}}
	r, err := b.contest(ctx, c)
	if err != nil {
		return err
	}
	t := table{header: []string{"", "p50 µs", "p99 µs", "p99, times the bare", "changes/s", "hints for a write"}}
	for _, name := range r.Names {
		t.row(name, withSpread(r.stat(name, p50)), withSpread(r.stat(name, p99)), times(r.ratio(name, bare, p99).Median), figure(r.stat(name, value).Median), figure(r.stat(name, extra).Median))
	}
	s.table(t)
	b.report.atMost(1.5, r.ratio(ours, bare, p99), "watch, p99 at %s changes/s: of bare PUBLISH and SUBSCRIBE", countText(changesPerSecond))
	return b.flush(ctx)
}

// A trip is what a turn of watching notes: when each change was sent and when it,
// or a later one in its stead, came.
type trip struct {
	sent []atomic.Int64
	came []atomic.Int64
	mu   sync.Mutex
	next int // the first change that has not come
	all  chan struct{}
	hits int
}

func (b *bench) trip() *trip {
	n := max(int(b.WatchFor.Seconds()*changesPerSecond), 10)
	return &trip{sent: make([]atomic.Int64, n), came: make([]atomic.Int64, n), all: make(chan struct{})}
}

// arrived says that change n, and with it every earlier one, has come.
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

// watchBare publishes what a hint says, and nothing is written.
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
				return // what does not come is missed
			}
			n, _ := strconv.Atoi(m.Payload[:trim([]byte(m.Payload))])
			t.arrived(n)
		}
	}()
	s, err := t.measure(ctx, func(ctx context.Context, n int) error {
		return c.Publish(ctx, channel, strconv.Itoa(n)+" task").Err()
	})
	return s, errors.Join(err, sub.Close())
}

// numbered is a payload that starts with a number.
func numbered(n int) []byte { return append([]byte(strconv.Itoa(n)+" "), payload(1<<10)...) }

// trim returns where the number at the start of data ends.
func trim(data []byte) int {
	at := slices.Index(data, ' ')
	return max(at, 0)
}

package backendtest

import (
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"
	"time"

	"github.com/taskstore/taskstore"
)

// These backends are odd, and keep the contract.

func TestMemory(t *testing.T) {
	t.Parallel()
	Run(t, func(testing.TB) taskstore.StorageBackend { return taskstore.NewMemoryBackend(nil) }, &Hooks{
		OpenLimited: func(_ testing.TB, records, bytes int) taskstore.StorageBackend {
			return taskstore.NewMemoryBackend(&taskstore.MemoryOptions{MaxRecordsPerOwner: records, MaxDataBytes: bytes})
		},
	})
}

// runFake runs the suite over fakes that apply has altered.
func runFake(t *testing.T, apply func(f *fake)) {
	t.Helper()
	t.Parallel()
	open := func(records, bytes int) *fake {
		f := newFake(records, bytes)
		apply(f)
		return f
	}
	Run(t, func(testing.TB) taskstore.StorageBackend { return open(0, 0) }, hooksOf(open))
}

func TestFake(t *testing.T) { runFake(t, func(*fake) {}) }

// onEach calls before ahead of every method, and passes errors through after.
func onEach(f *fake, before func(), after func(error) error) {
	get, put, cas, del, list, page, watch, cleanup, now, ping := f.get, f.put, f.cas, f.del, f.list, f.page, f.watch, f.cleanup, f.now, f.ping
	batch := f.batch
	f.batch = func(ctx ctxt, writes []write) error {
		before()
		return after(batch(ctx, writes))
	}
	f.get = func(ctx ctxt, k key) (entry, error) {
		before()
		r, err := get(ctx, k)
		return r, after(err)
	}
	f.put = func(ctx ctxt, k key, v value) (version, error) {
		before()
		made, err := put(ctx, k, v)
		return made, after(err)
	}
	f.cas = func(ctx ctxt, k key, v value, e version) (version, error) {
		before()
		made, err := cas(ctx, k, v, e)
		return made, after(err)
	}
	f.del = func(ctx ctxt, k key) (bool, error) {
		before()
		existed, err := del(ctx, k)
		return existed, after(err)
	}
	f.list = func(ctx ctxt, k key) ([]entry, error) {
		before()
		records, err := list(ctx, k)
		return records, after(err)
	}
	f.page = func(ctx ctxt, k key, cursor string, limit int) ([]entry, string, error) {
		before()
		records, next, err := page(ctx, k, cursor, limit)
		return records, next, after(err)
	}
	f.watch = func(ctx ctxt, k key) seq {
		return func(yield func(change, error) bool) {
			for c, err := range watch(ctx, k) {
				before()
				if !yield(c, after(err)) {
					return
				}
			}
		}
	}
	f.cleanup = func(ctx ctxt) (int, error) {
		before()
		n, err := cleanup(ctx)
		return n, after(err)
	}
	f.now = func(ctx ctxt) (time.Time, error) {
		before()
		at, err := now(ctx)
		return at, after(err)
	}
	f.ping = func(ctx ctxt) error {
		before()
		return after(ping(ctx))
	}
}

func TestSlow(t *testing.T) {
	runFake(t, func(f *fake) {
		onEach(f, func() {
			if rand.N(10) == 0 {
				time.Sleep(rand.N(500 * time.Microsecond))
			}
		}, func(err error) error { return err })
	})
}

func TestWrappedErrors(t *testing.T) {
	runFake(t, func(f *fake) {
		onEach(f, func() {}, func(err error) error {
			if err != nil {
				err = fmt.Errorf("odd backend, call %d: %w", rand.N(10), err)
			}
			return err
		})
	})
}

func TestShortAndEmptyPages(t *testing.T) {
	runFake(t, func(f *fake) {
		f.page = func(ctx ctxt, prefix key, cursor string, limit int) ([]entry, string, error) {
			inner, empty := strings.CutPrefix(cursor, "+")
			page, next, err := f.m.ListPage(ctx, prefix, inner, max(min(limit, 1), min(limit, 1+limit/2)))
			if err == nil && !empty {
				return nil, "+" + cursor, nil
			}
			return page, next, err
		}
	})
}

func TestMergedHints(t *testing.T) {
	runFake(t, func(f *fake) {
		f.watch = func(ctx ctxt, prefix key) seq {
			return func(yield func(change, error) bool) {
				for c, err := range f.rewatch(ctx, prefix) {
					if err == nil && rand.N(3) == 0 {
						if !yield(change{Key: prefix, Resync: true}, nil) {
							return
						}
					}
					time.Sleep(rand.N(2 * time.Millisecond)) // more to merge
					if err == nil && ctx.Err() != nil {
						continue // to the error of ctx
					}
					if !yield(c, err) {
						return
					}
				}
			}
		}
	})
}

// TestBare is for a backend without any optional power.
func TestBare(t *testing.T) {
	t.Parallel()
	Run(t, func(testing.TB) taskstore.StorageBackend {
		return struct{ taskstore.StorageBackend }{taskstore.NewMemoryBackend(nil)}
	}, nil)
}

type decorator struct{ taskstore.StorageBackend }

func (d decorator) Unwrap() taskstore.StorageBackend { return d.StorageBackend }

func TestDecorated(t *testing.T) {
	t.Parallel()
	Run(t, func(testing.TB) taskstore.StorageBackend { return decorator{decorator{newFake(0, 0)}} }, hooksOf(newFake))
}

// TestOneForAll has all rules share one backend.
func TestOneForAll(t *testing.T) {
	t.Parallel()
	shared := newFake(0, 0)
	Run(t, func(testing.TB) taskstore.StorageBackend { return shared }, hooksOf(newFake))
}

// stepwise makes batches as taskstore.PutBatch does over a backend that is no Batcher.
type stepwise struct {
	taskstore.StorageBackend
	taskstore.Pager
	taskstore.Watcher
	taskstore.Clock
	six taskstore.StorageBackend // without other powers
}

func (s stepwise) PutBatch(ctx ctxt, writes []write) error {
	return taskstore.PutBatch(ctx, s.six, writes)
}

// TestStepwise is for PutBatch over a backend that is no Batcher: it keeps the rules of
// batches that run alone and are refused for the records that they find at their begin.
func TestStepwise(t *testing.T) {
	t.Parallel()
	open := func(records, bytes int) taskstore.StorageBackend {
		m := taskstore.NewMemoryBackend(&taskstore.MemoryOptions{MaxRecordsPerOwner: records, MaxDataBytes: bytes})
		return stepwise{m, m, m, m, struct{ taskstore.StorageBackend }{m}}
	}
	hooks := &Hooks{OpenLimited: func(_ testing.TB, records, bytes int) taskstore.StorageBackend { return open(records, bytes) }}
	for _, r := range rules() {
		// The others hold more than PutBatch promises then: it makes the first write last.
		if strings.HasPrefix(r.name, "batch/") && r.name != "batch/order" || r.name == "batch-races/unseen" {
			t.Run(r.name, func(t *testing.T) {
				t.Parallel()
				r.run(newTrial(t, t, func(testing.TB) taskstore.StorageBackend { return open(0, 0) }, hooks))
			})
		}
	}
}

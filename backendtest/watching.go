package backendtest

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/taskstore/taskstore"
)

// A watching is a running loop over Watch that keeps the changes that it sees.
type watching struct {
	s      *store
	cancel context.CancelFunc
	ended  chan struct{}
	gate   sync.Mutex  // held by a rule that wants the loop to wait
	waits  atomic.Bool // at the gate

	mu      sync.Mutex
	changes []taskstore.Change
	err     error
}

// watch starts a watch and waits until its first Change is there.
func (s *store) watch(prefix taskstore.Key) *watching {
	s.Helper()
	watcher := power[taskstore.Watcher](s, "Watcher")
	ctx, cancel := context.WithCancel(s.ctx)
	w := &watching{s: s, cancel: cancel, ended: make(chan struct{})}
	go func() {
		defer close(w.ended)
		for c, err := range watcher.Watch(ctx, prefix) {
			w.mu.Lock()
			if err != nil {
				w.err = err
			} else {
				w.changes = append(w.changes, c)
			}
			w.mu.Unlock()
			w.pass()
		}
	}()
	s.Cleanup(cancel)
	s.eventually("the watch yields its first Change", func() bool {
		select {
		case <-w.ended:
			s.Fatalf("the watch ended at once, with error %v", w.failure())
		default:
		}
		return len(w.seen()) > 0
	})
	return w
}

// pass waits while the rule holds the gate.
func (w *watching) pass() {
	if !w.gate.TryLock() {
		w.waits.Store(true)
		w.gate.Lock()
		w.waits.Store(false)
	}
	w.gate.Unlock()
}

// stop ends the watch and waits until it has ended.
func (w *watching) stop() {
	w.s.Helper()
	w.cancel()
	select {
	case <-w.ended:
	case <-time.After(w.s.waitLimit):
		w.s.Errorf("the watch did not end with its ctx within %v", w.s.waitLimit)
	}
}

func (w *watching) seen() []taskstore.Change {
	w.mu.Lock()
	defer w.mu.Unlock()
	return slices.Clone(w.changes)
}

func (w *watching) failure() error {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.err
}

// await waits until tells is true of one of the changes after the first n.
func (w *watching) await(what string, n int, tells func(taskstore.Change) bool) {
	w.s.Helper()
	w.s.eventually(what, func() bool {
		if err := w.failure(); err != nil {
			w.s.Fatalf("the watch ended: %v", err)
		}
		return slices.ContainsFunc(w.seen()[n:], tells)
	})
}

// wantHint checks that write, which returns the version that it made, is hinted:
// by a hint with at least that version or, for 0, by one that says so, or by a
// Resync.
func (w *watching) wantHint(what string, key taskstore.Key, write func() taskstore.Version) {
	w.s.Helper()
	n := len(w.seen())
	version := write()
	w.await(fmt.Sprintf("%s is hinted with version %d", what, version), n, func(c taskstore.Change) bool {
		return c.Resync || c.Key == key && (c.Version == version || version > 0 && c.Version > version)
	})
}

var watchRules = []rule{
	{
		name: "watch/first",
		text: "The first Change is always a Resync, whose Key is the prefix being watched.",
		check: func(t *trial) {
			s := t.open()
			key := newKey()
			s.mustPut(key, text("x"))
			for _, prefix := range []taskstore.Key{of(key.Owner, ""), of(key.Owner, "ta"), key, newKey()} {
				w := s.watch(prefix)
				if first := w.seen()[0]; first != (taskstore.Change{Key: prefix, Resync: true}) {
					t.Errorf("the first Change: own key %t, version %d, Resync %t; want true, 0, true", first.Key == prefix, first.Version, first.Resync)
				}
				w.stop()
			}
		},
	},
	{
		name: "watch/hints",
		text: "A write that starts after the first Resync is hinted, with the record's version after it, 0 if it is gone.",
		check: func(t *trial) {
			s := t.open()
			key := newKey()
			w := s.watch(of(key.Owner, ""))
			defer w.stop()
			hour, past := s.now().Add(time.Hour), s.now().Add(-2*time.Second)
			put := func(v taskstore.Value) func() taskstore.Version {
				return func() taskstore.Version { return s.mustPut(key, v) }
			}
			cas := func(v taskstore.Value, expected taskstore.Version) func() taskstore.Version {
				return func() taskstore.Version { return s.mustCAS(key, v, expected) }
			}
			gone := func(write func()) func() taskstore.Version {
				return func() taskstore.Version { write(); return 0 }
			}
			remove := gone(func() { s.mustDelete(key) })
			w.wantHint("a Put that creates", key, put(text("1")))
			w.wantHint("a Put that updates", key, put(text("2")))
			w.wantHint("a Put that only sets an expiry", key, put(until("2", hour)))
			w.wantHint("a PutIfVersion that updates", key, cas(text("4"), 3))
			w.wantHint("a Delete", key, remove)
			w.wantHint("a PutIfVersion that creates", key, cas(text("1"), 0))
			w.wantHint("a PutIfVersion with a past expiry", key, gone(func() { s.mustCAS(key, until("2", past), 1) }))
			w.wantHint("a PutIfVersion that creates again", key, cas(text("1"), 0))
			w.wantHint("a Put with a past expiry", key, gone(func() { s.mustPut(key, until("2", past)) }))
			w.wantHint("a Put that creates again", key, put(text("1")))
			w.wantHint("a Delete", key, remove)
			if err := w.failure(); err != nil {
				t.Errorf("the watch ended: %v", err)
			}
		},
	},
	{
		name: "watch/keys",
		text: "A hint names its record, whatever bytes owner and task have.",
		check: func(t *trial) {
			s := t.open()
			for _, owner := range similar(newOwner())[:20] {
				w := s.watch(of(owner, ""))
				for _, task := range []string{"a:b", "\x00", "\xff\xfe", "{}", "\n", "*", " ", padded("k", taskstore.MaxKeyLength)} {
					key := of(owner, task)
					w.wantHint(fmt.Sprintf("a Put of task %q", clip(task)), key, func() taskstore.Version { return s.mustPut(key, text("x")) })
				}
				w.stop()
			}
		},
	},
	{
		name: "watch/prefix",
		text: "Watch yields hints about the records that ListByPrefix would list, and about no others.",
		check: func(t *trial) {
			s := t.open()
			owner := newOwner()
			w := s.watch(of(owner, "run:"))
			defer w.stop()
			inside := of(owner, "run:1")
			for _, outside := range []string{"run", "job:1", "RUN:1", "xrun:1", "r"} {
				s.mustPut(of(owner, outside), text("x"))
				s.mustDelete(of(owner, outside))
			}
			w.wantHint("a Put inside the prefix", inside, func() taskstore.Version { return s.mustPut(inside, text("x")) })
			for _, c := range w.seen() {
				if c.Resync && c.Key != of(owner, "run:") || !c.Resync && c.Key != inside {
					t.Errorf("a change of %q, %q; Resync %t", clip(c.Key.Owner), clip(c.Key.Task), c.Resync)
				}
			}
		},
	},
	{
		name: "watch/several",
		text: "Each of several watches of one owner gets every hint, and goes on when another ends.",
		check: func(t *trial) {
			s := t.open()
			key := newKey()
			prefixes := []string{"", "", "ta", key.Task}
			var all []*watching
			for _, prefix := range prefixes {
				all = append(all, s.watch(of(key.Owner, prefix)))
			}
			for len(all) > 0 {
				var seen []int
				for _, w := range all {
					seen = append(seen, len(w.seen()))
				}
				version := s.mustPut(key, text("x"))
				for i, w := range all {
					w.await("the Put is hinted to each watch", seen[i], func(c taskstore.Change) bool {
						return c.Resync || c.Key == key && c.Version == version
					})
				}
				all[0].stop()
				all = all[1:]
			}
		},
	},
	{
		name:  "watch/latest",
		text:  "Hints of one record may be merged into the latest: the last hint shows the record as it is.",
		check: checkLatestHint,
	},
	{
		name:  "watch/slow",
		text:  "A reader that is slow holds up no writer. When it goes on, hints or a Resync tell it of every record that has changed.",
		check: checkSlowReader,
	},
}

func checkLatestHint(t *trial) {
	s := t.open()
	key := newKey()
	w := s.watch(of(key.Owner, ""))
	defer w.stop()
	for round := range 5 {
		n := len(w.seen())
		atOnce(4, func(writer int) {
			for i := range 10 {
				var err error
				if (writer+i)%5 == 0 {
					_, err = s.Delete(t.ctx, key)
				} else {
					_, err = s.Put(t.ctx, key, text("x"))
				}
				if err != nil {
					t.Errorf("write: %v", err)
				}
			}
		})
		if round%2 == 0 {
			s.mustDelete(key)
		}
		var version taskstore.Version
		if r, err := s.Get(t.ctx, key); err == nil {
			version = r.Version
		}
		s.eventually(fmt.Sprintf("the last hint says version %d", version), func() bool {
			seen := w.seen()
			last := seen[len(seen)-1]
			return len(seen) > n && (last.Resync || last.Key == key && last.Version == version)
		})
	}
}

func checkSlowReader(t *trial) {
	s := t.open()
	owner := newOwner()
	w := s.watch(of(owner, ""))
	defer w.stop()
	w.gate.Lock()
	open := sync.OnceFunc(w.gate.Unlock)
	defer open()

	// Only changes after this one can be about the writes that follow.
	s.mustPut(of(owner, "before"), text("x"))
	s.eventually("the Put is hinted", w.waits.Load)
	n := len(w.seen())

	// More than any sensible backend keeps for a reader.
	const writers, each = 4, 800
	missing := make(map[string]bool)
	for i := range writers * each {
		missing[fmt.Sprint(i)] = true
	}
	atOnce(writers, func(writer int) {
		for i := range each {
			ctx, cancel := context.WithTimeout(t.ctx, t.waitLimit)
			_, err := s.Put(ctx, of(owner, fmt.Sprint(writer*each+i)), text("x"))
			cancel()
			if err != nil {
				t.Errorf("Put while a watch is not read: %v", err)
				return
			}
		}
	})
	if t.Failed() {
		return
	}
	open()
	s.eventually("every write is hinted, or a Resync comes", func() bool {
		seen := w.seen()
		for ; n < len(seen); n++ {
			if seen[n].Resync {
				return true
			}
			delete(missing, seen[n].Key.Task)
		}
		return len(missing) == 0
	})
	// The watch continues normally.
	key := of(owner, "afterwards")
	w.wantHint("a Put afterwards", key, func() taskstore.Version { return s.mustPut(key, text("x")) })
}

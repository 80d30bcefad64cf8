package backendtest

import (
	"errors"
	"sync/atomic"
	"time"

	"github.com/taskstore/taskstore"
)

var reconnectRules = []rule{
	{
		name: "reconnect/watch",
		text: "A lost connection is not an error; the watch reconnects and says Resync, and later writes are hinted.",
		check: func(t *trial) {
			s := t.cuttable()
			key := newKey()
			w := s.watch(of(key.Owner, ""))
			defer w.stop()
			for range 3 {
				n := len(w.seen())
				t.cut(s.StorageBackend)
				w.await("a Resync comes after a lost connection", n, func(c taskstore.Change) bool { return c.Resync })
				w.wantHint("a Put after a lost connection", key, func() taskstore.Version { return s.retryPut(key) })
			}
		},
	},
	{
		name: "reconnect/records",
		text: "A lost connection loses no record, and no method needs more than another try.",
		check: func(t *trial) {
			s := t.cuttable()
			owner, tasks := s.fill(5)
			t.cut(s.StorageBackend)
			s.retryPut(newKey())
			s.wantTasks("list", s.mustList(of(owner, "")), owner, tasks...)
			s.wantRecord(of(owner, "task-3"), 1, text("task-3"))
		},
	},
	{
		name:  "reconnect/exactly-once",
		text:  "A call that fails changes no record, unless its error matches ErrOutcomeUnknown; one that succeeds is applied once, also when connections are lost, unless another caller writes or deletes the record meanwhile.",
		check: checkExactlyOnce,
	},
}

// cuttable opens a backend whose connections can be cut.
func (t *trial) cuttable() *store {
	t.Helper()
	if t.cut == nil {
		t.skip("Hooks.Break is nil")
	}
	return t.open()
}

// retryPut retries a Put until it succeeds.
func (s *store) retryPut(key taskstore.Key) (version taskstore.Version) {
	s.Helper()
	s.eventually("a Put succeeds after a lost connection", func() bool {
		var err error
		version, err = s.Put(s.ctx, key, text("x"))
		return err == nil
	})
	return version
}

func checkExactlyOnce(t *trial) {
	s := t.cuttable()
	const writers, cuts, enough = 4, 10, 100
	keys := make([]taskstore.Key, writers)
	tallies := make([]tally, writers)
	var cutting atomic.Bool
	cutting.Store(true)
	finished := make(chan struct{})
	go func() {
		defer close(finished)
		atOnce(writers, func(i int) {
			keys[i] = newKey()
			v := text("written by " + keys[i].Owner)
			for (cutting.Load() || tallies[i].succeeded.Load() < enough) && t.ctx.Err() == nil {
				if i%2 == 0 {
					_, err := s.Put(t.ctx, keys[i], v)
					_ = tallies[i].count(err)
					continue
				}
				// This is the record's only writer, so a conflict follows only a write
				// whose outcome is unknown.
				r, err := s.Get(t.ctx, keys[i])
				if err != nil && !isNotFound(err) {
					continue
				}
				_, err = s.PutIfVersion(t.ctx, keys[i], v, r.Version)
				if tallies[i].count(err); isConflict(err) && tallies[i].unknown.Load() == 0 {
					t.Errorf("a PutIfVersion without competitors: %v", err)
					return
				}
			}
		})
	}()
	defer func() { // a test must not report after it has ended
		cutting.Store(false)
		<-finished
	}()
	for range cuts {
		select { // while they work
		case <-finished:
		case <-time.After(5 * time.Millisecond):
		}
		t.cut(s.StorageBackend)
	}
	cutting.Store(false)
	<-finished
	s.retryPut(newKey())
	for i, key := range keys {
		s.wantTally(key, &tallies[i])
	}
}

func isNotFound(err error) bool { return errors.Is(err, taskstore.ErrNotFound) }
func isConflict(err error) bool { return errors.Is(err, taskstore.ErrVersionConflict) }

package backendtest

import (
	"sync/atomic"
	"time"

	"github.com/taskstore/taskstore"
)

// These rules about batches belong to the areas reconnect and reopen.

var reconnectBatchRules = []rule{{
	name: "reconnect/batch",
	text: "A batch whose answer is lost with its connection is made as a whole or not at all, and once; its records tell by the first one's version.",
	check: func(t *trial) {
		s := t.cuttable().batching()
		w := s.startBatches()
		defer w.end()
		for range 10 {
			select { // while they work
			case <-w.finished:
			case <-time.After(5 * time.Millisecond):
			}
			t.cut(s.StorageBackend)
		}
		w.end()
		s.retryPut(newKey())
		w.wantWhole(s.store)
	},
}}

var reopenBatchRules = []rule{{
	name: "reopen/batch",
	text: "A batch that was acknowledged is there when the store is opened again, and one that was under way is there as a whole or not at all.",
	check: func(t *trial) {
		s := t.lasting()
		for range 5 {
			w := s.startBatches()
			s.underWay(&w.tallies[0], 20, w.finished)
			s.reopen()
			w.end()
			w.wantWhole(s.store)
			if t.Failed() {
				return
			}
		}
	},
}}

// batchWriters make batches, each of an owner of its own, until the rule ends them or a
// batch cannot be made.
type batchWriters struct {
	tallies  [4]tally
	keys     [4][]taskstore.Key
	ended    atomic.Bool
	finished chan struct{}
}

func (s *store) startBatches() *batchWriters {
	s.Helper()
	b, batcher := s.StorageBackend, s.batching().batcher
	w := &batchWriters{finished: make(chan struct{})}
	for i := range w.keys {
		w.keys[i] = twenty()[:3]
	}
	go func() {
		defer close(w.finished)
		atOnce(len(w.keys), func(i int) {
			k, v := w.keys[i], text("written by "+w.keys[i][0].Owner)
			version := taskstore.Version(0)
			for !w.ended.Load() && s.ctx.Err() == nil {
				err := batcher.PutBatch(s.ctx, []taskstore.Write{at(version, k[0], v), whatever(k[1], v), whatever(k[2], v)})
				if w.tallies[i].count(err) == nil {
					version++
					continue
				}
				if isConflict(err) && w.tallies[i].unknown.Load() == 0 {
					s.Errorf("a batch without competitors: %v", err)
					return
				}
				r, err := b.Get(s.ctx, k[0])
				if err != nil && !isNotFound(err) {
					continue
				}
				version = r.Version
			}
		})
	}()
	return w
}

// end waits until no batch is under way. A test must not report after it has ended.
func (w *batchWriters) end() {
	w.ended.Store(true)
	<-w.finished
}

// wantWhole checks that the batches of each writer have made all their records alike.
func (w *batchWriters) wantWhole(s *store) {
	s.Helper()
	for i, keys := range w.keys {
		s.wantTally(keys[0], &w.tallies[i])
		first, err := s.Get(s.ctx, keys[0])
		if isNotFound(err) {
			continue // wantTally has checked this writer
		}
		if err != nil {
			s.Errorf("Get: %v", err)
		}
		for _, key := range keys[1:] {
			s.wantRecord(key, first.Version, first.Value)
		}
	}
}

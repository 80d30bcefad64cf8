package backendtest

import (
	"errors"
	"fmt"
	"strconv"
	"sync/atomic"
	"time"

	"github.com/taskstore/taskstore"
)

var batchRaceRules = []rule{
	{
		name:  "batch-races/whole",
		text:  "A batch happens at one instant: a call that begins after some call has seen one of the writes sees all of them, or later writes.",
		check: checkWholeBatches,
	},
	{
		name:  "batch-races/moved",
		text:  "A batch happens at one instant: a call that begins after a call has found a record removed by a batch sees the batch's creates.",
		check: checkMoves,
	},
	{
		name:  "batch-races/unseen",
		text:  "If one write of a batch is refused, the records stay as they are: no reader sees another of its writes at any instant.",
		check: checkUnseen,
	},
	{
		name: "batch-races/update",
		text: "Of any number of concurrent batches with one expected version of a record exactly one succeeds, and it as a whole.",
		check: func(t *trial) {
			s := t.batching()
			k := twenty()
			for v := range taskstore.Version(8) {
				s.raceBatches(v, func(i int) []taskstore.Write {
					mine := text(fmt.Sprint("by ", i))
					return []taskstore.Write{at(v, k[0], mine), whatever(k[1], mine), whatever(k[3], mine)}
				}, k[0], k[1], k[3])
			}
		},
	},
	{
		name: "batch-races/crossing",
		text: "Of concurrent batches that name the same records in different orders one succeeds, and all of them end.",
		check: func(t *trial) {
			s := t.batching()
			k := twenty()
			for v := range taskstore.Version(8) {
				s.raceBatches(v, func(i int) []taskstore.Write {
					mine := text(fmt.Sprint("by ", i))
					writes := []taskstore.Write{at(v, k[0], mine), at(v, k[1], mine), at(v, k[3], mine)}
					return append(writes[i%3:], writes[:i%3]...)
				}, k[0], k[1], k[3])
			}
		},
	},
	{
		name: "batch-races/limit",
		text: "The limit of records holds however many batches come at once.",
		check: func(t *trial) {
			const most, racers, each = 7, 16, 2
			s := t.limited(most, 0).batching()
			for range 5 {
				owner := newOwner()
				var made atomic.Int32
				atOnce(racers, func(i int) {
					err := s.batch(at(0, of(owner, fmt.Sprint(i)), text("x")), at(0, in(owner, "one", fmt.Sprint(i)), text("x")), whatever(of(owner, fmt.Sprint(i, "+")), text("x")))
					if err == nil {
						made.Add(1)
						return
					}
					s.wantCapacity("PutBatch", err, taskstore.LimitRecords, most)
				})
				if n := made.Load(); n != most/each {
					t.Errorf("%d of %d concurrent batches of %d creates succeed at a limit of %d, want %d", n, racers, each, most, most/each)
				}
				if n := len(s.mustList(of(owner, ""))); n != most/each*each {
					t.Errorf("list: %d records, want %d", n, most/each*each)
				}
				if n := len(s.mustList(in(owner, "one", ""))); n != most/each {
					t.Errorf("list of the other collection: %d records, want %d", n, most/each)
				}
			}
		},
	},
}

// raceBatches checks that exactly one of several batches wins, and that its writes stay.
func (s batching) raceBatches(expected taskstore.Version, batch func(i int) []taskstore.Write, keys ...taskstore.Key) {
	s.Helper()
	const n = 9
	var winners, winner atomic.Int32
	atOnce(n, func(i int) {
		err := s.batch(batch(i)...)
		if err == nil {
			winners.Add(1)
			winner.Store(int32(i))
			return
		}
		var conflict *taskstore.VersionConflictError
		if inner := s.wantRefused("a batch that lost", err, 0); !errors.As(inner, &conflict) || conflict.Expected != expected || conflict.Actual != expected+1 {
			s.Errorf("a batch that lost: error %v, want a conflict that expected version %d and found %d", err, expected, expected+1)
		}
	})
	if got := winners.Load(); got != 1 {
		s.Fatalf("%d of %d concurrent batches with expected %d succeed, want 1", got, n, expected)
	}
	for _, key := range keys {
		s.wantRecord(key, expected+1, text(fmt.Sprint("by ", winner.Load())))
	}
}

// Readers read this many batches, for this long: in a fast backend a reader rarely sees
// that a batch is made in steps.
const (
	batchRounds = 150
	batchTime   = 200 * time.Millisecond
)

// number reads the number that a record holds, 0 if the record is absent.
func (s *store) number(key taskstore.Key) int {
	s.Helper()
	r, err := s.Get(s.ctx, key)
	if isNotFound(err) {
		return 0
	}
	n, parsed := strconv.Atoi(string(r.Data))
	if err != nil || parsed != nil {
		s.Errorf("Get: data %q, error %v", clip(string(r.Data)), err)
	}
	return n
}

// listed is number by means of a list.
func (s *store) listed(key taskstore.Key) int {
	s.Helper()
	records, err := s.ListByPrefix(s.ctx, key)
	if err != nil {
		s.Errorf("ListByPrefix: %v", err)
	}
	for _, r := range records {
		if n, err := strconv.Atoi(string(r.Data)); err == nil && r.Key == key {
			return n
		}
	}
	return 0
}

// beside calls write repeatedly while several readers call read.
func (s batching) beside(write func(round int) error, read func()) {
	s.Helper()
	var ended atomic.Bool
	atOnce(5, func(i int) {
		if i > 0 {
			for !ended.Load() && !s.Failed() && s.ctx.Err() == nil {
				read()
			}
			return
		}
		defer ended.Store(true)
		start := time.Now()
		for round := 1; (round <= batchRounds || time.Since(start) < batchTime) && !s.Failed(); round++ {
			if err := write(round); err != nil {
				s.Errorf("PutBatch: %v", err)
				return
			}
		}
	})
}

func checkWholeBatches(t *trial) {
	s := t.batching()
	k := twenty()
	a, b, c := k[0], k[3], k[1]
	ordered := func(first, later taskstore.Key, one, two func(taskstore.Key) int) {
		if n := one(first); two(later) < n {
			t.Errorf("a call saw the batch %d, and one after it another record as it was before", n)
		}
	}
	s.beside(func(round int) error {
		v := text(fmt.Sprint(round))
		return s.batch(at(taskstore.Version(round-1), a, v), whatever(b, v), whatever(c, v))
	}, func() {
		ordered(a, c, s.number, s.number)
		ordered(c, a, s.number, s.number)
		ordered(b, c, s.number, s.listed)
		ordered(c, b, s.listed, s.number)
		ordered(b, a, s.listed, s.listed)
		ordered(a, b, s.listed, s.number)
	})
}

func checkMoves(t *trial) {
	s := t.batching()
	owner := newOwner()
	gone := until("", s.now().Add(-2*time.Second))
	from := func(i int) taskstore.Key { return of(owner, fmt.Sprint(i)) }
	to := func(i int) taskstore.Key { return in(owner, "moved", fmt.Sprint(i)) }
	var moving atomic.Int64
	s.beside(func(round int) error {
		v := text(fmt.Sprint(round))
		if _, err := s.Put(t.ctx, from(round), v); err != nil {
			return err
		}
		moving.Store(int64(round))
		if round%2 == 0 {
			return s.batch(at(1, from(round), gone), at(0, to(round), v))
		}
		return s.batch(at(0, to(round), v), at(1, from(round), gone))
	}, func() {
		i := int(moving.Load())
		if i > 0 && s.number(from(i)) == 0 && s.number(to(i)) != i {
			t.Errorf("a record is removed, and the create of the same batch is missing")
		}
	})
}

func checkUnseen(t *trial) {
	s := t.batching()
	k := twenty()
	s.mustPut(k[0], text("1"))
	s.mustPut(k[6], text("1"))
	s.beside(func(round int) error {
		err := s.batch(at(1, k[0], text("2")), at(0, k[3], text("2")), whatever(k[6], until("2", time.UnixMilli(1))), at(5, k[9], text("2")))
		if !isConflict(err) {
			return fmt.Errorf("error %w, want a conflict", err)
		}
		return nil
	}, func() {
		if n := s.number(k[0]); n != 1 {
			t.Errorf("an update of a refused batch is seen")
		}
		if n := s.number(k[3]); n != 0 {
			t.Errorf("a create of a refused batch is seen")
		}
		if n := s.listed(k[6]); n != 1 {
			t.Errorf("a removal of a refused batch is seen")
		}
	})
	s.wantRecord(k[0], 1, text("1"))
	s.wantRecord(k[6], 1, text("1"))
}

package backendtest

import (
	"bytes"
	"errors"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/taskstore/taskstore"
)

// onBatch makes PutBatch make other writes.
func onBatch(alter func(f *fake, ctx ctxt, writes []write) []write) func(f *fake) {
	return func(f *fake) {
		f.batch = func(ctx ctxt, writes []write) error {
			return f.m.PutBatch(ctx, alter(f, ctx, slices.Clone(writes)))
		}
	}
}

// onWrites alters the writes one by one.
func onWrites(alter func(f *fake, ctx ctxt, w *write)) func(f *fake) {
	return onBatch(func(f *fake, ctx ctxt, writes []write) []write {
		for i := range writes {
			alter(f, ctx, &writes[i])
		}
		return writes
	})
}

// onRefusal makes PutBatch refuse with another error.
func onRefusal(alter func(writes []write, refused *taskstore.BatchError) error) func(f *fake) {
	return func(f *fake) {
		f.batch = func(ctx ctxt, writes []write) error {
			err := f.m.PutBatch(ctx, writes)
			if refused, ok := err.(*taskstore.BatchError); ok {
				return alter(writes, refused)
			}
			return err
		}
	}
}

// takes makes PutBatch accept writes that it should refuse, as several legal batches.
func takes(split func(f *fake, ctx ctxt, writes []write) [][]write) func(f *fake) {
	return func(f *fake) {
		f.batch = func(ctx ctxt, writes []write) error {
			for _, legal := range split(f, ctx, slices.Clone(writes)) {
				if err := f.m.PutBatch(ctx, legal); err != nil {
					return err
				}
			}
			return nil
		}
	}
}

// one makes a write by itself.
func (f *fake) one(ctx ctxt, w write) error {
	ctx = taskstore.WithRecordLimit(ctx, w.RecordLimit(ctx, f.records))
	var err error
	if w.Expected == taskstore.AnyVersion {
		_, err = f.m.Put(ctx, w.Key, w.Value)
	} else {
		_, err = f.m.PutIfVersion(ctx, w.Key, w.Value, w.Expected)
	}
	return err
}

// oneByOne makes the writes one after the other, in an order, up to one that is refused.
func (f *fake) oneByOne(ctx ctxt, writes []write, order func([]int), maxDataBytes int) error {
	if err := taskstore.ValidateBatch(writes, maxDataBytes); err != nil {
		return err
	}
	var places []int
	for i := range writes {
		places = append(places, i)
	}
	order(places)
	for _, i := range places {
		if err := f.one(ctx, writes[i]); err != nil {
			return &taskstore.BatchError{Index: i, Err: err}
		}
		time.Sleep(20 * time.Microsecond) // so that readers come in between
	}
	return nil
}

var brokenBatches = []breach{
	{"batch/none batch/refused-hints batch-races/unseen batch-limits/creates batch-races/limit", "writes are made until one is refused", func(f *fake) {
		f.batch = func(ctx ctxt, writes []write) error { return f.oneByOne(ctx, writes, func([]int) {}, f.bytes) }
	}},
	{"batch-races/whole batch-races/moved", "writes are made one after the other", func(f *fake) {
		f.batch = func(ctx ctxt, writes []write) error { return f.oneByOne(ctx, writes, func([]int) {}, f.bytes) }
	}},
	{"batch-races/whole batch-races/moved batch/order", "writes are made one after the other, the first last", func(f *fake) {
		f.batch = func(ctx ctxt, writes []write) error { return f.oneByOne(ctx, writes, slices.Reverse[[]int], f.bytes) }
	}},
	{"batch-races/unseen batch/refused-hints", "a refused batch is undone", func(f *fake) {
		f.batch = func(ctx ctxt, writes []write) error {
			before := make(map[key]entry)
			for _, w := range writes {
				if r, err := f.m.Get(ctx, w.Key); err == nil {
					before[w.Key] = r
				}
			}
			err := f.oneByOne(ctx, writes, func([]int) {}, f.bytes)
			if err != nil {
				for _, w := range writes {
					f.m.Delete(ctx, w.Key)
				}
				for k, r := range before {
					f.m.Put(ctx, k, r.Value)
				}
			}
			return err
		}
	}},
	{"batch-races/update batch-races/crossing", "versions are checked before the writes", func(f *fake) {
		f.batch = func(ctx ctxt, writes []write) error {
			if err := f.conflict(ctx, writes); err != nil {
				return err
			}
			pause()
			for _, w := range writes {
				f.m.Put(ctx, w.Key, w.Value)
			}
			return nil
		}
	}},
	{"batch-races/crossing", "a deadlock is an error", func(f *fake) {
		var locks sync.Map
		f.batch = func(ctx ctxt, writes []write) error {
			for _, w := range writes {
				if _, held := locks.LoadOrStore(w.Key, true); held {
					return errors.New("deadlock")
				}
				defer locks.Delete(w.Key)
				time.Sleep(100 * time.Microsecond)
			}
			return f.m.PutBatch(ctx, writes)
		}
	}},
	{"batch-races/limit", "records are counted before the batch", func(f *fake) {
		f.batch = func(ctx ctxt, writes []write) error {
			if f.records > 0 && f.has(ctx, writes[0].Key.Owner)+len(writes) > f.records+1 {
				return f.m.PutBatch(ctx, writes)
			}
			pause()
			return f.m.PutBatch(taskstore.WithRecordLimit(ctx, 0), writes)
		}
	}},

	{"batch/all", "AnyVersion creates only", onWrites(func(f *fake, ctx ctxt, w *write) {
		if w.Expected == taskstore.AnyVersion {
			w.Expected = 0
		}
	})},
	{"batch/all", "AnyVersion updates only", onWrites(func(f *fake, ctx ctxt, w *write) {
		if w.Expected == taskstore.AnyVersion {
			w.Expected = max(f.version(ctx, w.Key), 1)
		}
	})},
	{"batch/all", "an update keeps the old expiry", onWrites(func(f *fake, ctx ctxt, w *write) {
		if r, err := f.m.Get(ctx, w.Key); err == nil && w.ExpiresAt.IsZero() {
			w.ExpiresAt = r.ExpiresAt
		}
	})},
	{"batch/all batch/most batch/order", "all go to the first one's collection", onBatch(func(f *fake, ctx ctxt, writes []write) []write {
		for i := range writes {
			writes[i].Key.Collection = writes[0].Key.Collection
		}
		return writes
	})},
	{"batch/arguments", "a batch of no writes is made", takes(func(f *fake, ctx ctxt, writes []write) [][]write {
		if len(writes) == 0 {
			return nil
		}
		return [][]write{writes}
	})},
	{"batch/arguments", "a long batch is made in parts", takes(func(f *fake, ctx ctxt, writes []write) [][]write {
		if len(writes) > taskstore.MaxBatch {
			return [][]write{writes[:taskstore.MaxBatch], writes[taskstore.MaxBatch:]}
		}
		return [][]write{writes}
	})},
	{"batch/arguments", "a batch of two owners is made in parts", takes(func(f *fake, ctx ctxt, writes []write) (parts [][]write) {
		for len(writes) > 1 && writes[len(writes)-1].Key.Owner != writes[0].Key.Owner {
			last := writes[len(writes)-1]
			if last.Expected == taskstore.AnyVersion {
				last.Expected = f.version(ctx, last.Key)
			}
			writes, parts = writes[:len(writes)-1], append(parts, []write{last})
		}
		return append(parts, writes)
	})},
	{"batch/arguments", "of a record twice the last write counts", onBatch(func(f *fake, ctx ctxt, writes []write) (kept []write) {
		last := make(map[key]int)
		for i, w := range writes {
			last[w.Key] = i
		}
		for i, w := range writes {
			if last[w.Key] == i {
				w.Expected = f.version(ctx, w.Key)
				kept = append(kept, w)
			}
		}
		return kept
	})},
	{"batch/arguments", "AnyVersion may be first", onBatch(func(f *fake, ctx ctxt, writes []write) []write {
		if len(writes) > 0 && writes[0].Expected == taskstore.AnyVersion {
			writes[0].Expected = f.version(ctx, writes[0].Key)
		}
		return writes
	})},
	{"batch/most", "a batch has at most 10 writes", refuses(func(f *fake, ctx ctxt, writes []write) error {
		if len(writes) > 10 {
			return taskstore.ErrInvalidArgument
		}
		return nil
	})},
	{"batch/most", "a batch has at least 2 writes", refuses(func(f *fake, ctx ctxt, writes []write) error {
		if len(writes) < 2 {
			return taskstore.ErrInvalidArgument
		}
		return nil
	})},
	{"batch/same-task", "records of a batch are told apart by their task", refuses(func(f *fake, ctx ctxt, writes []write) error {
		seen := make(map[string]bool)
		for _, w := range writes {
			if seen[w.Key.Task] {
				return taskstore.ErrInvalidArgument
			}
			seen[w.Key.Task] = true
		}
		return nil
	})},
	{"batch/order", "writes are sorted by task", onBatch(func(f *fake, ctx ctxt, writes []write) []write {
		slices.SortStableFunc(writes[1:], func(a, b write) int { return strings.Compare(a.Key.Task, b.Key.Task) })
		return writes
	})},
	{"batch/past batch-limits/room", "a past expiry is no expiry", onWrites(func(f *fake, ctx ctxt, w *write) {
		if isPast(w.ExpiresAt) {
			w.ExpiresAt = time.Time{}
		}
	})},
	{"batch/past", "a removal of no record is a conflict", refuses(func(f *fake, ctx ctxt, writes []write) error {
		for i, w := range writes {
			if isPast(w.ExpiresAt) && f.version(ctx, w.Key) == 0 {
				return &taskstore.BatchError{Index: i, Err: &taskstore.VersionConflictError{Key: w.Key}}
			}
		}
		return nil
	})},
	{"batch/past", "a removal needs no version", onWrites(func(f *fake, ctx ctxt, w *write) {
		if isPast(w.ExpiresAt) && w.Expected != taskstore.AnyVersion {
			w.Expected = f.version(ctx, w.Key)
		}
	})},
	{"batch/expiry batch/past", "a batch writes no expiry", onWrites(func(f *fake, ctx ctxt, w *write) { w.ExpiresAt = time.Time{} })},
	{"batch/expiry", "an expired record is a conflict", refuses(func(f *fake, ctx ctxt, writes []write) error {
		for i, w := range writes {
			if r, expired := f.expired(w.Key); expired && w.Expected == 0 {
				return &taskstore.BatchError{Index: i, Err: &taskstore.VersionConflictError{Key: w.Key, Actual: r.Version}}
			}
		}
		return nil
	})},
	{"batch/copied-in", "data stays the caller's", func(f *fake) {
		var given sync.Map
		f.batch = func(ctx ctxt, writes []write) error {
			for _, w := range writes {
				given.Store(w.Key, w.Data)
			}
			return f.m.PutBatch(ctx, writes)
		}
		f.get = func(ctx ctxt, k key) (entry, error) {
			r, err := f.m.Get(ctx, k)
			if data, ok := given.Load(k); ok {
				r.Data = bytes.Clone(data.([]byte))
			}
			return r, err
		}
	}},
	{"batch/conflict batch/invalid batch-limits/data batch-limits/creates", "the last write is blamed", onRefusal(func(writes []write, refused *taskstore.BatchError) error {
		return &taskstore.BatchError{Index: len(writes) - 1, Err: refused.Err}
	})},
	{"batch/conflict batch/invalid batch-limits/data", "no write is blamed", onRefusal(func(_ []write, refused *taskstore.BatchError) error { return refused.Err })},
	{"batch/conflict batch/invalid batch/expiry", "a refusal has no cause", onRefusal(func(_ []write, refused *taskstore.BatchError) error {
		return &taskstore.BatchError{Index: refused.Index, Err: errors.New("refused")}
	})},
	{"batch/conflict", "a conflict has no actual version", onRefusal(func(_ []write, refused *taskstore.BatchError) error {
		if conflict, ok := refused.Err.(*taskstore.VersionConflictError); ok {
			conflict.Actual = 0
		}
		return refused
	})},
	{"batch/invalid", "long keys are cut", onWrites(func(f *fake, ctx ctxt, w *write) {
		w.Key.Task, w.Key.Collection = cutTo(taskstore.MaxKeyLength, w.Key.Task), cutTo(taskstore.MaxKeyLength, w.Key.Collection)
	})},
	{"batch/invalid", "no ExpiresAt is out of range", onWrites(func(f *fake, ctx ctxt, w *write) {
		if w.ExpiresAt.Before(time.Unix(1, 0)) || w.ExpiresAt.After(lastOf) {
			w.ExpiresAt = time.Time{}
		}
	})},
	{"batch/contexts", "a ctx that is done is not looked at", func(f *fake) {
		f.batch = func(ctx ctxt, writes []write) error { return f.m.PutBatch(deaf(ctx), writes) }
	}},
	{"batch/contexts", "a batch is made although its ctx is done", func(f *fake) {
		f.batch = func(ctx ctxt, writes []write) error {
			if err := f.m.PutBatch(deaf(ctx), writes); err != nil {
				return err
			}
			return ctx.Err()
		}
	}},
	{"batch/hints", "the first write is hinted only", hintsOfBatches(func(i int, c change) bool { return i == 0 })},
	{"batch/hints", "a batch hints no removal", hintsOfBatches(func(_ int, c change) bool { return c.Version > 0 })},
	{"batch/hints", "a batch hints its first one's collection", hintsOfBatches(func(_ int, c change) bool { return c.Key.Collection == "" })},
	{"batch/refused-hints", "a refused batch is hinted", func(f *fake) {
		var refused sync.Map
		f.batch = func(ctx ctxt, writes []write) error {
			err := f.m.PutBatch(ctx, writes)
			if err != nil {
				refused.Store(writes[0].Key, true)
			}
			return err
		}
		f.watch = alterHints(f, func(c change) (list []change) {
			refused.Range(func(k, _ any) bool {
				list = append(list, change{Key: k.(key), Version: 2})
				return true
			})
			return append(list, c)
		})
	}},
}

// refuses makes PutBatch refuse batches that it should accept.
func refuses(why func(f *fake, ctx ctxt, writes []write) error) func(f *fake) {
	return func(f *fake) {
		f.batch = func(ctx ctxt, writes []write) error {
			if err := why(f, ctx, writes); err != nil {
				return err
			}
			return f.m.PutBatch(ctx, writes)
		}
	}
}

// conflict returns the first conflict of a batch.
func (f *fake) conflict(ctx ctxt, writes []write) error {
	for i, w := range writes {
		if actual := f.version(ctx, w.Key); w.Expected != taskstore.AnyVersion && actual != w.Expected {
			return &taskstore.BatchError{Index: i, Err: &taskstore.VersionConflictError{Key: w.Key, Expected: w.Expected, Actual: actual}}
		}
	}
	return nil
}

// hintsOfBatches drops hints of a batch's writes, chosen by their place in the batch.
func hintsOfBatches(hinted func(i int, c change) bool) func(f *fake) {
	return func(f *fake) {
		var places sync.Map
		f.batch = func(ctx ctxt, writes []write) error {
			for i, w := range writes {
				places.Store(w.Key, i)
			}
			return f.m.PutBatch(ctx, writes)
		}
		f.watch = alterHints(f, func(c change) []change {
			if i, ok := places.Load(c.Key); ok && !hinted(i.(int), c) {
				return nil
			}
			return []change{c}
		})
	}
}

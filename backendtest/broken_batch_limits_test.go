package backendtest

import (
	"github.com/taskstore/taskstore"
)

// onLimits gives each write of a batch the limit of records that limit returns; 0 or less
// means no limit. The parameter most is the write's own limit; earlier and later are the
// writes before and behind it.
func onLimits(limit func(f *fake, ctx ctxt, w write, most int, earlier, later []write) int) func(f *fake) {
	return onBatch(func(f *fake, ctx ctxt, writes []write) []write {
		given := append([]write(nil), writes...)
		for i, w := range given {
			most := limit(f, ctx, w, w.RecordLimit(ctx, f.records), given[:i], given[i+1:])
			if most <= 0 {
				most = -1
			}
			writes[i].MaxRecords = most
		}
		return writes
	})
}

// removals counts the writes that remove a record.
func (f *fake) removals(ctx ctxt, writes []write) (n int) {
	for _, w := range writes {
		if isPast(w.ExpiresAt) && f.version(ctx, w.Key) > 0 {
			n++
		}
	}
	return n
}

var brokenBatchLimits = []breach{
	{"batch-limits/creates batch-limits/collections batch-limits/own batch-limits/asked batch-limits/expired", "a batch's own creates are not counted",
		onLimits(func(f *fake, ctx ctxt, w write, most int, earlier, _ []write) int {
			if most == 0 {
				return 0
			}
			return most + len(earlier)
		})},
	{"batch-limits/creates", "the limit is one more", onLimits(func(f *fake, ctx ctxt, w write, most int, _, _ []write) int {
		if most == 0 {
			return 0
		}
		return most + 1
	})},
	{"batch-limits/room", "a removal makes no room", onLimits(func(f *fake, ctx ctxt, w write, most int, earlier, _ []write) int {
		return most - f.removals(ctx, earlier)
	})},
	{"batch-limits/room", "a removal makes room for earlier creates", onLimits(func(f *fake, ctx ctxt, w write, most int, _, later []write) int {
		if most == 0 {
			return 0
		}
		return most + f.removals(ctx, later)
	})},
	{"batch-limits/room", "a removal of no record makes room", onLimits(func(f *fake, ctx ctxt, w write, most int, earlier, _ []write) int {
		for _, e := range earlier {
			if isPast(e.ExpiresAt) && f.version(ctx, e.Key) == 0 && most > 0 {
				most++
			}
		}
		return most
	})},
	{"batch-limits/collections", "creates in other collections count", onLimits(func(f *fake, ctx ctxt, w write, most int, earlier, _ []write) int {
		for _, e := range earlier {
			if e.Key.Collection != w.Key.Collection && most > 1 {
				most--
			}
		}
		return most
	})},
	{"batch-limits/own", "MaxRecords is not looked at", onWrites(func(f *fake, ctx ctxt, w *write) { w.MaxRecords = 0 })},
	{"batch-limits/own", "a MaxRecords below 0 is the backend's limit", onWrites(func(f *fake, ctx ctxt, w *write) { w.MaxRecords = max(w.MaxRecords, 0) })},
	{"batch-limits/own", "the least limit counts", onLimits(func(f *fake, ctx ctxt, w write, most int, _, _ []write) int {
		if other := taskstore.RecordLimit(ctx, f.records); other > 0 && (most == 0 || other < most) {
			return other
		}
		return most
	})},
	{"batch-limits/own", "the first write's limit is all writes'", onBatch(func(f *fake, ctx ctxt, writes []write) []write {
		for i := range writes {
			writes[i].MaxRecords = writes[0].MaxRecords
		}
		return writes
	})},
	{"batch-limits/own batch-limits/asked", "a limit stands in the way of updates", func(f *fake) {
		f.batch = func(ctx ctxt, writes []write) error {
			for i, w := range writes {
				if most := w.RecordLimit(ctx, f.records); most > 0 && f.has(ctx, w.Key.Owner) > most {
					return &taskstore.BatchError{Index: i, Err: &taskstore.CapacityError{Limit: taskstore.LimitRecords, Max: uint64(most), Asked: uint64(most) + 1}}
				}
			}
			return f.m.PutBatch(ctx, writes)
		}
	}},
	{"batch-limits/asked", "a limit of the ctx is not known", func(f *fake) {
		f.batch = func(ctx ctxt, writes []write) error { return f.m.PutBatch(plain(ctx), writes) }
	}},
	{"batch-limits/asked batch-limits/creates", "the backend's own limit is ignored", func(f *fake) {
		f.batch = func(ctx ctxt, writes []write) error {
			return f.m.PutBatch(taskstore.WithRecordLimit(ctx, taskstore.RecordLimit(ctx, 0)), writes)
		}
	}},
	{"batch-limits/first", "versions are checked before limits", refuses((*fake).conflict)},
	{"batch-limits/first", "limits are checked before versions", func(f *fake) {
		f.batch = func(ctx ctxt, writes []write) error {
			n := f.has(ctx, writes[0].Key.Owner)
			for i, w := range writes {
				most := w.RecordLimit(ctx, f.records)
				if w.Expected != 0 || most == 0 {
					continue
				}
				if n++; n > most {
					return &taskstore.BatchError{Index: i, Err: &taskstore.CapacityError{Limit: taskstore.LimitRecords, Max: uint64(most), Asked: uint64(n)}}
				}
			}
			return f.m.PutBatch(ctx, writes)
		}
	}},
	{"batch-limits/expired", "the expired are counted", onLimits(func(f *fake, ctx ctxt, w write, most int, _, _ []write) int {
		return max(most-len(f.expiredOf(of(w.Key.Owner, ""))), 1)
	})},
	{"batch-limits/data", "data is checked at its write", func(f *fake) {
		f.batch = func(ctx ctxt, writes []write) error { return f.oneByOne(ctx, writes, func([]int) {}, 0) }
	}},
	{"batch-limits/data", "the limit itself is too much", func(f *fake) {
		f.batch = func(ctx ctxt, writes []write) error {
			if err := taskstore.ValidateBatch(writes, f.bytes-1); err != nil {
				return err
			}
			return f.m.PutBatch(ctx, writes)
		}
	}},
}

package backendtest

import (
	"context"
	"fmt"

	"github.com/taskstore/taskstore"
)

// deaf returns a ctx without an end.
func deaf(ctx ctxt) ctxt { return context.WithoutCancel(ctx) }

// plain returns a ctx that ends with ctx and holds no values.
func plain(ctx ctxt) ctxt {
	bare, cancel := context.WithCancel(context.Background())
	context.AfterFunc(ctx, cancel)
	if ctx.Err() != nil {
		cancel()
	}
	return bare
}

// counting replaces the limit of records: refuses decides about each write, and learns
// whether the write creates or updates.
func counting(refuses func(f *fake, ctx ctxt, k key, create bool) bool) func(f *fake) {
	return func(f *fake) {
		if f.records == 0 {
			return
		}
		f.m = taskstore.NewMemoryBackend(nil)
		f.get, f.del, f.list = f.m.Get, f.m.Delete, f.m.ListByPrefix
		admit := func(ctx ctxt, k key) error {
			if refuses(f, ctx, k, f.version(ctx, k) == 0) {
				return &taskstore.CapacityError{Limit: taskstore.LimitRecords, Max: uint64(f.records), Asked: uint64(f.records) + 1}
			}
			return nil
		}
		f.put = func(ctx ctxt, k key, v value) (version, error) {
			if err := admit(ctx, k); err != nil {
				return 0, err
			}
			return f.m.Put(ctx, k, v)
		}
		f.cas = func(ctx ctxt, k key, v value, e version) (version, error) {
			if actual := f.version(ctx, k); actual != e && actual+e > 0 && (actual > 0 || e > 0) {
				return f.m.PutIfVersion(ctx, k, v, e) // a conflict
			}
			if err := admit(ctx, k); err != nil {
				return 0, err
			}
			return f.m.PutIfVersion(ctx, k, v, e)
		}
	}
}

// has returns how many records the owner has.
func (f *fake) has(ctx ctxt, owner string) int {
	records, _ := f.m.ListByPrefix(ctx, of(owner, ""))
	return len(records)
}

var brokenLimits = []breach{
	{"limits/records limits/race limits/owners", "there is no limit", counting(func(*fake, ctxt, key, bool) bool { return false })},
	{"limits/records limits/updates", "the limit is one more", counting(func(f *fake, ctx ctxt, k key, create bool) bool {
		return f.has(ctx, k.Owner) > f.records || !create && f.has(ctx, k.Owner) >= f.records
	})},
	{"limits/race", "records are counted before the write", counting(func(f *fake, ctx ctxt, k key, create bool) bool {
		full := f.has(ctx, k.Owner) >= f.records
		pause()
		return create && full
	})},
	{"limits/updates", "updates are refused", counting(func(f *fake, ctx ctxt, k key, create bool) bool {
		return f.has(ctx, k.Owner) >= f.records
	})},
	{"limits/delete limits/expired", "deletes make no room", counting(func(f *fake, ctx ctxt, k key, create bool) bool {
		n := 0
		for _, other := range f.keys(&f.first) {
			if other.Owner == k.Owner {
				n++
			}
		}
		return create && n >= f.records
	})},
	{"limits/expired", "the expired are counted", counting(func(f *fake, ctx ctxt, k key, create bool) bool {
		return create && f.has(ctx, k.Owner)+len(f.expiredOf(of(k.Owner, ""))) >= f.records
	})},
	{"limits/owners", "all owners share the limit", counting(func(f *fake, ctx ctxt, k key, create bool) bool {
		all, _ := f.everyOwner(ctx, of(k.Owner, ""))
		return create && len(all) >= f.records
	})},
	{"limits/conflict", "the limit is checked before the version", func(f *fake) {
		f.cas = func(ctx ctxt, k key, v value, e version) (version, error) {
			if f.records > 0 && f.has(ctx, k.Owner) >= f.records {
				return 0, &taskstore.CapacityError{Limit: taskstore.LimitRecords, Max: 3, Asked: 4}
			}
			return f.m.PutIfVersion(ctx, k, v, e)
		}
	}},
	{"limits/asked limits/asked-instead", "a limit of the ctx is not known", func(f *fake) {
		put, cas := f.put, f.cas
		f.put = func(ctx ctxt, k key, v value) (version, error) { return put(plain(ctx), k, v) }
		f.cas = func(ctx ctxt, k key, v value, e version) (version, error) { return cas(plain(ctx), k, v, e) }
	}},
	{"limits/asked-instead", "the lesser of two limits counts", func(f *fake) {
		put, cas := f.put, f.cas
		lesser := func(ctx ctxt) ctxt {
			most := taskstore.RecordLimit(ctx, f.records)
			if f.records > 0 && (most == 0 || most > f.records) {
				most = f.records
			}
			return taskstore.WithRecordLimit(ctx, most)
		}
		f.put = func(ctx ctxt, k key, v value) (version, error) { return put(lesser(ctx), k, v) }
		f.cas = func(ctx ctxt, k key, v value, e version) (version, error) { return cas(lesser(ctx), k, v, e) }
	}},
	{"limits/asked", "a limit of the ctx stands in the way of updates", func(f *fake) {
		put := f.put
		f.put = func(ctx ctxt, k key, v value) (version, error) {
			if most := taskstore.RecordLimit(ctx, 0); most > 0 && f.has(ctx, k.Owner) >= most {
				return 0, &taskstore.CapacityError{Limit: taskstore.LimitRecords, Max: uint64(most), Asked: uint64(most) + 1}
			}
			return put(ctx, k, v)
		}
	}},
	{"limits/data", "the limit itself is too much", onLongData(func(n, most int) bool { return n >= most })},
	{"limits/data", "a little more is allowed", onLongData(func(n, most int) bool { return n > most+16 })},
	{"limits/data limits/records", "the error has no type", func(f *fake) {
		f.put = func(ctx ctxt, k key, v value) (version, error) {
			made, err := f.m.Put(ctx, k, v)
			if err != nil {
				err = fmt.Errorf("%w", taskstore.ErrCapacityExceeded)
			}
			return made, err
		}
	}},
	{"limits/none", "no limit is 10 records", func(f *fake) {
		f.put = func(ctx ctxt, k key, v value) (version, error) {
			if f.records == 0 && f.has(ctx, k.Owner) >= 10 {
				return 0, &taskstore.CapacityError{Limit: taskstore.LimitRecords, Max: 10, Asked: 11}
			}
			return f.m.Put(ctx, k, v)
		}
	}},
}

// onLongData replaces the limit of data: tooLong decides about each write.
func onLongData(tooLong func(n, most int) bool) func(f *fake) {
	return func(f *fake) {
		f.m = taskstore.NewMemoryBackend(nil)
		f.get, f.cas = f.m.Get, f.m.PutIfVersion
		f.put = func(ctx ctxt, k key, v value) (version, error) {
			if f.bytes > 0 && tooLong(len(v.Data), f.bytes) {
				return 0, &taskstore.CapacityError{Limit: taskstore.LimitData, Max: uint64(f.bytes), Asked: uint64(f.bytes) + 1}
			}
			return f.m.Put(ctx, k, v)
		}
	}
}

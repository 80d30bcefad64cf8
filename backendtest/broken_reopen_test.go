package backendtest

import (
	"context"
	"slices"
	"strings"
	"time"

	"github.com/taskstore/taskstore"
)

// onRestart changes every record when the store is opened again. A nil value deletes the
// record.
func onRestart(change func(r entry) *value) func(f *fake) {
	return func(f *fake) {
		f.restart = func() {
			ctx := context.Background()
			for _, k := range f.keys(&f.first) {
				r, err := f.m.Get(ctx, k)
				if err != nil {
					continue
				}
				f.m.Delete(ctx, k)
				if v := change(r); v != nil {
					f.m.Put(ctx, k, *v)
				}
			}
		}
	}
}

// afterRestart makes f another backend from its second life on.
func afterRestart(apply func(f *fake)) func(f *fake) {
	return func(f *fake) { f.restart = func() { apply(f) } }
}

var brokenReopening = []breach{
	{"reopen/records reopen/versions reopen/order reopen/cursor reopen/limit reopen/acknowledged", "a reopened store is empty",
		onRestart(func(entry) *value { return nil })},
	{"reopen/records reopen/versions reopen/acknowledged", "versions start again", onRestart(func(r entry) *value { return &r.Value })},
	{"reopen/records", "data is lost", afterRestart(func(f *fake) {
		f.get = func(ctx ctxt, k key) (entry, error) {
			r, err := f.m.Get(ctx, k)
			r.Data = nil
			return r, err
		}
	})},
	{"reopen/records reopen/expiry", "expiries are lost", onRestart(func(r entry) *value { return &value{Data: r.Data} })},
	{"reopen/gone", "a deleted record is back", afterRestart(func(f *fake) {
		f.get = func(ctx ctxt, k key) (entry, error) {
			r, err := f.m.Get(ctx, k)
			f.mu.Lock()
			defer f.mu.Unlock()
			if g, ok := f.ghosts[k]; ok && err != nil {
				return g, nil
			}
			return r, err
		}
	})},
	{"reopen/expiry", "an expiring record is gone at once", onRestart(func(r entry) *value {
		if r.ExpiresAt.IsZero() || r.ExpiresAt.After(time.Now().Add(time.Minute)) {
			return &r.Value
		}
		return nil
	})},
	{"reopen/versions", "a conflict is not noticed afterwards", afterRestart(func(f *fake) {
		f.cas = func(ctx ctxt, k key, v value, _ version) (version, error) { return f.m.Put(ctx, k, v) }
	})},
	{"reopen/order", "the new come first", afterRestart(func(f *fake) {
		before, _ := f.everyOwner(context.Background(), key{Owner: "nobody"})
		f.list = func(ctx ctxt, prefix key) ([]entry, error) {
			records, err := f.m.ListByPrefix(ctx, prefix)
			slices.SortStableFunc(records, func(a, b entry) int {
				isOld := func(r entry) int {
					if slices.ContainsFunc(before, func(o entry) bool { return o.Key == r.Key }) {
						return 1
					}
					return 0
				}
				return isOld(a) - isOld(b)
			})
			return records, err
		}
	})},
	{"reopen/order", "old records are sorted by task", func(f *fake) {
		f.restart = func() {
			ctx := context.Background()
			keys := f.keys(&f.first)
			slices.SortFunc(keys, func(a, b key) int { return strings.Compare(a.Task, b.Task) })
			for _, k := range keys {
				if r, err := f.m.Get(ctx, k); err == nil {
					f.m.Delete(ctx, k)
					f.m.Put(ctx, k, r.Value)
				}
			}
		}
	}},
	{"reopen/cursor", "cursors are of the past life", afterRestart(func(f *fake) {
		f.page = func(ctx ctxt, k key, cursor string, limit int) ([]entry, string, error) {
			if cursor != "" {
				return nil, "", taskstore.ErrInvalidCursor
			}
			return f.m.ListPage(ctx, k, cursor, limit)
		}
	})},
	{"reopen/limit", "records of the past life are not counted", func(f *fake) {
		past := 0
		f.restart = func() {
			past = 0
			for _, k := range f.keys(&f.first) {
				if f.version(context.Background(), k) > 0 {
					past++
				}
			}
		}
		f.put = func(ctx ctxt, k key, v value) (version, error) {
			return f.m.Put(taskstore.WithRecordLimit(ctx, f.records+past), k, v)
		}
	}},
	{"reopen/acknowledged", "the last write is lost", func(f *fake) {
		f.restart = func() {
			keys := f.keys(&f.latest)
			f.m.Delete(context.Background(), keys[len(keys)-1])
		}
	}},
	{"reopen/acknowledged", "a refused write is made", func(f *fake) {
		put := f.put
		f.put = func(ctx ctxt, k key, v value) (version, error) {
			made, err := put(ctx, k, v)
			if f.refused() != nil {
				return 0, taskstore.ErrClosed
			}
			return made, err
		}
		f.restart = pause
	}},
}

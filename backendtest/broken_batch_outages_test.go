package backendtest

import (
	"context"
	"slices"
	"sync/atomic"

	"github.com/taskstore/taskstore"
)

// onOutage replaces PutBatch by batch, which can ask out for an outage since the call
// began: the connection was cut, or the store ended.
func onOutage(batch func(f *fake, ctx ctxt, writes []write, out func() bool) error) func(f *fake) {
	return func(f *fake) {
		var outages atomic.Int64
		f.cut = func() { outages.Add(1); f.interrupt(errCut) }
		f.restart = func() { outages.Add(1) }
		f.batch = func(ctx ctxt, writes []write) error {
			before := outages.Load()
			return batch(f, ctx, writes, func() bool { return outages.Load() != before })
		}
	}
}

var brokenBatchOutages = []breach{
	{"reconnect/batch reopen/batch", "a batch ends at the outage", onOutage(func(f *fake, ctx ctxt, writes []write, out func() bool) error {
		for _, w := range writes {
			if out() {
				return taskstore.ErrOutcomeUnknown
			}
			if err := f.one(ctx, w); err != nil {
				return err
			}
			pause()
		}
		return nil
	})},
	{"reconnect/batch", "a batch is made again after an outage, whatever its versions", onOutage(func(f *fake, ctx ctxt, writes []write, out func() bool) error {
		err := f.m.PutBatch(ctx, writes)
		pause()
		if out() {
			for _, w := range writes {
				f.m.Put(ctx, w.Key, w.Value)
			}
		}
		return err
	})},
	{"reconnect/batch", "a batch made before the outage is a conflict after it", onOutage(func(f *fake, ctx ctxt, writes []write, out func() bool) error {
		err := f.m.PutBatch(ctx, writes)
		pause()
		if out() {
			return f.m.PutBatch(ctx, slices.Clone(writes))
		}
		return err
	})},
	{"reopen/batch", "the last record of the last batch is lost", func(f *fake) {
		f.restart = func() {
			keys := f.keys(&f.latest)
			f.m.Delete(context.Background(), keys[len(keys)-1])
		}
	}},
}

package backendtest

import (
	"context"
	"fmt"
	"time"

	"github.com/taskstore/taskstore"
)

var watchEndRules = []rule{
	{
		name: "watch/ends-with-ctx",
		text: "A watch ends with the error of ctx when ctx is done, and yields no hint after it.",
		check: func(t *trial) {
			s := t.open()
			w := s.watch(of(newOwner(), ""))
			w.stop()
			s.wantError("a watch whose ctx is cancelled", w.failure(), context.Canceled)

			watcher := power[taskstore.Watcher](s, "Watcher")
			ctx, cancel := context.WithTimeout(t.ctx, 50*time.Millisecond)
			defer cancel()
			var errs []error
			ended := make(chan struct{})
			go func() {
				defer close(ended)
				for _, err := range watcher.Watch(ctx, newKey()) {
					if err != nil || len(errs) > 0 {
						errs = append(errs, err)
					}
				}
			}()
			select {
			case <-ended:
			case <-time.After(t.waitLimit):
				t.Fatalf("the watch did not end at the deadline of its ctx within %v", t.waitLimit)
			}
			if len(errs) != 1 {
				t.Fatalf("at its end the watch yields %v, want one error", errs)
			}
			s.wantError("a watch whose ctx has a deadline", errs[0], context.DeadlineExceeded)

			// Changes that arrived by then and were not read are not yielded either.
			owner := newOwner()
			ctx, cancel = context.WithCancel(t.ctx)
			defer cancel()
			after := 0
			for range watcher.Watch(ctx, of(owner, "")) {
				if ctx.Err() != nil {
					after++
					continue
				}
				for i := range 20 {
					s.mustPut(of(owner, fmt.Sprint("task-", i)), text("x"))
				}
				cancel()
			}
			if after != 1 {
				t.Errorf("a watch yields %d times after its ctx is cancelled, want the error only", after)
			}
		},
	},
	{
		name: "watch/ends-with-loop",
		text: "A watch ends when the loop over it ends.",
		check: func(t *trial) {
			s := t.open()
			watcher := power[taskstore.Watcher](s, "Watcher")
			key := newKey()
			for _, changes := range []int{1, 2} {
				ended := make(chan error, 1)
				go func() {
					left := changes
					for range watcher.Watch(t.ctx, key) {
						if left--; left == 0 {
							break
						}
						if _, err := s.Put(t.ctx, key, text("x")); err != nil { // no lock is held
							ended <- err
							return
						}
					}
					ended <- nil
				}()
				select {
				case err := <-ended:
					if err != nil {
						t.Errorf("Put inside the loop: %v", err)
					}
				case <-time.After(t.waitLimit):
					t.Fatalf("a loop with break after %d changes did not end within %v", changes, t.waitLimit)
				}
			}
			// The next watch starts afresh.
			w := s.watch(key)
			defer w.stop()
			w.wantHint("a Put afterwards", key, func() taskstore.Version { return s.mustPut(key, text("x")) })
		},
	},
	{
		name: "watch/no-leak",
		text: "A watch begins when the loop starts and frees all that it holds when the loop has ended.",
		check: func(t *trial) {
			countingGoroutines(t.ctx, func(count func() int) {
				s := t.open()
				watcher := power[taskstore.Watcher](s, "Watcher")
				// The first watch connects and the like.
				s.watch(of(newOwner(), "")).stop()
				// Enough watches that the backend's other goroutines do not matter.
				const many, few = 60, 30
				before := count()
				for range many {
					watcher.Watch(t.ctx, newKey())
				}
				s.eventually("calls of Watch without a loop leave no goroutines behind", func() bool {
					return count()-before < few
				})
				for range many {
					for range watcher.Watch(t.ctx, newKey()) {
						break
					}
				}
				for range many / 6 {
					var ten []*watching
					owner := newOwner()
					for range 6 {
						ten = append(ten, s.watch(of(owner, "")))
					}
					for _, w := range ten {
						w.stop()
					}
				}
				s.eventually("the goroutines of ended watches end", func() bool {
					return count()-before < few
				})
			})
		},
	},
}

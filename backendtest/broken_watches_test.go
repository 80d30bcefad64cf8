package backendtest

import (
	"context"
	"errors"
	"iter"
	"strings"
	"sync"
	"sync/atomic"

	"github.com/taskstore/taskstore"
)

type seq = iter.Seq2[change, error]

// alterHints makes a Watch that yields something else for every hint, and the
// first Resync as it is. Others it leaves out.
func alterHints(f *fake, alter func(change) []change) func(ctxt, key) seq {
	return func(ctx ctxt, prefix key) seq {
		return func(yield func(change, error) bool) {
			first := true
			for c, err := range f.m.Watch(ctx, prefix) {
				list := []change{c}
				if !c.Resync && err == nil {
					list = alter(c)
				} else if err == nil && !first {
					continue
				}
				first = false
				for _, c := range list {
					if !yield(c, err) {
						return
					}
				}
			}
		}
	}
}

// onWatch makes a Watch that alters all that it yields; ok says whether to.
func onWatch(alter func(c change, err error) (_ change, _ error, ok bool)) func(f *fake) {
	return func(f *fake) {
		f.watch = func(ctx ctxt, prefix key) seq {
			return func(yield func(change, error) bool) {
				for c, err := range f.rewatch(ctx, prefix) {
					if c, err, ok := alter(c, err); ok && !yield(c, err) {
						return
					}
				}
			}
		}
	}
}

func onHints(alter func(change) []change) func(f *fake) {
	return func(f *fake) { f.watch = alterHints(f, alter) }
}

var brokenWatches = []breach{
	{"watch/first", "there is no Resync", onWatch(func(c change, err error) (change, error, bool) { return c, err, !c.Resync })},
	{"watch/first", "a Resync has no key", onWatch(func(c change, err error) (change, error, bool) {
		if c.Resync {
			c.Key = key{}
		}
		return c, err, true
	})},
	{"watch/hints watch/latest", "deletes are not hinted", onHints(func(c change) []change {
		if c.Version == 0 {
			return nil
		}
		return []change{c}
	})},
	{"watch/hints", "creates are not hinted", onHints(func(c change) []change {
		if c.Version == 1 {
			return nil
		}
		return []change{c}
	})},
	{"watch/hints watch/several watch/latest", "a hint has the version before", onHints(func(c change) []change {
		c.Version--
		return []change{c}
	})},
	{"watch/hints watch/ends-with-loop reconnect/watch", "writes send no hints", onHints(func(change) []change { return nil })},
	{"watch/keys", "a hint's key is made UTF-8", onHints(func(c change) []change {
		c.Key.Task = strings.ToValidUTF8(c.Key.Task, "")
		return []change{c}
	})},
	{"watch/prefix", "the prefix is not looked at", func(f *fake) {
		f.watch = func(ctx ctxt, prefix key) seq {
			return func(yield func(change, error) bool) {
				for c, err := range f.m.Watch(ctx, of(prefix.Owner, "")) {
					if c.Resync {
						c.Key = prefix
					}
					if !yield(c, err) {
						return
					}
				}
			}
		}
	}},
	{"watch/several", "only the newest watch gets hints", func(f *fake) {
		var newest atomic.Int64
		f.watch = func(ctx ctxt, prefix key) seq {
			mine := newest.Add(1)
			return alterHints(f, func(c change) []change {
				if newest.Load() != mine {
					return nil
				}
				return []change{c}
			})(ctx, prefix)
		}
	}},
	{"watch/several", "the end of a watch is that of all", func(f *fake) {
		var mu sync.Mutex
		var all []context.CancelFunc
		f.watch = func(ctx ctxt, prefix key) seq {
			ctx, cancel := context.WithCancel(ctx)
			mu.Lock()
			all = append(all, cancel)
			mu.Unlock()
			return func(yield func(change, error) bool) {
				f.m.Watch(ctx, prefix)(yield)
				mu.Lock()
				defer mu.Unlock()
				for _, cancel := range all {
					cancel()
				}
			}
		}
	}},
	{"watch/latest", "hints come late", func(f *fake) {
		var before change
		f.watch = alterHints(f, func(c change) []change {
			list := []change{c, before}
			before = c
			return list
		})
	}},
	{"watch/slow", "hints are lost without a Resync", onHints(func(c change) []change { return []change{c} })},
	{"watch/slow", "writers wait for the reader", func(f *fake) {
		hints := make(chan change)
		f.watch = func(ctx ctxt, prefix key) seq {
			return func(yield func(change, error) bool) {
				c, err := change{Key: prefix, Resync: true}, error(nil)
				for yield(c, err) && err == nil {
					select {
					case c = <-hints:
					case <-ctx.Done():
						c, err = change{}, ctx.Err()
					}
				}
			}
		}
		f.put = func(ctx ctxt, k key, v value) (version, error) {
			made, err := f.m.Put(ctx, k, v)
			select {
			case hints <- change{Key: k, Version: made}:
			case <-ctx.Done():
				err = ctx.Err()
			}
			return made, err
		}
	}},
	{"watch/ends-with-ctx", "a watch ends without an error", onWatch(func(c change, err error) (change, error, bool) {
		return c, err, err == nil
	})},
	{"watch/ends-with-ctx", "a watch ends with another error", onWatch(func(c change, err error) (change, error, bool) {
		if err != nil {
			err = errors.New("stopped")
		}
		return c, err, true
	})},
	{"watch/ends-with-ctx", "a watch yields pending hints after its ctx", func(f *fake) {
		f.watch = func(ctx ctxt, prefix key) seq {
			return func(yield func(change, error) bool) {
				for c, err := range f.m.Watch(ctx, prefix) {
					if err != nil && !yield(change{Key: of(prefix.Owner, "task-0"), Version: 1}, nil) || !yield(c, err) {
						return
					}
				}
			}
		}
	}},
	{"watch/ends-with-ctx", "a watch goes on after its ctx", func(f *fake) {
		f.watch = func(ctx ctxt, prefix key) seq {
			return func(yield func(change, error) bool) {
				limited, cancel := context.WithTimeout(deaf(ctx), 3*littlePatience)
				defer cancel()
				f.m.Watch(limited, prefix)(yield)
			}
		}
	}},
	{"watch/ends-with-loop", "a watch goes on after its loop", func(f *fake) {
		f.watch = func(ctx ctxt, prefix key) seq {
			return func(yield func(change, error) bool) {
				for c, err := range f.m.Watch(ctx, prefix) {
					if !yield(c, err) {
						<-ctx.Done()
						return
					}
				}
			}
		}
	}},
	{"watch/ends-with-loop", "a lock is held while a watch yields", func(f *fake) {
		lock := make(chan struct{}, 1)
		f.watch = func(ctx ctxt, prefix key) seq {
			return func(yield func(change, error) bool) {
				for c, err := range f.m.Watch(ctx, prefix) {
					lock <- struct{}{}
					more := yield(c, err)
					<-lock
					if !more {
						return
					}
				}
			}
		}
		f.put = func(ctx ctxt, k key, v value) (version, error) {
			select {
			case lock <- struct{}{}:
				defer func() { <-lock }()
			case <-ctx.Done():
			}
			return f.m.Put(ctx, k, v)
		}
	}},
	{"watch/no-leak", "a loop leaves a goroutine behind", func(f *fake) {
		f.watch = func(ctx ctxt, prefix key) seq {
			return func(yield func(change, error) bool) {
				go func() { <-ctx.Done() }()
				f.m.Watch(ctx, prefix)(yield)
			}
		}
	}},
	{"watch/no-leak", "Watch starts a goroutine before the loop", func(f *fake) {
		f.watch = func(ctx ctxt, prefix key) seq {
			go func() { <-ctx.Done() }()
			return f.m.Watch(ctx, prefix)
		}
	}},
}

var brokenConnections = []breach{
	{"reconnect/watch", "a watch reconnects without a word", func(f *fake) {
		f.watch = f.m.Watch
	}},
	{"reconnect/watch", "a watch ends when its connection does", onCut(func(yield func(change, error) bool, again func() bool) {
		yield(change{}, errCut)
	})},
	{"reconnect/watch", "a Resync is the last hint", onCut(func(yield func(change, error) bool, again func() bool) {
		yield(change{Resync: true}, nil)
		for again() {
		}
	})},
	{"reconnect/records", "a cut loses all records", func(f *fake) {
		f.cut = func() {
			for _, k := range f.keys(&f.first) {
				f.m.Delete(context.Background(), k)
			}
		}
	}},
	{"reconnect/records", "lists do not connect again", func(f *fake) {
		var cut atomic.Bool
		f.cut = func() { cut.Store(true) }
		f.list = func(ctx ctxt, prefix key) ([]entry, error) {
			if cut.Load() {
				return nil, errCut
			}
			return f.m.ListByPrefix(ctx, prefix)
		}
	}},
	{"reconnect/exactly-once", "a write whose answer is lost is sent again", onUnlucky(func(f *fake, ctx ctxt, k key, v value) (version, error) {
		f.m.Put(ctx, k, v)
		return f.m.Put(ctx, k, v)
	})},
	{"reconnect/exactly-once", "a write whose answer is lost is said to have failed", onUnlucky(func(f *fake, ctx ctxt, k key, v value) (version, error) {
		f.m.Put(ctx, k, v)
		return 0, errCut
	})},
	{"reconnect/exactly-once", "a write that is lost is said to have succeeded", onUnlucky(func(f *fake, ctx ctxt, k key, v value) (version, error) {
		return f.version(ctx, k) + 1, nil
	})},
	{"reconnect/exactly-once", "a PutIfVersion that is sent again conflicts with itself", func(f *fake) {
		var unlucky atomic.Bool
		f.cut = func() { unlucky.Store(true) }
		f.cas = func(ctx ctxt, k key, v value, e version) (version, error) {
			if unlucky.Swap(false) {
				f.m.PutIfVersion(ctx, k, v, e)
			}
			return f.m.PutIfVersion(ctx, k, v, e)
		}
	}},

	{"close/refuses", "a backend works on when it is closed", func(f *fake) { f.stubborn = true }},
	{"close/watch", "a watch goes on when its backend is closed", func(f *fake) { f.watch = f.m.Watch }},
	{"close/watch", "a watch ends with another error", onWatch(func(c change, err error) (change, error, bool) {
		if errors.Is(err, taskstore.ErrClosed) {
			err = errors.New("use of closed network connection")
		}
		return c, err, true
	})},
}

// onCut makes a Watch that calls instead when it was cut, in place of watching again. The
// function again reports whether the caller's loop is still there.
func onCut(instead func(yield func(change, error) bool, again func() bool)) func(f *fake) {
	return func(f *fake) {
		f.watch = func(ctx ctxt, prefix key) seq {
			return func(yield func(change, error) bool) {
				if f.watchOnce(ctx, prefix, yield) {
					instead(yield, func() bool { pause(); return ctx.Err() == nil })
				}
			}
		}
	}
}

// onUnlucky makes the first Put after each cut something else.
func onUnlucky(instead func(f *fake, ctx ctxt, k key, v value) (version, error)) func(f *fake) {
	return func(f *fake) {
		var unlucky atomic.Bool
		f.cut = func() { unlucky.Store(true) }
		f.put = func(ctx ctxt, k key, v value) (version, error) {
			if unlucky.Swap(false) {
				return instead(f, ctx, k, v)
			}
			return f.m.Put(ctx, k, v)
		}
	}
}

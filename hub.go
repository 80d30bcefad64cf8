package taskstore

import (
	"context"
	"strings"
	"sync"
	"sync/atomic"
)

// maxPendingHints bounds what a watcher that does not read can pile up. Beyond
// it the hints give way to one Resync.
const maxPendingHints = 1024

// A hub hands hints to the watchers of one backend. Handing over never waits for
// a watcher.
type hub struct {
	watching atomic.Int64 // watchers; so that a writer nobody watches pays one load
	mu       sync.RWMutex
	owners   map[string]map[*watcher]struct{}
}

// A watcher is one running loop over Watch.
type watcher struct {
	prefix Key
	wake   chan struct{} // holds one token when there is something to take

	mu      sync.Mutex
	resync  bool
	pending map[string]Version // by task
	order   []string           // the tasks in pending, as they came
	err     error              // ends the watch
}

// join adds a watcher.
func (h *hub) join(prefix Key) *watcher {
	w := &watcher{prefix: prefix, wake: make(chan struct{}, 1), pending: make(map[string]Version)}
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.owners == nil {
		h.owners = make(map[string]map[*watcher]struct{})
	}
	set := h.owners[prefix.Owner]
	if set == nil {
		set = make(map[*watcher]struct{})
		h.owners[prefix.Owner] = set
	}
	set[w] = struct{}{}
	h.watching.Add(1)
	return w
}

// leave removes w and reports whether it was its owner's last.
func (h *hub) leave(w *watcher) (last bool) {
	h.mu.Lock()
	defer h.mu.Unlock()
	set := h.owners[w.prefix.Owner]
	delete(set, w)
	h.watching.Add(-1)
	if len(set) > 0 {
		return false
	}
	delete(h.owners, w.prefix.Owner)
	return true
}

// hint tells the watchers of key that it now has version.
func (h *hub) hint(key Key, version Version) {
	if h.watching.Load() == 0 {
		return
	}
	h.each(key.Owner, func(w *watcher) { w.hint(key.Task, version) })
}

// resync tells the watchers of owner that hints may have been lost.
func (h *hub) resync(owner string) {
	h.each(owner, (*watcher).lost)
}

// fail ends the watchers of owner with err.
func (h *hub) fail(owner string, err error) {
	h.each(owner, func(w *watcher) { w.fail(err) })
}

func (h *hub) each(owner string, f func(*watcher)) {
	h.mu.RLock()
	defer h.mu.RUnlock()
	for w := range h.owners[owner] {
		f(w)
	}
}

func (w *watcher) hint(task string, version Version) {
	if !strings.HasPrefix(task, w.prefix.Task) {
		return
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.resync {
		return // whoever takes the Resync looks at everything after this write
	}
	if _, merged := w.pending[task]; !merged {
		if len(w.order) == maxPendingHints {
			w.lostLocked()
			return
		}
		w.order = append(w.order, task)
	}
	w.pending[task] = version
	w.signal()
}

func (w *watcher) lost() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.lostLocked()
}

func (w *watcher) lostLocked() {
	w.resync = true
	clear(w.pending)
	w.order = nil
	w.signal()
}

func (w *watcher) fail(err error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.err = err
	w.signal()
}

func (w *watcher) signal() {
	select {
	case w.wake <- struct{}{}:
	default:
	}
}

// take returns the next change, if there is one.
func (w *watcher) take() (c Change, ok bool, err error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	switch {
	case w.err != nil:
		return Change{}, false, w.err
	case w.resync:
		w.resync = false
		return Change{Key: w.prefix, Resync: true}, true, nil
	case len(w.order) == 0:
		return Change{}, false, nil
	}
	task := w.order[0]
	w.order = w.order[1:]
	c = Change{Key: Key{w.prefix.Owner, task}, Version: w.pending[task]}
	delete(w.pending, task)
	return c, true, nil
}

// run yields what comes in until the loop, the watch or ctx ends. It takes one
// change at a time: what is not taken yet can still be merged.
func (w *watcher) run(ctx context.Context, yield func(Change, error) bool) {
	for {
		if err := ctx.Err(); err != nil {
			yield(Change{}, err)
			return
		}
		c, ok, err := w.take()
		switch {
		case err != nil:
			yield(Change{}, err)
			return
		case ok:
			if !yield(c, nil) {
				return
			}
		default:
			select {
			case <-ctx.Done():
			case <-w.wake:
			}
		}
	}
}

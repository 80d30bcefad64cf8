// Package hub passes the hints of one backend to its watchers.
package hub

import (
	"context"
	"strings"
	"sync"
	"sync/atomic"
)

// maxPending bounds the hints that wait for a slow watcher. Beyond it one Resync replaces
// them.
const maxPending = 1024

// A Scope is the set of tasks that a watcher belongs to: a collection of an owner.
type Scope struct{ Owner, Collection string }

// A Hint says that a task has that version, or 0 if the task is gone. With Resync it says
// that hints may have been lost.
type Hint struct {
	Task    string
	Version uint64
	Resync  bool
}

// A Hub passes hints to the watchers of one backend, without waiting for any of them. The
// zero Hub is ready for use, by any number of goroutines.
type Hub struct {
	watching atomic.Int64 // number of watchers; a writer without watchers pays one atomic load
	mu       sync.RWMutex
	scopes   map[Scope]map[*Watcher]struct{}
}

// A Watcher is one running loop over Watch.
type Watcher struct {
	Scope
	prefix string
	wake   chan struct{} // holds one token when there is a hint to take

	mu      sync.Mutex
	resync  bool
	pending map[string]uint64 // versions by task
	order   []string          // the tasks in pending, in order of arrival
	err     error             // ends the watch
}

// Join adds a watcher of the tasks of scope that start with prefix.
func (h *Hub) Join(scope Scope, prefix string) *Watcher {
	w := &Watcher{Scope: scope, prefix: prefix, wake: make(chan struct{}, 1), pending: make(map[string]uint64)}
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.scopes == nil {
		h.scopes = make(map[Scope]map[*Watcher]struct{})
	}
	set := h.scopes[scope]
	if set == nil {
		set = make(map[*Watcher]struct{})
		h.scopes[scope] = set
	}
	set[w] = struct{}{}
	h.watching.Add(1)
	return w
}

// Leave removes w and reports whether it was its scope's last.
func (h *Hub) Leave(w *Watcher) (last bool) {
	h.mu.Lock()
	defer h.mu.Unlock()
	set := h.scopes[w.Scope]
	delete(set, w)
	h.watching.Add(-1)
	if len(set) > 0 {
		return false
	}
	delete(h.scopes, w.Scope)
	return true
}

// Hint tells the watchers of the task that it now has version.
func (h *Hub) Hint(scope Scope, task string, version uint64) {
	if h.watching.Load() == 0 {
		return
	}
	h.each(scope, func(w *Watcher) { w.hint(task, version) })
}

// Resync tells the watchers of scope that hints may have been lost.
func (h *Hub) Resync(scope Scope) { h.each(scope, (*Watcher).Lost) }

// Fail ends the watchers of scope with err.
func (h *Hub) Fail(scope Scope, err error) {
	h.each(scope, func(w *Watcher) { w.fail(err) })
}

// ResyncAll tells the watchers of all scopes that hints may have been lost.
func (h *Hub) ResyncAll() { h.all((*Watcher).Lost) }

// FailAll ends the watchers of all scopes with err.
func (h *Hub) FailAll(err error) { h.all(func(w *Watcher) { w.fail(err) }) }

func (h *Hub) all(f func(*Watcher)) {
	h.mu.RLock()
	defer h.mu.RUnlock()
	for _, set := range h.scopes {
		for w := range set {
			f(w)
		}
	}
}

func (h *Hub) each(scope Scope, f func(*Watcher)) {
	h.mu.RLock()
	defer h.mu.RUnlock()
	for w := range h.scopes[scope] {
		f(w)
	}
}

func (w *Watcher) hint(task string, version uint64) {
	if !strings.HasPrefix(task, w.prefix) {
		return
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.resync {
		return // the reader of the Resync reads everything after this write
	}
	if _, merged := w.pending[task]; !merged {
		if len(w.order) == maxPending {
			w.lostLocked()
			return
		}
		w.order = append(w.order, task)
	}
	w.pending[task] = version
	w.signal()
}

// Lost makes w yield a Resync in place of the hints that it has not yielded yet.
func (w *Watcher) Lost() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.lostLocked()
}

func (w *Watcher) lostLocked() {
	w.resync = true
	clear(w.pending)
	w.order = nil
	w.signal()
}

func (w *Watcher) fail(err error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.err = err
	w.signal()
}

func (w *Watcher) signal() {
	select {
	case w.wake <- struct{}{}:
	default:
	}
}

// take returns the next hint, if there is one.
func (w *Watcher) take() (hint Hint, ok bool, err error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	switch {
	case w.err != nil:
		return Hint{}, false, w.err
	case w.resync:
		w.resync = false
		return Hint{Resync: true}, true, nil
	case len(w.order) == 0:
		return Hint{}, false, nil
	}
	task := w.order[0]
	w.order = w.order[1:]
	hint = Hint{Task: task, Version: w.pending[task]}
	delete(w.pending, task)
	return hint, true, nil
}

// Run yields hints until the loop, the watch or ctx ends. It takes one hint at a time,
// because a hint that is not taken yet can still be merged.
func (w *Watcher) Run(ctx context.Context, yield func(Hint, error) bool) {
	for {
		if err := ctx.Err(); err != nil {
			yield(Hint{}, err)
			return
		}
		hint, ok, err := w.take()
		switch {
		case err != nil:
			yield(Hint{}, err)
			return
		case ok:
			if !yield(hint, nil) {
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

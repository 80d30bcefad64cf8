package mcptasks

import (
	"context"
	"errors"
	"strings"
	"sync"
)

// waits are the calls of plain clients that wait for a task: each holds a goroutine and a
// watch, as a subscription does. The zero value is ready.
type waits struct {
	mu   sync.Mutex
	open map[*waiting]struct{}
}

// A waiting is one call that waits for a task of owner.
type waiting struct {
	in    *installation
	owner string
	end   context.CancelFunc
}

// errCrowded says that the limit of waiting calls is reached. The call is answered with
// the task as it is.
var errCrowded = errors.New("mcptasks: too many calls wait for tasks")

// enter has w wait and returns leave, which the caller must call. It reports false if the
// limit of w's owner, or that of all, is reached.
func (all *waits) enter(w *waiting) (leave func(), ok bool) {
	all.mu.Lock()
	defer all.mu.Unlock()
	opts, others := &w.in.opts, 0
	for other := range all.open {
		if other.owner == w.owner {
			others++
		}
	}
	if len(all.open) >= opts.MaxSubscriptions || others >= opts.MaxOwnerSubscriptions && !strings.HasPrefix(w.owner, anonymousPrefix) {
		return nil, false
	}
	if all.open == nil {
		all.open = make(map[*waiting]struct{})
	}
	all.open[w] = struct{}{}
	return func() {
		all.mu.Lock()
		defer all.mu.Unlock()
		delete(all.open, w)
	}, true
}

// endAll ends the waiting of every call to in, nil: to any installation. Each is answered
// with its task as it is; the next call may come to another replica.
func (all *waits) endAll(in *installation) {
	all.mu.Lock()
	defer all.mu.Unlock()
	for w := range all.open {
		if in == nil || w.in == in {
			w.end()
		}
	}
}

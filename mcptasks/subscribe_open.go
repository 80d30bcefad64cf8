package mcptasks

import (
	"context"
	"sync"
)

// subscriptions are the open subscriptions of this process. The zero value is ready.
type subscriptions struct {
	mu      sync.Mutex
	byToken map[string]*subscription // those that are open
	// running are the subscriptions/listen that the middleware handles, with and without
	// tasks, and the function that ends each.
	running map[*listening]struct{}
}

// A listening is one subscriptions/listen in the middleware.
type listening struct {
	in  *installation
	end context.CancelFunc
}

// open adds s, unless there are most of them already.
func (all *subscriptions) open(s *subscription, most int) bool {
	all.mu.Lock()
	defer all.mu.Unlock()
	if len(all.byToken) >= most {
		return false
	}
	if all.byToken == nil {
		all.byToken = make(map[string]*subscription)
	}
	all.byToken[s.token] = s
	return true
}

// find returns the subscription with a token, or nil.
func (all *subscriptions) find(token string) *subscription {
	all.mu.Lock()
	defer all.mu.Unlock()
	return all.byToken[token]
}

// claim gives s to its owner, unless the owner has most already.
func (all *subscriptions) claim(s *subscription, owner string, most int) bool {
	all.mu.Lock()
	defer all.mu.Unlock()
	n := 0
	for _, other := range all.byToken {
		if other.owner == owner {
			n++
		}
	}
	if n >= most {
		return false
	}
	s.owner = owner
	return true
}

// close takes s out. It can be called again.
func (all *subscriptions) close(s *subscription) {
	all.mu.Lock()
	defer all.mu.Unlock()
	delete(all.byToken, s.token)
}

// enter notes that in handles a subscriptions/listen, which end ends. The caller
// must call leave.
func (all *subscriptions) enter(in *installation, end context.CancelFunc) (leave func()) {
	l := &listening{in, end}
	all.mu.Lock()
	defer all.mu.Unlock()
	if all.running == nil {
		all.running = make(map[*listening]struct{})
	}
	all.running[l] = struct{}{}
	return func() {
		all.mu.Lock()
		defer all.mu.Unlock()
		delete(all.running, l)
	}
}

// endAll ends every subscriptions/listen that in handles, nil: that any
// installation handles. Each gets its result, as the protocol wants it at a
// graceful end.
func (all *subscriptions) endAll(in *installation) {
	all.mu.Lock()
	defer all.mu.Unlock()
	for l := range all.running {
		if in == nil || l.in == in {
			l.end()
		}
	}
}

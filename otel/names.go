package taskotel

import (
	"sync"
	"unicode/utf8"
)

const (
	// maxNames is how many names one attribute can have.
	maxNames = 256
	// maxNameBytes is how long one may be.
	maxNameBytes = 128
	// other stands for all other names, and for errors of no known kind.
	other = "_OTHER"
)

// names are those that an attribute may have, so that no client can make it have any
// number. The zero value has none.
type names struct {
	mu    sync.RWMutex
	known map[string]bool
}

// has reports whether name was admitted.
func (n *names) has(name string) bool {
	n.mu.RLock()
	defer n.mu.RUnlock()
	return n.known[name]
}

// admit returns name, which from now on is known, or what stands for it where there are
// too many or it is too long.
func (n *names) admit(name string) string {
	if n.has(name) {
		return name
	}
	if name == "" || len(name) > maxNameBytes || !utf8.ValidString(name) {
		return other
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	if len(n.known) >= maxNames && !n.known[name] {
		return other
	}
	if n.known == nil {
		n.known = make(map[string]bool)
	}
	n.known[name] = true
	return name
}

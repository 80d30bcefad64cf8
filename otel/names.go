package taskotel

import (
	"sync"
	"unicode/utf8"
)

const (
	// maxNames is the number of names that one attribute can have.
	maxNames = 256
	// maxNameBytes is the greatest length of a name.
	maxNameBytes = 128
	// other stands for all other names, and for errors of unknown kinds.
	other = "_OTHER"
)

// names limits the values of an attribute, so that clients cannot make them grow without
// bound. The zero value is empty.
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

// admit adds name and returns it. It returns other if there are too many names, or if name
// is empty, too long or not UTF-8.
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

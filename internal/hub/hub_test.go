package hub

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"testing"
	"testing/synctest"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

var (
	alice = Scope{Owner: "alice"}
	other = Scope{Owner: "alice", Collection: "other"}
)

// pending returns all that w would yield now.
func pending(t *testing.T, w *Watcher) (hints []Hint) {
	t.Helper()
	for {
		h, ok, err := w.take()
		require.NoError(t, err)
		if !ok {
			return hints
		}
		hints = append(hints, h)
	}
}

func TestAWatcherGetsTheHintsOfItsScopeAndPrefix(t *testing.T) {
	var h Hub
	all, some, elsewhere := h.Join(alice, ""), h.Join(alice, "run:"), h.Join(other, "")
	h.Hint(alice, "run:1", 3)
	h.Hint(alice, "job:1", 0)
	h.Hint(Scope{Owner: "bob"}, "run:2", 1)
	h.Hint(other, "run:3", 2)
	assert.Equal(t, []Hint{{Task: "run:1", Version: 3}, {Task: "job:1"}}, pending(t, all))
	assert.Equal(t, []Hint{{Task: "run:1", Version: 3}}, pending(t, some))
	assert.Equal(t, []Hint{{Task: "run:3", Version: 2}}, pending(t, elsewhere))
}

// Owner and collection are apart, however they read when joined.
func TestScopesAreNotJoined(t *testing.T) {
	var h Hub
	w := h.Join(Scope{Owner: "a", Collection: "bc"}, "")
	for _, s := range []Scope{{"ab", "c"}, {"abc", ""}, {"a", "b"}, {"", "abc"}} {
		h.Hint(s, "t", 1)
		h.Resync(s)
		h.Fail(s, errors.New("of another scope"))
	}
	assert.Empty(t, pending(t, w))
}

func TestHintsOfOneTaskAreMergedIntoTheLatest(t *testing.T) {
	var h Hub
	w := h.Join(alice, "")
	for v := range uint64(5) {
		h.Hint(alice, "a", v+1)
		h.Hint(alice, "b", v+1)
	}
	h.Hint(alice, "a", 0)
	assert.Equal(t, []Hint{{Task: "a"}, {Task: "b", Version: 5}}, pending(t, w))
	h.Hint(alice, "a", 1)
	assert.Equal(t, []Hint{{Task: "a", Version: 1}}, pending(t, w), "a taken hint is sent anew")
}

func TestAResyncReplacesPendingHints(t *testing.T) {
	var h Hub
	w, elsewhere := h.Join(alice, ""), h.Join(other, "")
	h.Hint(alice, "a", 1)
	h.Resync(alice)
	h.Hint(alice, "b", 1)
	assert.Equal(t, []Hint{{Resync: true}}, pending(t, w))
	assert.Empty(t, pending(t, elsewhere))
	h.Hint(alice, "c", 1)
	assert.Equal(t, []Hint{{Task: "c", Version: 1}}, pending(t, w))
}

func TestASlowWatcherHoldsNoMoreThanItsShare(t *testing.T) {
	var h Hub
	w := h.Join(alice, "")
	for i := range maxPending {
		h.Hint(alice, fmt.Sprint(i), 1)
	}
	h.Hint(alice, "0", 2)
	require.Len(t, w.pending, maxPending, "a task that is pending takes no more room")
	require.False(t, w.resync)
	h.Hint(alice, "one more", 1)
	assert.Empty(t, w.pending)
	assert.Nil(t, w.order)
	assert.Equal(t, []Hint{{Resync: true}}, pending(t, w))
}

func TestTheLastWatcherOfAScopeFreesIt(t *testing.T) {
	var h Hub
	first, second, elsewhere := h.Join(alice, ""), h.Join(alice, "x"), h.Join(other, "")
	assert.False(t, h.Leave(first))
	h.Hint(alice, "x", 1)
	assert.Len(t, pending(t, second), 1)
	assert.True(t, h.Leave(second))
	assert.Len(t, h.scopes, 1)
	assert.True(t, h.Leave(elsewhere))
	assert.Empty(t, h.scopes)
	assert.Zero(t, h.watching.Load())
	h.Hint(alice, "x", 2)
	assert.Empty(t, pending(t, second), "a watcher that has left gets no hint")
}

// A writer pays for no lock while there is no watcher.
func TestAHintWithoutWatchersTakesNoLock(t *testing.T) {
	var h Hub
	h.mu.Lock()
	defer h.mu.Unlock()
	h.Hint(alice, "x", 1)
}

func TestRunEnds(t *testing.T) {
	failure := errors.New("cannot be watched")
	for name, c := range map[string]struct {
		end  func(h *Hub, cancel func())
		want []error
	}{
		"WithItsContext":   {func(_ *Hub, cancel func()) { cancel() }, []error{nil, context.Canceled}},
		"WithAnError":      {func(h *Hub, _ func()) { h.Fail(alice, failure) }, []error{nil, failure}},
		"WithItsLoop":      {func(h *Hub, _ func()) { h.Hint(alice, "last", 1) }, []error{nil, nil}},
		"WithOneErrorOnly": {func(h *Hub, cancel func()) { h.Fail(alice, failure); h.Fail(alice, failure); cancel() }, nil},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				var h Hub
				w := h.Join(alice, "")
				ctx, cancel := context.WithCancel(t.Context())
				defer cancel()
				var got []error
				ended := make(chan struct{})
				go func() {
					defer close(ended)
					w.Run(ctx, func(hint Hint, err error) bool {
						got = append(got, err)
						return hint.Task != "last"
					})
				}()
				h.Hint(alice, "first", 1)
				synctest.Wait()
				c.end(&h, cancel)
				<-ended
				if c.want == nil {
					assert.Len(t, got, 2)
					return
				}
				assert.Equal(t, c.want, got)
			})
		})
	}
}

// A task that Run hands out is no longer pending: a hint that comes meanwhile is another.
func TestAHintThatComesWhileOneIsYieldedIsYieldedToo(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var h Hub
		w := h.Join(alice, "")
		ctx, cancel := context.WithCancel(t.Context())
		h.Hint(alice, "a", 1)
		var got []uint64
		w.Run(ctx, func(hint Hint, err error) bool {
			if err == nil {
				got = append(got, hint.Version)
			}
			if hint.Version == 3 {
				cancel()
			} else {
				h.Hint(alice, "a", hint.Version+1)
			}
			return true
		})
		assert.Equal(t, []uint64{1, 2, 3}, got)
	})
}

// The last hint of each task reaches a watcher, even if writers and watchers come and go at
// once.
func TestNoLastHintIsLost(t *testing.T) {
	var h Hub
	const writers, last = 4, 2000
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	var watchers, all sync.WaitGroup
	for range 3 {
		w := h.Join(alice, "")
		watchers.Go(func() {
			left := writers
			w.Run(ctx, func(hint Hint, err error) bool {
				if hint.Version == last || hint.Resync {
					left--
				}
				return err == nil && left > 0
			})
			h.Leave(w)
			assert.Zero(t, left)
		})
	}
	for i := range writers {
		all.Go(func() {
			for v := range uint64(last) {
				h.Hint(alice, fmt.Sprint(i), v+1)
				if v%500 == 0 {
					h.Leave(h.Join(alice, ""))
				}
			}
		})
	}
	all.Wait()
	watchers.Wait()
	assert.Empty(t, h.scopes)
}

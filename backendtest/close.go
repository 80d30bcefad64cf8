package backendtest

import (
	"io"
	"reflect"

	"github.com/taskstore/taskstore"
)

// closable opens a backend that may be closed.
func (t *trial) closable() (*store, io.Closer) {
	t.Helper()
	s := t.open()
	c := power[io.Closer](s, "io.Closer")
	t.skipIfShared(s)
	return s, c
}

// skipIfShared skips the rule if other rules use the backend that it has to close.
func (t *trial) skipIfShared(s *store) {
	t.Helper()
	other := t.openBackend()
	if reflect.TypeOf(other).Comparable() && s.StorageBackend == other {
		t.skip("open always returns the same backend")
	}
	c, _ := taskstore.As[io.Closer](s.StorageBackend)
	if d, _ := taskstore.As[io.Closer](other); c != nil && reflect.TypeOf(c).Comparable() && c == d {
		t.skip("open always returns the same backend")
	}
}

var closeRules = []rule{
	{
		name: "close/refuses",
		text: "When the backend is closed every method gives an error that matches ErrClosed; to close it again is harmless.",
		check: func(t *trial) {
			s, c := t.closable()
			key := newKey()
			s.mustPut(key, text("x"))
			for range 2 {
				if err := c.Close(); err != nil {
					t.Errorf("Close: %v", err)
				}
				for _, v := range s.verbs(text("y")) {
					s.wantError(v.name, v.call(t.ctx, key), taskstore.ErrClosed)
				}
			}
		},
	},
	{
		name: "close/watch",
		text: "A watch ends with ErrClosed when the backend is closed.",
		check: func(t *trial) {
			s, c := t.closable()
			w := s.watch(of(newOwner(), ""))
			defer w.stop()
			if err := c.Close(); err != nil {
				t.Errorf("Close: %v", err)
			}
			s.eventually("the watch ends", func() bool { return w.failure() != nil })
			s.wantError("the watch", w.failure(), taskstore.ErrClosed)
		},
	},
}

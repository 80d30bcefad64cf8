package backendtest

import (
	"errors"
	"time"

	"github.com/taskstore/taskstore"
)

// awaitGone waits until Get no longer finds a record that is about to expire.
func (s *store) awaitGone(key taskstore.Key) {
	s.Helper()
	s.eventually("Get finds no record past its ExpiresAt", func() bool {
		_, err := s.Get(s.ctx, key)
		if err != nil && !errors.Is(err, taskstore.ErrNotFound) {
			s.Fatalf("Get: %v", err)
		}
		return err != nil
	})
}

// wantGone checks that the record does not exist for any method, and leaves it so. It is
// the only one of its owner.
func (s *store) wantGone(key taskstore.Key) {
	s.Helper()
	s.wantNone(key)
	s.wantTasks("list", s.mustList(of(key.Owner, "")), key.Owner)
	if p, ok := taskstore.As[taskstore.Pager](s.StorageBackend); ok {
		s.wantTasks("pages", s.walk(p, of(key.Owner, ""), 10), key.Owner)
	}
	_, err := s.PutIfVersion(s.ctx, key, text("x"), 1)
	s.wantConflict(err, key, 1, 0)
	if s.mustDelete(key) {
		s.Errorf("Delete reports that there was a record")
	}
}

// expired returns a backend with a record that was updated once and has expired.
func (t *trial) expired() (*store, taskstore.Key) {
	t.Helper()
	s := t.open()
	key := newKey()
	s.mustPut(key, text("old"))
	s.mustPut(key, until("old", s.now().Add(20*time.Millisecond)))
	s.awaitGone(key)
	return s, key
}

var goneRules = []rule{
	{
		name: "expired/get",
		text: "From its expiry on a record does not exist: Get gives ErrNotFound.",
		check: func(t *trial) {
			s, key := t.expired()
			s.wantNone(key)
		},
	},
	{
		name: "expired/put",
		text: "From its expiry on a record does not exist: Put creates version 1, which does not expire with the old one.",
		check: func(t *trial) {
			s, key := t.expired()
			s.wantVersion("Put over an expired record", s.mustPut(key, text("new")), 1)
			s.wantRecord(key, 1, text("new"))
			s.wantTasks("list", s.mustList(of(key.Owner, "")), key.Owner, key.Task)
		},
	},
	{
		name: "expired/create",
		text: "From its expiry on a record does not exist: PutIfVersion with expected 0 creates version 1.",
		check: func(t *trial) {
			s, key := t.expired()
			s.wantVersion("create over an expired record", s.mustCAS(key, text("new"), 0), 1)
			s.wantRecord(key, 1, text("new"))
			s.wantTasks("list", s.mustList(of(key.Owner, "")), key.Owner, key.Task)
		},
	},
	{
		name: "expired/conflict",
		text: "From its expiry on a record does not exist: PutIfVersion with the version that it had is a conflict with Actual 0, and does not bring it back.",
		check: func(t *trial) {
			s, key := t.expired()
			for _, v := range []taskstore.Value{text("new"), until("new", s.now().Add(time.Hour))} {
				_, err := s.PutIfVersion(t.ctx, key, v, 2)
				s.wantConflict(err, key, 2, 0)
				s.wantNone(key)
			}
			s.wantTasks("list", s.mustList(of(key.Owner, "")), key.Owner)
		},
	},
	{
		name: "expired/delete",
		text: "From its expiry on a record does not exist: Delete reports false.",
		check: func(t *trial) {
			s, key := t.expired()
			if s.mustDelete(key) {
				t.Errorf("Delete of an expired record reports that there was one")
			}
			s.wantNone(key)
		},
	},
	{
		name: "expired/list",
		text: "From its expiry on no list shows a record.",
		check: func(t *trial) {
			s, key := t.expired()
			s.wantTasks("list", s.mustList(of(key.Owner, "")), key.Owner)
			s.wantTasks("list of exactly that task", s.mustList(key), key.Owner)
			s.mustPut(of(key.Owner, "other"), text("x"))
			s.wantTasks("list", s.mustList(of(key.Owner, "")), key.Owner, "other")
		},
	},
	{
		name: "expired/page",
		text: "From its expiry on no page shows a record.",
		check: func(t *trial) {
			s, key := t.expired()
			p := s.pager()
			s.wantTasks("pages", s.walk(p, of(key.Owner, ""), 10), key.Owner)
			s.mustPut(of(key.Owner, "other"), text("x"))
			s.wantTasks("pages", s.walk(p, of(key.Owner, ""), 1), key.Owner, "other")
		},
	},
	{
		name: "expired/order",
		text: "A record that is created over an expired one is a new one, also in the order of creation.",
		check: func(t *trial) {
			s, key := t.expired()
			s.mustPut(of(key.Owner, "younger"), text("x"))
			s.mustPut(key, text("new"))
			s.wantTasks("list", s.mustList(of(key.Owner, "")), key.Owner, "younger", key.Task)

			// No write between the expiry and the create has tidied up.
			key = newKey()
			s.mustPut(key, until("old", s.now().Add(50*time.Millisecond)))
			s.mustPut(of(key.Owner, "younger"), text("x"))
			s.awaitGone(key)
			s.wantVersion("create over an expired record", s.mustCAS(key, text("new"), 0), 1)
			s.wantTasks("list", s.mustList(of(key.Owner, "")), key.Owner, "younger", key.Task)
		},
	},
	{
		name:  "expired/cleanup",
		text:  "CleanupExpired returns how many records it removed; calls before it and after it see the same records.",
		check: checkCleanup,
	},
}

func checkCleanup(t *trial) {
	s, key := t.expired()
	live := of(key.Owner, "live")
	later := of(key.Owner, "later")
	at := s.now().Add(time.Hour).Truncate(time.Millisecond)
	s.mustPut(live, text("x"))
	s.mustPut(live, text("y"))
	s.mustPut(later, until("z", at))
	for range 2 {
		if n, err := s.CleanupExpired(t.ctx); err != nil || n < 0 {
			t.Errorf("CleanupExpired: %d, %v", n, err)
		}
		s.wantNone(key)
		s.wantRecord(live, 2, text("y"))
		s.wantRecord(later, 1, until("z", at))
		s.wantTasks("list", s.mustList(of(key.Owner, "")), key.Owner, "live", "later")
	}
	if s.mustDelete(key) {
		t.Errorf("Delete of an expired record reports that there was one")
	}
	s.wantVersion("Put over an expired record", s.mustPut(key, text("new")), 1)
	s.wantRecord(key, 1, text("new"))
}

package backendtest

import (
	"errors"
	"fmt"
	"strings"
	"sync/atomic"
	"time"

	"github.com/taskstore/taskstore"
)

// wantCapacity checks the error of a write beyond a limit.
func (s *store) wantCapacity(what string, err error, limit taskstore.Limit, most uint64) {
	s.Helper()
	s.wantError(what, err, taskstore.ErrCapacityExceeded)
	var capacity *taskstore.CapacityError
	if !errors.As(err, &capacity) {
		s.Errorf("%s: error %v, want a *CapacityError", what, err)
		return
	}
	if capacity.Limit != limit || capacity.Max != most || capacity.Asked <= most {
		s.Errorf("%s: the error is about %q, Max %d, Asked %d; want %q, %d and more than that",
			what, capacity.Limit, capacity.Max, capacity.Asked, limit, most)
	}
}

// full returns a backend with a limit of 3 records, and an owner that has 3.
func (t *trial) full() (s *store, owner string) {
	t.Helper()
	s = t.limited(3, 0)
	owner, _ = s.fill(3)
	return s, owner
}

var limitRules = []rule{
	{
		name: "limits/records",
		text: "A create beyond the limit of records gives a *CapacityError, which matches ErrCapacityExceeded, and creates no record.",
		check: func(t *trial) {
			s, owner := t.full()
			key := of(owner, "new")
			for range 2 {
				_, err := s.Put(t.ctx, key, text("x"))
				s.wantCapacity("Put", err, taskstore.LimitRecords, 3)
				_, err = s.PutIfVersion(t.ctx, key, text("x"), 0)
				s.wantCapacity("PutIfVersion", err, taskstore.LimitRecords, 3)
			}
			s.wantNone(key)
			s.wantTasks("list", s.mustList(of(owner, "")), owner, "task-0", "task-1", "task-2")
		},
	},
	{
		name: "limits/race",
		text: "The limit of records holds however many creates come at once.",
		check: func(t *trial) {
			const most, racers = 5, 20
			s := t.limited(most, 0)
			for range 5 {
				owner := newOwner()
				var created atomic.Int32
				atOnce(racers, func(i int) {
					var err error
					key := of(owner, fmt.Sprint(i))
					if i%2 == 0 {
						_, err = s.Put(t.ctx, key, text("x"))
					} else {
						_, err = s.PutIfVersion(t.ctx, key, text("x"), 0)
					}
					if err == nil {
						created.Add(1)
						return
					}
					s.wantCapacity("create", err, taskstore.LimitRecords, most)
				})
				if n := created.Load(); n != most {
					t.Errorf("%d of %d concurrent creates succeed, want %d", n, racers, most)
				}
				if n := len(s.mustList(of(owner, ""))); n != most {
					t.Errorf("list: %d records, want %d", n, most)
				}
			}
		},
	},
	{
		name: "limits/updates",
		text: "Updates go on at the limit of records.",
		check: func(t *trial) {
			s, owner := t.full()
			key := of(owner, "task-1")
			s.wantVersion("Put", s.mustPut(key, text("2")), 2)
			s.wantVersion("PutIfVersion", s.mustCAS(key, text("3"), 2), 3)
			at := s.now().Add(time.Hour).Truncate(time.Millisecond)
			s.wantVersion("Put with an expiry", s.mustPut(key, until("4", at)), 4)
			s.wantRecord(key, 4, until("4", at))
		},
	},
	{
		name: "limits/delete",
		text: "A delete makes room, for one.",
		check: func(t *trial) {
			s, owner := t.full()
			for i := range 3 {
				s.mustDelete(of(owner, fmt.Sprintf("task-%d", i)))
				s.mustDelete(of(owner, fmt.Sprintf("task-%d", i))) // makes no room twice
				s.mustPut(of(owner, fmt.Sprintf("new-%d", i)), text("x"))
				_, err := s.Put(t.ctx, of(owner, "more"), text("x"))
				s.wantCapacity("Put", err, taskstore.LimitRecords, 3)
			}
		},
	},
	{
		name: "limits/expired",
		text: "No limit counts an expired record.",
		check: func(t *trial) {
			s, owner := t.full()
			soon := s.now().Add(20 * time.Millisecond)
			s.mustPut(of(owner, "task-0"), until("x", soon))
			s.mustPut(of(owner, "task-1"), until("x", soon))
			s.awaitGone(of(owner, "task-0"))
			s.awaitGone(of(owner, "task-1"))
			s.wantVersion("create", s.mustPut(of(owner, "new"), text("x")), 1)
			s.wantVersion("create over an expired record", s.mustCAS(of(owner, "task-1"), text("x"), 0), 1)
			_, err := s.Put(t.ctx, of(owner, "more"), text("x"))
			s.wantCapacity("Put", err, taskstore.LimitRecords, 3)
			s.mustPut(of(owner, "new"), until("x", s.now().Add(-2*time.Second)))
			s.wantVersion("create after a write with a past expiry", s.mustPut(of(owner, "more"), text("x")), 1)
		},
	},
	{
		name: "limits/owners",
		text: "The limit of records is each owner's own.",
		check: func(t *trial) {
			s, owner := t.full()
			for _, other := range []string{newOwner(), owner + "2", owner[:len(owner)-1]} {
				for i := range 3 {
					s.mustPut(of(other, fmt.Sprint(i)), text("x"))
				}
				_, err := s.Put(t.ctx, of(other, "more"), text("x"))
				s.wantCapacity("Put", err, taskstore.LimitRecords, 3)
			}
			_, err := s.Put(t.ctx, of(owner, "more"), text("x"))
			s.wantCapacity("Put", err, taskstore.LimitRecords, 3)
		},
	},
	{
		name: "limits/conflict",
		text: "At the limit of records a PutIfVersion that finds another version than the expected one is a conflict.",
		check: func(t *trial) {
			s, owner := t.full()
			_, err := s.PutIfVersion(t.ctx, of(owner, "task-0"), text("x"), 2)
			s.wantConflict(err, of(owner, "task-0"), 2, 1)
			_, err = s.PutIfVersion(t.ctx, of(owner, "task-0"), text("x"), 0)
			s.wantConflict(err, of(owner, "task-0"), 0, 1)
			_, err = s.PutIfVersion(t.ctx, of(owner, "new"), text("x"), 2)
			s.wantConflict(err, of(owner, "new"), 2, 0)
		},
	},
	{
		name: "limits/asked",
		text: "A ctx from WithRecordLimit limits the creates under it, in the place of the backend's own limit.",
		check: func(t *trial) {
			s := t.open()
			owner := newOwner()
			asked := taskstore.WithRecordLimit(t.ctx, 2)
			create := func(task string) (taskstore.Version, error) {
				if v, err := s.Put(asked, of(owner, task+"-put"), text("x")); err != nil {
					return v, err
				}
				return s.PutIfVersion(asked, of(owner, task+"-cas"), text("x"), 0)
			}
			if _, err := create("one"); err != nil {
				t.Errorf("creates up to the limit of the ctx: error %v", err)
			}
			_, err := s.Put(asked, of(owner, "more"), text("x"))
			s.wantCapacity("Put beyond the limit of the ctx", err, taskstore.LimitRecords, 2)
			_, err = s.PutIfVersion(asked, of(owner, "more"), text("x"), 0)
			s.wantCapacity("PutIfVersion beyond the limit of the ctx", err, taskstore.LimitRecords, 2)
			s.wantNone(of(owner, "more"))
			if _, err := s.Put(asked, of(owner, "one-put"), text("y")); err != nil {
				t.Errorf("an update at the limit of the ctx: error %v", err)
			}
			s.wantVersion("a create without that ctx", s.mustPut(of(owner, "more"), text("x")), 1)
		},
	},
	{
		name: "limits/asked-instead",
		text: "The limit that WithRecordLimit asks for may be greater than the backend's, or unlimited.",
		check: func(t *trial) {
			s, owner := t.full()
			_, err := s.PutIfVersion(taskstore.WithRecordLimit(t.ctx, 4), of(owner, "fourth"), text("x"), 0)
			if err != nil {
				t.Errorf("a create within a greater limit: error %v", err)
			}
			_, err = s.Put(taskstore.WithRecordLimit(t.ctx, 4), of(owner, "fifth"), text("x"))
			s.wantCapacity("Put beyond the greater limit", err, taskstore.LimitRecords, 4)
			for _, none := range []int{0, -1} {
				if _, err = s.Put(taskstore.WithRecordLimit(t.ctx, none), of(owner, fmt.Sprint("free", none)), text("x")); err != nil {
					t.Errorf("a Put without a limit: error %v", err)
				}
				if _, err = s.PutIfVersion(taskstore.WithRecordLimit(t.ctx, none), of(owner, fmt.Sprint("free too", none)), text("x"), 0); err != nil {
					t.Errorf("a create without a limit: error %v", err)
				}
			}
			_, err = s.Put(t.ctx, of(owner, "more"), text("x"))
			s.wantCapacity("Put under the backend's own limit", err, taskstore.LimitRecords, 3)
		},
	},
	{
		name: "limits/data",
		text: "Data longer than the limit gives a *CapacityError, which matches ErrCapacityExceeded, and changes no record; Data as long as the limit is allowed.",
		check: func(t *trial) {
			s := t.limited(0, 100)
			key, missing := newKey(), newKey()
			fits, long := text(strings.Repeat("x", 100)), text(strings.Repeat("y", 101))
			s.wantVersion("Put", s.mustPut(key, fits), 1)
			s.wantVersion("PutIfVersion", s.mustCAS(key, fits, 1), 2)
			_, err := s.Put(t.ctx, key, long)
			s.wantCapacity("Put", err, taskstore.LimitData, 100)
			_, err = s.PutIfVersion(t.ctx, key, long, 2)
			s.wantCapacity("PutIfVersion", err, taskstore.LimitData, 100)
			_, err = s.Put(t.ctx, missing, long)
			s.wantCapacity("Put", err, taskstore.LimitData, 100)
			s.wantRecord(key, 2, fits)
			s.wantNone(missing)
		},
	},
	{
		name: "limits/none",
		text: "A limit of 0 is no limit.",
		check: func(t *trial) {
			s := t.limited(0, 0)
			owner, tasks := s.fill(50)
			s.mustPut(of(owner, "task-0"), text(strings.Repeat("x", 1<<16)))
			s.wantTasks("list", s.mustList(of(owner, "")), owner, tasks...)
		},
	},
}

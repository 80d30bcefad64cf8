package backendtest

import (
	"errors"
	"fmt"
	"sync/atomic"
	"time"

	"github.com/taskstore/taskstore"
)

// A lasting is a store that can be opened again.
type lasting struct{ *store }

// lasting opens a backend that can be opened again.
func (t *trial) lasting() lasting {
	t.Helper()
	if t.openAgain == nil {
		t.skip("Hooks.Reopen is nil")
	}
	s := t.open()
	t.skipIfShared(s)
	return lasting{s}
}

// reopen ends the backend and opens the store again.
func (l lasting) reopen() {
	l.Helper()
	l.StorageBackend = l.openAgain(l.StorageBackend)
}

var reopenRules = []rule{
	{
		name: "reopen/records",
		text: "A write that was acknowledged is there when the store is opened again: data, version and expiry.",
		check: func(t *trial) {
			s := t.lasting()
			owner := newOwner()
			at := s.now().Add(time.Hour).Truncate(time.Millisecond)
			want := []taskstore.Record{
				{Key: of(owner, "put"), Version: 1, Value: text("put")},
				{Key: of(owner, "created"), Version: 1, Value: text("created")},
				{Key: of(owner, "updated"), Version: 3, Value: until("\x00\xff", at)},
				{Key: of(owner, "empty"), Version: 1},
			}
			s.mustPut(want[0].Key, want[0].Value)
			s.mustCAS(want[1].Key, want[1].Value, 0)
			s.mustPut(want[2].Key, text("x"))
			s.mustCAS(want[2].Key, until("y", at.Add(time.Hour)), 1)
			s.mustPut(want[2].Key, want[2].Value)
			s.mustPut(want[3].Key, want[3].Value)
			for range 3 {
				s.reopen()
				for _, r := range want {
					s.wantRecord(r.Key, r.Version, r.Value)
				}
				s.wantList("list", s.mustList(of(owner, "")), want)
			}
		},
	},
	{
		name: "reopen/gone",
		text: "A record that was deleted, or written with a past expiry, is gone for good when the store is opened again.",
		check: func(t *trial) {
			s := t.lasting()
			deleted, past, stays := newKey(), newKey(), newKey()
			for _, key := range []taskstore.Key{deleted, past, stays} {
				s.mustPut(key, text("x"))
			}
			s.reopen()
			s.mustDelete(deleted)
			s.mustPut(past, until("x", s.now().Add(-2*time.Second)))
			s.reopen()
			s.wantGone(deleted)
			s.wantGone(past)
			s.wantVersion("create", s.mustCAS(deleted, text("again"), 0), 1)
			s.wantRecord(stays, 1, text("x"))
		},
	},
	{
		name: "reopen/expiry",
		text: "A record expires in its time, whether or not the store was opened again meanwhile.",
		check: func(t *trial) {
			s := t.lasting()
			before, after, later := newKey(), newKey(), newKey()
			now := s.now()
			hour := now.Add(time.Hour).Truncate(time.Millisecond)
			s.mustPut(before, until("x", now.Add(20*time.Millisecond)))
			s.mustPut(later, until("x", hour))
			s.awaitGone(before)
			soon := s.now().Add(10 * clockError)
			s.mustPut(after, until("x", soon))
			s.reopen()
			s.wantGone(before)
			s.awaitGone(after)
			if now := s.now(); now.Before(soon.Add(-clockError)) {
				t.Errorf("the record is gone %v before its expiry", soon.Sub(now))
			}
			s.wantGone(after)
			s.wantRecord(later, 1, until("x", hour))
		},
	},
	{
		name: "reopen/versions",
		text: "When the store is opened again, versions go on from their last values.",
		check: func(t *trial) {
			s := t.lasting()
			key := newKey()
			for v := taskstore.Version(0); v < 6; v += 2 {
				s.wantVersion("PutIfVersion", s.mustCAS(key, text("x"), v), v+1)
				s.reopen()
				_, err := s.PutIfVersion(t.ctx, key, text("y"), v)
				s.wantConflict(err, key, v, v+1)
				s.wantVersion("Put", s.mustPut(key, text("x")), v+2)
			}
		},
	},
	{
		name: "reopen/order",
		text: "A record created after the store is opened again comes after all older ones in the order.",
		check: func(t *trial) {
			s := t.lasting()
			owner := newOwner()
			var want []string
			for _, task := range []string{"m", "z", "a", "0", "zz", "b"} {
				s.mustPut(of(owner, task), text("x"))
				s.mustPut(of(owner, task+"+"), text("x"))
				want = append(want, task, task+"+")
				s.reopen()
				s.wantTasks("list", s.mustList(of(owner, "")), owner, want...)
			}
			s.mustPut(of(owner, "a"), text("updated"))
			s.mustDelete(of(owner, "m"))
			s.reopen()
			s.mustPut(of(owner, "m"), text("again"))
			s.wantTasks("list", s.mustList(of(owner, "")), owner, append(want[1:], "m")...)
		},
	},
	{
		name: "reopen/cursor",
		text: "A cursor goes on from its place on another backend of the same store.",
		check: func(t *trial) {
			s := t.lasting()
			owner, tasks := s.fill(20)
			first, cursor := s.cursorAfter(s.pager(), of(owner, ""))
			s.reopen()
			rest, err := s.walkFrom(s.pager(), of(owner, ""), cursor, 3)
			if err != nil {
				t.Fatalf("ListPage: %v", err)
			}
			s.wantTasks("the first page, and the pages after it", append([]taskstore.Record{first}, rest...), owner, tasks...)
		},
	},
	{
		name: "reopen/limit",
		text: "The limit of records counts those that were there before the store was opened again, and each once.",
		check: func(t *trial) {
			if t.openAgain == nil {
				t.skip("Hooks.Reopen is nil")
			}
			s := lasting{t.limited(3, 0)}
			owner, _ := s.fill(2)
			s.reopen()
			s.mustPut(of(owner, "third"), text("x"))
			s.reopen()
			_, err := s.Put(t.ctx, of(owner, "fourth"), text("x"))
			s.wantCapacity("Put", err, taskstore.LimitRecords, 3)
			s.mustDelete(of(owner, "task-0"))
			s.reopen()
			s.mustPut(of(owner, "fourth"), text("x"))
			_, err = s.Put(t.ctx, of(owner, "fifth"), text("x"))
			s.wantCapacity("Put", err, taskstore.LimitRecords, 3)
		},
	},
	{
		name:  "reopen/acknowledged",
		text:  "Of writes that are under way when a store ends those that were acknowledged are there when it is opened again, and those that failed are not, unless their error matches ErrOutcomeUnknown.",
		check: checkAcknowledged,
	},
}

// checkAcknowledged opens the store again while writes are under way.
func checkAcknowledged(t *trial) {
	s := t.lasting()
	const writers, rounds, enough = 4, 5, 20
	for range rounds {
		b := s.StorageBackend
		keys := make([]taskstore.Key, writers)
		tallies := make([]tally, writers)
		created := make([][]string, writers)
		var ended atomic.Bool
		finished := make(chan struct{})
		for i := range keys {
			keys[i] = newKey()
		}
		go func() {
			defer close(finished)
			atOnce(writers, func(i int) {
				v := text("written by " + keys[i].Owner)
				for n := 0; t.ctx.Err() == nil; n++ {
					_, err := b.Put(t.ctx, keys[i], v)
					if tallies[i].count(err) != nil {
						return
					}
					task := fmt.Sprintf("made-%d", n)
					_, err = b.PutIfVersion(t.ctx, of(keys[i].Owner, task), v, 0)
					switch {
					case err == nil:
						created[i] = append(created[i], task)
					case !errors.Is(err, taskstore.ErrOutcomeUnknown):
						return
					}
					if ended.Load() {
						return
					}
				}
			})
		}()
		s.underWay(&tallies[0], enough, finished)
		s.reopen()
		ended.Store(true)
		<-finished
		for i, key := range keys {
			s.wantTally(key, &tallies[i])
			for _, task := range created[i] {
				s.wantRecord(of(key.Owner, task), 1, text("written by "+key.Owner))
			}
		}
		if t.Failed() {
			return
		}
	}
}

// underWay waits until writers have succeeded enough times, however slow the machine is,
// or all writers have finished.
func (s *store) underWay(c *tally, enough uint64, finished <-chan struct{}) {
	for c.succeeded.Load() < enough {
		select {
		case <-finished:
			return
		case <-s.ctx.Done():
			return
		case <-time.After(time.Millisecond):
		}
	}
}

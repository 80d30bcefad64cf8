package backendtest

import (
	"context"
	"errors"
	"math/rand/v2"
	"strings"
	"sync/atomic"
	"time"

	"github.com/taskstore/taskstore"
)

// done returns a context that is cancelled.
func done(parent context.Context) context.Context {
	ctx, cancel := context.WithCancel(parent)
	cancel()
	return ctx
}

var contextRules = []rule{
	{
		name: "contexts/cancelled",
		text: "A ctx that is cancelled gives an error that matches context.Canceled, from every method, and the call changes no record.",
		check: func(t *trial) {
			t.open().wantDone(done(t.ctx), context.Canceled)
		},
	},
	{
		name: "contexts/deadline",
		text: "A ctx whose deadline is past gives an error that matches context.DeadlineExceeded, from every method, and the call changes no record.",
		check: func(t *trial) {
			ctx, cancel := context.WithDeadline(t.ctx, time.Now().Add(-time.Second))
			defer cancel()
			t.open().wantDone(ctx, context.DeadlineExceeded)
		},
	},
	{
		name:  "contexts/during",
		text:  "A ctx that is done during a call gives an error that matches ctx.Err(), and the call does not outlast it. A call that fails changes no record, unless its error matches ErrOutcomeUnknown.",
		check: checkDoneDuring,
	},
}

// wantDone checks every method with a ctx that is done.
func (s *store) wantDone(ctx context.Context, want error) {
	s.Helper()
	there, missing := newKey(), newKey()
	s.mustPut(there, text("x"))
	for _, v := range s.verbs(text("y")) {
		for _, key := range []taskstore.Key{there, missing} {
			s.wantError(v.name, v.call(ctx, key), want)
		}
	}
	_, err := s.CleanupExpired(ctx)
	s.wantError("CleanupExpired", err, want)
	_, err = taskstore.Now(ctx, s.StorageBackend)
	s.wantError("Now", err, want)
	if p, ok := taskstore.As[taskstore.Pinger](s.StorageBackend); ok {
		s.wantError("Ping", p.Ping(ctx), want)
	}
	s.wantRecord(there, 1, text("x"))
	s.wantNone(missing)
}

// A tally counts the writes of a record that only Put writes, so that the record's
// version is the number of applied writes.
type tally struct {
	succeeded, unknown atomic.Uint64
}

// count counts a write and returns the error that the rule has to check.
func (c *tally) count(err error) error {
	switch {
	case err == nil:
		c.succeeded.Add(1)
	case errors.Is(err, taskstore.ErrOutcomeUnknown):
		c.unknown.Add(1)
	}
	return err
}

// wantTally checks that the record's version agrees with the results that the writers got.
func (s *store) wantTally(key taskstore.Key, c *tally) {
	s.Helper()
	least, most := c.succeeded.Load(), c.succeeded.Load()+c.unknown.Load()
	r, err := s.Get(s.ctx, key)
	switch {
	case errors.Is(err, taskstore.ErrNotFound) && least == 0:
	case err != nil:
		s.Errorf("Get: %v", err)
	case uint64(r.Version) < least || uint64(r.Version) > most:
		s.Errorf("version %d after %d writes that succeeded and %d with an unknown outcome", r.Version, least, most-least)
	case !strings.HasPrefix(string(r.Data), "written by "):
		s.Errorf("data %q matches no writer's data", clip(string(r.Data)))
	}
}

func checkDoneDuring(t *trial) {
	s := t.open()
	const writers, rounds = 8, 40
	owner := newOwner()
	tasks := []string{"a", "b", "c"}
	tallies := make([]tally, len(tasks))
	// The duration of a write decides when to cancel the others.
	usual := t.waitLimit
	for range 10 {
		start := time.Now()
		s.mustPut(of(owner, "first"), text("x"))
		usual = min(usual, time.Since(start))
	}
	usual = max(usual, 20*time.Microsecond)
	atOnce(writers, func(writer int) {
		v := text("written by " + string(rune('a'+writer)))
		for i := range rounds {
			ctx, cancel := context.WithCancel(t.ctx)
			at := time.AfterFunc(rand.N(3*usual), cancel)
			n := (writer + i) % len(tasks)
			start := time.Now()
			_, err := s.Put(ctx, of(owner, tasks[n]), v)
			took := time.Since(start)
			at.Stop()
			if tallies[n].count(err) != nil && (ctx.Err() == nil || !errors.Is(err, ctx.Err())) {
				t.Errorf("Put: error %v, ctx says %v", err, ctx.Err())
			}
			cancel()
			if took > t.waitLimit/2 {
				t.Errorf("Put took %v although its ctx was done at once", took)
				return
			}
		}
	})
	for n, task := range tasks {
		s.wantTally(of(owner, task), &tallies[n])
	}
	// The backend still works.
	key := newKey()
	s.wantVersion("Put afterwards", s.mustPut(key, text("x")), 1)
	s.wantRecord(key, 1, text("x"))
	if !s.mustDelete(key) {
		t.Errorf("Delete afterwards reports no record")
	}
}

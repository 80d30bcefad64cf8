package tasks

import (
	"context"
	"encoding/json"
	"errors"
	"math/rand/v2"
	"strconv"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/taskstore/taskstore"
)

// observed follows the records of a task as a backend sees them written, and
// fails if the written states leave the table.
type observed struct {
	t    testing.TB
	s    *Store
	mu   sync.Mutex
	last map[taskstore.Key]*record
}

func (o *observed) see(k taskstore.Key, v taskstore.Value) {
	if !isTask(k) {
		return // an entry
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	next, err := decode(v.Data)
	require.NoError(o.t, err, "a written record is unreadable: %s", v.Data)
	o.seeExpiry(next, v.ExpiresAt)
	cur := o.last[k]
	o.last[k] = next
	if cur == nil {
		assert.Equal(o.t, Working, next.Status)
		assert.Equal(o.t, uint64(1), next.Revision)
		return
	}
	assert.False(o.t, cur.Status.Terminal(), "%s was written over", cur.Status)
	assert.True(o.t, cur.Status == next.Status || cur.Status.leadsTo(next.Status), "%s to %s", cur.Status, next.Status)
	assert.True(o.t, !cur.CancelRequested || next.CancelRequested)
	assert.GreaterOrEqual(o.t, next.Lease.Token, cur.Lease.Token)
	assert.False(o.t, next.UpdatedAt.Before(cur.UpdatedAt))
	assert.Subset(o.t, next.InputKeys, cur.InputKeys)
	want := cur.Revision
	if !sameVisible(&cur.Task, &next.Task) {
		want++
	}
	assert.Equal(o.t, want, next.Revision)
	assert.Equal(o.t, cur.CreatedAt, next.CreatedAt)
	assert.Equal(o.t, cur.Request, next.Request)
	assert.Equal(o.t, cur.Service, next.Service)
	o.seeLease(cur, next)
}

// seeExpiry expects that the record is there for as long as somebody may need it, and
// no longer than MaxTTL allows.
func (o *observed) seeExpiry(r *record, at time.Time) {
	latest, least := o.s.latest(&r.Task), r.CreatedAt.Add(r.TTL)
	switch {
	case r.Status.Terminal():
		assert.Equal(o.t, least, at)
		return
	case r.Status == Working && r.Resumable:
		least = latest
	case r.Status == Working && r.Lease.Token != 0:
		least = earlier(later(least, r.Lease.ExpiresAt.Add(o.s.opts.Lease)), latest)
	}
	assert.Equal(o.t, at, later(at, least), "%s, %+v", r.Status, r.Lease)
	assert.Equal(o.t, at, earlier(at, latest), "%s, %+v", r.Status, r.Lease)
}

// seeLease expects that a holder lost its lease by its own write, or after a suspicion
// that lasted.
func (o *observed) seeLease(cur, next *record) {
	suspected, now := !cur.Lease.IdleSince.IsZero(), time.UnixMilli(time.Now().UnixMilli())
	lasted := suspected && !now.Before(o.s.idleEnough(cur.Lease))
	if next.Lease.Token != cur.Lease.Token {
		assert.True(o.t, lasted || cur.Lease.Holder == "", "%+v to %+v", cur.Lease, next.Lease)
	}
	if next.StatusMessage == MessageRunnerGone {
		assert.True(o.t, lasted, "%+v", cur.Lease)
	}
	if suspected && !next.Lease.IdleSince.IsZero() && !next.Lease.ExpiresAt.IsZero() {
		assert.Equal(o.t, cur.Lease.IdleSince, next.Lease.IdleSince, "a suspicion begins once")
	}
	if !suspected && next.Lease.Holder != "" && !next.Lease.IdleSince.IsZero() {
		assert.True(o.t, cur.Lease.over(now) && sameVisible(&cur.Task, &next.Task) || next.Revision > cur.Revision)
	}
}

// operate does one random thing to a task or to one of its runs.
func operate(s *Store, id string, runs *[]*Run, choose func(n int) int) error {
	run := s.RunOf(Task{ID: id, Owner: owner})
	if len(*runs) > 0 {
		run = (*runs)[choose(len(*runs))]
	}
	key := strconv.Itoa(choose(6))
	request := map[string]json.RawMessage{key: raw(`1`), "x" + key: raw(`2`)}
	var err error
	switch choose(19) {
	case 0, 1:
		var r *Run
		if r, err = s.Acquire(ctx, owner, id, "h"+key); err == nil {
			*runs = append(*runs, r)
		}
	case 2:
		_, err = run.Renew(ctx)
	case 3:
		_, err = run.SetStatusMessage(ctx, key)
	case 4:
		_, err = run.SaveState(ctx, []byte(key))
	case 5:
		if _, err = run.RequireInput(ctx, request); choose(2) == 0 {
			_, err = run.Park(ctx, []byte(key), request)
		}
	case 6:
		_, err = run.Release(ctx)
	case 7:
		if choose(4) == 0 {
			_, err = run.Complete(ctx, raw(key))
		}
	case 8:
		if choose(4) == 0 {
			_, err = run.Fail(ctx, Error{Message: key})
		}
	case 9:
		if choose(4) == 0 {
			_, err = run.Cancelled(ctx)
		}
	case 10:
		_, err = s.RequireInput(ctx, owner, id, request)
	case 11, 12:
		_, err = s.ProvideInput(ctx, owner, id, request, nil)
	case 13:
		if choose(4) == 0 {
			_, err = s.Cancel(ctx, owner, id)
		}
	case 14:
		_, err = s.Update(ctx, owner, id, func(t *Task) error {
			t.Status = statuses[choose(len(statuses))]
			t.StatusMessage = key
			if choose(3) == 0 {
				t.Result = raw(key)
			}
			return nil
		})
	case 15:
		_, err = s.Get(ctx, owner, id)
	case 16:
		_, err = s.Update(ctx, owner, id, func(t *Task) error { t.CancelRequested = choose(8) == 0; return nil })
	case 17:
		time.Sleep(time.Duration(choose(20)) * time.Second)
	case 18:
		for t, orphanErr := range s.Orphans(ctx, "billing") {
			if err = orphanErr; err == nil {
				var r *Run
				if r, err = s.Acquire(ctx, owner, t.ID, "o"+key); err == nil {
					*runs = append(*runs, r)
				}
			}
		}
	}
	return err
}

// allowed are the ways in which an operation may fail.
func allowed(err error) bool {
	for _, e := range []error{nil, ErrTerminal, ErrTransition, ErrLeaseHeld, ErrLeaseLost, ErrInvalid, ErrInputKeyReused} {
		if errors.Is(err, e) {
			return true
		}
	}
	return false
}

func observedStore(t testing.TB) (*Store, *observed) {
	o := &observed{t: t, last: map[taskstore.Key]*record{}}
	b := &script{StorageBackend: taskstore.NewMemoryBackend(nil)}
	var order sync.Mutex // writes are seen in the order in which they happen
	b.do(func(k taskstore.Key, v taskstore.Value, write func() error) (bool, error) {
		order.Lock()
		defer order.Unlock()
		if err := write(); err != nil {
			return true, err
		}
		o.see(k, v)
		return true, nil
	})
	o.s = newStore(t, versions{b}, &Options{MaxTTL: time.Hour, DefaultTTL: -1})
	return o.s, o
}

// versions adds the result that script leaves out: the version of a handled write.
type versions struct{ *script }

func (b versions) PutIfVersion(c context.Context, k taskstore.Key, v taskstore.Value, e taskstore.Version) (taskstore.Version, error) {
	if _, err := b.script.PutIfVersion(c, k, v, e); err != nil {
		return 0, err
	}
	return e + 1, nil
}

// counted makes sure that the task is counted if and only if it has not ended.
func counted(t testing.TB, s *Store) {
	r, err := decode(dump(t, s, tasksKey(owner))[0].Data)
	require.NoError(t, err)
	want := 1
	if r.Status.Terminal() {
		want = 0
	}
	assert.Equal(t, want, activeEntries(t, s), r.Status)
}

func TestRandomOperationsKeepToTheTable(t *testing.T) {
	for seed := range uint64(150) {
		synctest.Test(t, func(t *testing.T) {
			rng := rand.New(rand.NewPCG(seed, 1))
			s, o := observedStore(t)
			task := create(t, s, CreateParams{Holder: []string{"", "x"}[rng.IntN(2)], Resumable: rng.IntN(2) == 0, Service: "billing"})
			runs := []*Run{s.RunOf(task)}
			for range 80 {
				err := operate(s, task.ID, &runs, rng.IntN)
				require.True(t, allowed(err), "seed %d: %v", seed, err)
			}
			stored, err := decode(dump(t, s, tasksKey(owner))[0].Data)
			require.NoError(t, err)
			assert.Equal(t, o.last[storedKey(owner, task.ID)], stored)
			counted(t, s)
		})
	}
}

func TestConcurrentRandomOperationsKeepToTheTable(t *testing.T) {
	for seed := range uint64(40) {
		synctest.Test(t, func(t *testing.T) {
			s, _ := observedStore(t)
			task := create(t, s, CreateParams{Holder: "x", Resumable: seed%2 == 0})
			var wg sync.WaitGroup
			for worker := range uint64(8) {
				wg.Go(func() {
					rng := rand.New(rand.NewPCG(seed, worker))
					runs := []*Run{s.RunOf(task)}
					for range 30 {
						err := operate(s, task.ID, &runs, rng.IntN)
						assert.True(t, allowed(err), "seed %d: %v", seed, err)
					}
				})
			}
			wg.Wait()
			counted(t, s)
		})
	}
}

func FuzzOperations(f *testing.F) {
	f.Add([]byte("\x00\x01\x02\x03\x04\x05\x06\x07\x08\x09\x0a\x0b\x0c\x0d\x0e"))
	f.Fuzz(func(t *testing.T, data []byte) {
		data = data[:min(len(data), 500)] // more can outlast the task's TTL
		i := 0
		choose := func(n int) int {
			if i == len(data) {
				return 0
			}
			i++
			return int(data[i-1]) % n
		}
		synctest.Test(t, func(t *testing.T) {
			s, _ := observedStore(t)
			task := create(t, s, CreateParams{Holder: "x", Resumable: choose(2) == 0})
			runs := []*Run{s.RunOf(task)}
			for i < len(data) {
				err := operate(s, task.ID, &runs, choose)
				require.True(t, allowed(err), err)
			}
			counted(t, s)
		})
	})
}

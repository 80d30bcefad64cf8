//go:build integration

package torture

import (
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/taskstore/taskstore"
	"github.com/taskstore/taskstore/internal/faultproxy"
	"github.com/taskstore/taskstore/internal/redistest"
)

const (
	patience = 30 * time.Second
	tick     = 5 * time.Millisecond
)

// Histories outside the promise. Each of them is broken, and the documentation says so
// of each: a change that mends one changes the documentation too.
//
// A's first copy is the one that the fault meets, and A's client resends it. B meets
// no faults.
func TestOutsideThePromise(t *testing.T) {
	for name, scene := range map[string]func(s *scene){
		"put delayed past writes": func(s *scene) {
			s.faults(faultproxy.Delay)
			s.a(put("late", 1))
			s.b(put("new", 2))
			s.deliver()
			s.b(get("late", 3))
		},
		"put resent past more writes than are remembered": func(s *scene) {
			s.faults(faultproxy.DropReply, faultproxy.BlackHole)
			s.meanwhile(put("again", 11), func() {
				s.b(get("again", 1))
				for v := range taskstore.Version(9) {
					s.b(put("new", v+2))
				}
			})
			s.b(get("again", 11))
		},
		"create delayed past a delete": func(s *scene) {
			s.faults(faultproxy.Delay)
			s.a(cas("late", 0, 1))
			s.b(del(true))
			s.deliver()
			s.b(get("late", 1))
		},
		"create deleted before it returns": func(s *scene) {
			s.faults(faultproxy.DropReply, faultproxy.BlackHole)
			s.meanwhile(cas("again", 0, 1), func() { s.b(del(true)) })
			s.b(get("again", 1))
		},
		"update delayed past a delete and a create": func(s *scene) {
			s.b(put("old", 1))
			s.age()
			s.faults(faultproxy.Delay)
			s.a(cas("late", 1, 2))
			s.b(del(true))
			s.b(put("successor", 1))
			s.deliver()
			s.b(get("late", 2))
		},
		"batch that creates, delayed past its conflict and a delete": func(s *scene) {
			s.b(batch(Write{Data: "old"}, Write{Place: 1, Data: "old side"}))
			s.age()
			s.faults(faultproxy.Delay)
			s.a(refuses(1, 1, Write{Data: "late", Expected: 1}, Write{Place: 1, Data: "late side"}))
			s.b(side(del(true)))
			s.deliver()
			s.b(get("late", 2))
		},
		"delete delayed past a create": func(s *scene) {
			s.b(put("old", 1))
			s.age()
			s.faults(faultproxy.Delay)
			s.a(del(true))
			s.b(cas("successor", 0, 1))
			s.deliver()
			s.b(get("", 0))
		},
	} {
		t.Run(name, func(t *testing.T) {
			s := newScene(t)
			scene(s)
			assert.Empty(t, s.history.Failures())
			assert.ErrorContains(t, s.history.Check(t.TempDir()), "is not linearizable")
		})
	}
}

// A scene is a history that a test makes up call by call.
type scene struct {
	t       *testing.T
	proxy   *faultproxy.Proxy // of client A
	clients [2]taskstore.StorageBackend
	history *History
}

func newScene(t *testing.T) *scene {
	s := &scene{t: t, proxy: newProxy(t), history: NewHistory("owner")}
	open := toServer(redistest.Shared(t))
	opts := taskstore.RedisOptions{Prefix: uuid.NewString()}
	s.clients = [2]taskstore.StorageBackend{backend(t, open, s.proxy, opts), backend(t, open, nil, opts)}
	// The server knows the scripts and the clients the clock, so each later message is a call.
	other := taskstore.Key{Owner: "other", Task: "task"}
	for _, c := range s.clients {
		_, err := taskstore.Now(ctx, c)
		require.NoError(t, err)
		_, err = c.Put(ctx, other, taskstore.Value{})
		require.NoError(t, err)
		_, err = c.PutIfVersion(ctx, other, taskstore.Value{}, 1)
		require.NoError(t, err)
		require.NoError(t, taskstore.PutBatch(ctx, c, []taskstore.Write{{Key: other, Expected: 2}}))
		_, err = c.Delete(ctx, other)
		require.NoError(t, err)
	}
	return s
}

func (s *scene) a(want seen) { s.t.Helper(); s.do(0, want) }
func (s *scene) b(want seen) { s.t.Helper(); s.do(1, want) }

// do makes the call and checks its result.
func (s *scene) do(client int, want seen) {
	s.t.Helper()
	want.Call.Task = "task"
	got, _ := s.history.Do(ctx, s.clients[client], client, want.Call)
	assert.Equal(s.t, describe(want.Call, want.Result), describe(want.Call, got))
}

// faults sets the faults that the next copies of A's scripts meet.
func (s *scene) faults(plan ...faultproxy.Fault) {
	s.proxy.Set(faultproxy.Faults{Plan: plan, Match: faultproxy.Commands("eval", "evalsha")})
}

// meanwhile lets A make a call, and the proxy swallow its second copy. The call goes on
// after f.
func (s *scene) meanwhile(want seen, f func()) {
	s.t.Helper()
	returned := make(chan struct{})
	go func() {
		defer close(returned)
		s.a(want)
	}()
	require.Eventually(s.t, func() bool { return s.proxy.Counts().Swallowed == 1 }, patience, tick)
	f()
	s.proxy.Set(faultproxy.Faults{})
	<-returned
}

// deliver delivers the copy that is held back.
func (s *scene) deliver() {
	s.t.Helper()
	s.proxy.Release()
	require.Equal(s.t, 1, s.proxy.Counts().LateArrivals)
}

// age lets the record grow older than the clocks may differ: a resend trusts only
// such a record to be the one that it was sent for.
func (s *scene) age() {
	now := func() time.Time {
		now, err := taskstore.Now(ctx, s.clients[1])
		require.NoError(s.t, err)
		return now
	}
	born := now()
	require.Eventually(s.t, func() bool { return now().Sub(born) > 200*time.Millisecond }, patience, tick)
}

package tasks

import (
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/taskstore/taskstore"
)

func TestIdempotentCreate(t *testing.T) {
	onEach(t, func(t *testing.T, s *Store) {
		p := CreateParams{IdempotencyKey: "key", Request: raw(`{"a":1}`), Resumable: true}
		task := create(t, s, p)
		again, created, err := s.Create(ctx, owner, p)
		require.NoError(t, err)
		assert.False(t, created)
		assert.Equal(t, task, again)

		other := p
		other.Request = raw(`{"a":2}`)
		_, _, err = s.Create(ctx, owner, other)
		assert.ErrorIs(t, err, ErrIdempotencyMismatch)

		ended, err := s.Complete(ctx, owner, task.ID, raw(`1`))
		require.NoError(t, err)
		again, created, err = s.Create(ctx, owner, p)
		require.NoError(t, err)
		assert.False(t, created)
		assert.Equal(t, ended, again)

		require.NoError(t, s.Delete(ctx, owner, task.ID)) // and the key with it
		assert.Empty(t, everything(t, s))
		fresh, created, err := s.Create(ctx, owner, other)
		require.NoError(t, err)
		assert.True(t, created)
		assert.NotEqual(t, task.ID, fresh.ID)
	})
}

func TestIdempotentCreateHasOneWinner(t *testing.T) {
	check := func(t *testing.T, s *Store) {
		for round := range 10 {
			var created atomic.Int64
			var ids sync.Map
			var wg sync.WaitGroup
			for range 16 {
				wg.Go(func() {
					task, c, err := s.Create(ctx, owner, CreateParams{IdempotencyKey: strconv.Itoa(round), Holder: "x"})
					require.NoError(t, err)
					ids.Store(task.ID, true)
					if c {
						created.Add(1)
						_, err := s.RunOf(task).Renew(ctx)
						assert.NoError(t, err)
					}
				})
			}
			wg.Wait()
			assert.Equal(t, int64(1), created.Load())
			n := 0
			ids.Range(func(any, any) bool { n++; return true })
			assert.Equal(t, 1, n)
		}
		assert.Equal(t, 10, activeEntries(t, s))
		assert.Equal(t, 10, keyRecords(t, s))
	}
	onEach(t, check)
	t.Run("SixMethods", func(t *testing.T) { check(t, newStore(t, plain{taskstore.NewMemoryBackend(nil)}, nil)) })
}

// halfDone makes the writes of a process that dies in a Create, over a backend that makes
// them one by one: all but the task, which comes last.
func halfDone(t testing.TB, s *Store, p CreateParams) *record {
	now, err := s.now(ctx)
	require.NoError(t, err)
	r, err := s.newRecord(owner, p, now)
	require.NoError(t, err)
	if p.Resumable {
		_, err = s.register(ctx, &r.Task)
		require.NoError(t, err)
	}
	for _, w := range s.birth(ctx, r, 0)[1:] {
		_, err := s.backend.PutIfVersion(ctx, w.Key, w.Value, 0)
		require.NoError(t, err)
	}
	return r
}

func TestHalfDoneCreateIsFinished(t *testing.T) {
	check := func(t *testing.T, s *Store) {
		p := CreateParams{IdempotencyKey: "key", Request: raw(`1`), TTL: time.Minute, Resumable: true}
		half := halfDone(t, s, p)

		bad := p
		bad.Request = raw(`2`)
		_, _, err := s.Create(ctx, owner, bad)
		assert.ErrorIs(t, err, ErrIdempotencyMismatch)

		p.TTL = 5 * time.Hour
		var created atomic.Int64
		var wg sync.WaitGroup
		for range 16 {
			wg.Go(func() {
				got, c, err := s.Create(ctx, owner, p)
				require.NoError(t, err)
				assert.Equal(t, half.ID, got.ID)
				if c {
					created.Add(1)
				}
			})
		}
		wg.Wait()
		assert.Equal(t, int64(1), created.Load())
		rec, err := s.backend.Get(ctx, idempotencyKey(owner, half.key))
		require.NoError(t, err)
		assert.Greater(t, time.Until(rec.ExpiresAt), 5*time.Hour, "the key lasts as long as the task")
		assert.Equal(t, 1, registryEntriesOf(t, s, half.ID))
		assert.Equal(t, 1, registryEntries(t, s))
		assert.Len(t, everything(t, s), 3)
	}
	onEach(t, check)
	t.Run("SixMethods", func(t *testing.T) { check(t, newStore(t, plain{taskstore.NewMemoryBackend(nil)}, nil)) })
}

// A key stands for the same request after an end that drops the request for want of room.
func TestKeyOfATaskThatLostItsRequest(t *testing.T) {
	p := CreateParams{Holder: "x", Request: jsonOf(500), IdempotencyKey: "key"}
	probe := memoryStore(t, nil)
	create(t, probe, p)
	size := len(dump(t, probe, tasksKey(owner))[0].Data)
	s := newStore(t, taskstore.NewMemoryBackend(&taskstore.MemoryOptions{MaxDataBytes: size}), nil)
	task := create(t, s, p)
	ended, err := s.Complete(ctx, owner, task.ID, jsonOf(300))
	require.NoError(t, err)
	require.Nil(t, ended.Request)
	again, created, err := s.Create(ctx, owner, p)
	require.NoError(t, err)
	assert.False(t, created)
	assert.Equal(t, ended, again)
	p.Request = jsonOf(499)
	_, _, err = s.Create(ctx, owner, p)
	assert.ErrorIs(t, err, ErrIdempotencyMismatch)
}

func TestKeyExpiresWithItsTask(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := memoryStore(t, &Options{MaxTTL: -1, Retention: time.Minute})
		for _, ttl := range []time.Duration{time.Hour, -1} {
			p := CreateParams{IdempotencyKey: "key", TTL: ttl}
			task := create(t, s, p)
			time.Sleep(59 * time.Minute)
			_, err := s.Complete(ctx, owner, task.ID, raw(`1`))
			require.NoError(t, err)
			time.Sleep(time.Minute)
			again, created, err := s.Create(ctx, owner, p)
			require.NoError(t, err)
			assert.False(t, created)
			assert.Equal(t, task.ID, again.ID)
			time.Sleep(time.Millisecond)
			assert.Empty(t, everything(t, s))
		}
		// The key lasts as long as the task, also if a caller extends the task.
		task := create(t, s, CreateParams{IdempotencyKey: "key"})
		_, err := s.Update(ctx, owner, task.ID, func(t *Task) error { t.TTL = 10 * time.Hour; return nil })
		require.NoError(t, err)
		time.Sleep(10 * time.Hour)
		assert.Len(t, everything(t, s), 3)
		time.Sleep(time.Millisecond)
		assert.Empty(t, everything(t, s))
	})
}

func TestKeyRecordIsStrict(t *testing.T) {
	s := memoryStore(t, nil)
	key := idempotencyKey(owner, hash("key"))
	task := create(t, s, CreateParams{IdempotencyKey: "key"})
	good, err := s.backend.Get(ctx, key)
	require.NoError(t, err)
	for data, want := range map[string]error{
		`{"format":2,"x":1}`: ErrFormat,
		`rubbish`:            taskstore.ErrCorrupt,
		`{"format":1}`:       taskstore.ErrCorrupt,
		string(good.Data[:len(good.Data)-1]) + `,"x":1}`:                                          taskstore.ErrCorrupt,
		`{"format":1,"id":"x","request":"` + hash("") + `"}`:                                      taskstore.ErrCorrupt,
		`{"format":1,"id":"` + task.ID + `","id":"` + task.ID + `","request":"` + hash("") + `"}`: taskstore.ErrCorrupt,
	} {
		_, err := s.backend.Put(ctx, key, taskstore.Value{Data: []byte(data)})
		require.NoError(t, err)
		_, _, err = s.Create(ctx, owner, CreateParams{IdempotencyKey: "key"})
		assert.ErrorIs(t, err, want, data)
	}
}

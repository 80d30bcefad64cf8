package tasks

import (
	"context"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/taskstore/taskstore"
)

// However many creates are refused, an owner's tasks are looked at once in a while.
func TestRefusedCreatesDoNotReadTheOwnersTasksEachTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const active = 50
		c := &counting{StorageBackend: taskstore.NewMemoryBackend(nil)}
		s := newStore(t, c, &Options{MaxActive: active})
		for range active {
			create(t, s, CreateParams{})
		}
		c.calls.Store(0)
		for range 100 {
			refused(t, s, LimitActive, active)
		}
		// A refusal is at most: the registry's entry, the batch, a look at the key, the
		// turn, and the call that takes the entry back.
		most := int64(100*len(everyCreate)*5 + active)
		assert.LessOrEqual(t, c.calls.Load(), most)
		time.Sleep(maxTurn + time.Millisecond)
		c.calls.Store(0)
		_, _, err := s.Create(ctx, owner, CreateParams{})
		isLimit(t, err, LimitActive, active)
		assert.Greater(t, c.calls.Load(), int64(active), "a create after the turn reads the tasks again")
	})
}

// The pause between two looks is ten seconds, or a lease if that is shorter.
func TestPauseBetweenLooksForRoom(t *testing.T) {
	for lease, pause := range map[time.Duration]time.Duration{time.Second: time.Second, 10 * time.Second: 10 * time.Second, time.Minute: 10 * time.Second} {
		synctest.Test(t, func(t *testing.T) {
			s, _, b := hookedStore(t, &Options{MaxActive: 3, Lease: lease})
			for range 3 {
				create(t, s, CreateParams{})
			}
			reads := 0
			b.before = func(op string, k taskstore.Key, _ taskstore.Value, _ taskstore.Version) error {
				if op == "get" && isTask(k) {
					reads++
				}
				return nil
			}
			for _, want := range []int{3, 3, 6, 6, 9} { // each look reads all three
				_, _, err := s.Create(ctx, owner, CreateParams{})
				isLimit(t, err, LimitActive, 3)
				assert.Equal(t, want, reads, lease)
				time.Sleep(pause/2 + time.Millisecond)
			}
		})
	}
}

// A client waits for a look: it is short, however slow the backend is, and still looks at
// something.
func TestLookForRoomIsShort(t *testing.T) {
	for _, delay := range []time.Duration{30 * time.Millisecond, 3 * time.Second} {
		synctest.Test(t, func(t *testing.T) {
			const active = 200
			s, other, b := hookedStore(t, &Options{MaxActive: active, DefaultTTL: -1})
			for range active {
				create(t, s, CreateParams{})
			}
			var reads int
			b.before = func(op string, k taskstore.Key, _ taskstore.Value, _ taskstore.Version) error {
				if op == "get" && isTask(k) {
					reads++
					time.Sleep(delay)
				}
				return nil
			}
			_, _, err := s.Create(ctx, owner, CreateParams{})
			isLimit(t, err, LimitActive, active)
			assert.Equal(t, int((maxLook+delay-1)/delay), reads, "one by one, of %d", active)
			assert.Equal(t, active, activeEntries(t, other))
		})
	}
}

// A look that ctx cuts short comes to other tasks the next time.
func TestLooksThatAreCutShortComeToAllTasks(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, other, b := hookedStore(t, &Options{MaxActive: 20, MaxTTL: -1, DefaultTTL: -1})
		create(t, s, CreateParams{Holder: "dies"}) // the only one that can be settled
		for range 19 {
			create(t, s, CreateParams{})
		}
		abandon(t, other)
		for range 10_000 {
			short, cancel := context.WithCancel(ctx)
			var reads atomic.Int64
			b.before = func(op string, k taskstore.Key, _ taskstore.Value, _ taskstore.Version) error {
				if op == "get" && isTask(k) && reads.Add(1) == 3 {
					cancel()
				}
				return nil
			}
			_, _, err := s.Create(short, owner, CreateParams{})
			cancel()
			if err == nil || activeEntries(t, other) < 20 {
				return
			}
			time.Sleep(maxTurn + time.Millisecond)
		}
		t.Fatal("the same few are looked at again and again")
	})
}

// All replicas together look once. The tasks that the look settles make room at once.
func TestUnreadOrphansMakeRoom(t *testing.T) {
	onEachTwo(t, &Options{MaxActive: 3, Lease: time.Second}, func(t *testing.T, s, other *Store) {
		for range 3 {
			create(t, s, CreateParams{Holder: "dies", Request: raw(`1`)})
		}
		for _, at := range []*Store{s, other, s} {
			require.Eventually(t, func() bool { _, _, err := at.Create(ctx, owner, CreateParams{}); return err == nil }, 20*time.Second, 50*time.Millisecond)
		}
		refused(t, other, LimitActive, 3)
		assert.Equal(t, 3, activeEntries(t, s))
	})
}

// The Create that looks has the room that it made.
func TestLookMakesRoomForItsCaller(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := memoryStore(t, &Options{MaxActive: 3})
		for range 3 {
			create(t, s, CreateParams{Holder: "dies"})
		}
		abandon(t, s)
		assert.Equal(t, 3, activeEntries(t, s))
		create(t, s, CreateParams{IdempotencyKey: "k"})
		assert.Equal(t, 1, activeEntries(t, s))
	})
}

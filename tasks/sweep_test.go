package tasks

import (
	"context"
	"errors"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/taskstore/taskstore"
)

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
		// A refusal is at most: key, entries, the sweep's turn, and what takes back.
		most := int64(100*len(everyCreate)*6 + active)
		assert.LessOrEqual(t, c.calls.Load(), most)
		time.Sleep(maxSweepPause + time.Millisecond)
		c.calls.Store(0)
		_, _, err := s.Create(ctx, owner, CreateParams{})
		isLimit(t, err, LimitActive, active)
		assert.Greater(t, c.calls.Load(), int64(active), "nobody looks any more")
	})
}

func TestPauseBetweenSweeps(t *testing.T) {
	for lease, pause := range map[time.Duration]time.Duration{time.Second: time.Second, 10 * time.Second: 10 * time.Second, time.Minute: 10 * time.Second} {
		synctest.Test(t, func(t *testing.T) {
			s, _, b := hookedStore(t, &Options{MaxActive: 3, Lease: lease})
			for range 3 {
				create(t, s, CreateParams{})
			}
			reads := 0
			b.before = func(op string, k taskstore.Key, _ taskstore.Value, _ taskstore.Version) error {
				if op == "get" && strings.HasPrefix(k.Task, taskPrefix) {
					reads++
				}
				return nil
			}
			for _, want := range []int{3, 3, 6, 6, 9} { // each sweep reads all three
				_, _, err := s.Create(ctx, owner, CreateParams{})
				isLimit(t, err, LimitActive, 3)
				assert.Equal(t, want, reads, lease)
				time.Sleep(pause/2 + time.Millisecond)
			}
		})
	}
}

func TestSweepIsShort(t *testing.T) {
	for _, delay := range []time.Duration{30 * time.Millisecond, 3 * time.Second} {
		synctest.Test(t, func(t *testing.T) {
			const active = 200
			s, other, b := hookedStore(t, &Options{MaxActive: active, DefaultTTL: -1})
			for range active {
				create(t, s, CreateParams{})
			}
			var reads int
			b.before = func(op string, k taskstore.Key, _ taskstore.Value, _ taskstore.Version) error {
				if op == "get" && strings.HasPrefix(k.Task, taskPrefix) {
					reads++
					time.Sleep(delay)
				}
				return nil
			}
			_, _, err := s.Create(ctx, owner, CreateParams{})
			isLimit(t, err, LimitActive, active)
			assert.Equal(t, int((maxSweepTime+delay-1)/delay), reads, "one by one, of %d", active)
			assert.Equal(t, active, activeEntries(t, other))
		})
	}
}

func TestSweepsThatAreCutShortComeToAllTasks(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, other, b := hookedStore(t, &Options{MaxActive: 20})
		ids := make([]string, 20)
		for i := range ids {
			ids[i] = create(t, s, CreateParams{}).ID
		}
		last := ids[19] // that of which an entry is left
		b.before = func(op string, k taskstore.Key, _ taskstore.Value, _ taskstore.Version) error {
			if op == "delete" {
				return errors.New("died")
			}
			return nil
		}
		_, err := s.Complete(ctx, owner, last, raw(`1`))
		require.NoError(t, err)
		for range 10_000 {
			short, cancel := context.WithCancel(ctx)
			var reads atomic.Int64
			b.before = func(op string, k taskstore.Key, _ taskstore.Value, _ taskstore.Version) error {
				if op == "get" && reads.Add(1) == 3 {
					cancel()
				}
				return nil
			}
			_, _, err := s.Create(short, owner, CreateParams{})
			cancel()
			require.Error(t, err)
			if activeEntries(t, other) < 20 {
				return
			}
			time.Sleep(maxSweepPause + time.Millisecond)
		}
		t.Fatal("the same few are looked at again and again")
	})
}

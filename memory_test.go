package taskstore

import (
	"context"
	"fmt"
	"math/rand/v2"
	"runtime"
	"testing"
	"testing/synctest"
	"time"
	"weak"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func (m *MemoryBackend) held() (records int) {
	m.mu.RLock()
	defer m.mu.RUnlock()
	for _, c := range m.owners {
		records += len(c.tasks)
	}
	for _, c := range m.named {
		records += len(c.tasks)
	}
	return records
}

// The backend reclaims expired records without any call, and its timer does not outlive them.
func TestMemoryReclaimsByItself(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := NewMemoryBackend(nil)
		for i := range 5000 {
			at := time.Now().Add(time.Duration(i) * time.Second)
			_, err := m.Put(t.Context(), Key{Owner: "o", Task: fmt.Sprint(i)}, Value{ExpiresAt: at})
			require.NoError(t, err)
		}
		time.Sleep(2500 * time.Second)
		assert.InDelta(t, 2500, m.held(), 2)
		time.Sleep(2501 * time.Second)
		assert.Zero(t, m.held())
		assert.Empty(t, m.owners)
		assert.Nil(t, m.sweeper)
	})
}

func TestMemoryHandlesExpiriesFurtherAwayThanADuration(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := NewMemoryBackend(nil)
		key := Key{Owner: "o", Task: "t"}
		_, err := m.Put(t.Context(), key, Value{ExpiresAt: maxExpiry})
		require.NoError(t, err)
		time.Sleep(72 * time.Hour)
		_, err = m.Get(t.Context(), key)
		assert.NoError(t, err)
		_, err = m.Delete(t.Context(), key)
		require.NoError(t, err)
		assert.Empty(t, m.expiring)
	})
}

// Writes reclaim too, so a busy backend does not depend on the timer.
func TestMemoryReclaimsOnWrites(t *testing.T) {
	m := NewMemoryBackend(nil)
	m.mu.Lock()
	m.sweeper, m.sweepAt = time.NewTimer(time.Hour), 0 // a sweeper that stays idle
	m.mu.Unlock()
	soon := time.Now().Add(time.Millisecond)
	for i := range 100 {
		_, err := m.Put(t.Context(), Key{Owner: "o", Task: fmt.Sprint(i)}, Value{ExpiresAt: soon})
		require.NoError(t, err)
	}
	require.Eventually(t, func() bool { return time.Now().UnixMilli() > soon.UnixMilli() }, time.Second, time.Millisecond)
	for i := range 100/reclaimPerWrite + 1 {
		_, err := m.Put(t.Context(), Key{Owner: "other", Task: fmt.Sprint(i)}, Value{})
		require.NoError(t, err)
	}
	assert.Nil(t, m.owners["o"])
}

func TestMemoryCleanupCountsRemovedRecords(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := NewMemoryBackend(nil)
		at := time.Now().Add(time.Millisecond)
		for i := range 2*reclaimPerSweep + 1 {
			_, err := m.Put(t.Context(), Key{Owner: "o", Task: fmt.Sprint(i)}, Value{ExpiresAt: at})
			require.NoError(t, err)
		}
		_, err := m.Put(t.Context(), Key{Owner: "o", Task: "stays"}, Value{})
		require.NoError(t, err)
		time.Sleep(2 * time.Millisecond) // before the sweeper, which waits for more
		removed, err := m.CleanupExpired(t.Context())
		require.NoError(t, err)
		assert.Equal(t, 2*reclaimPerSweep+1, removed)
		assert.Equal(t, 1, m.held())
	})
}

// A backend with records that expire in a year is garbage once the last caller lets go of it.
func TestMemoryIsNotKeptAliveByItsTimer(t *testing.T) {
	m := NewMemoryBackend(nil)
	_, err := m.Put(context.Background(), Key{Owner: "o", Task: "t"}, Value{ExpiresAt: time.Now().Add(365 * 24 * time.Hour)})
	require.NoError(t, err)
	gone := weak.Make(m)
	m = nil
	require.Eventually(t, func() bool { runtime.GC(); return gone.Value() == nil }, 10*time.Second, time.Millisecond)
}

// A deleted record leaves the order of its owner, even if the owner lives on.
func TestMemoryOrderShrinks(t *testing.T) {
	m := NewMemoryBackend(nil)
	for i := range 1000 {
		_, err := m.Put(t.Context(), Key{Owner: "o", Task: fmt.Sprint(i)}, Value{})
		require.NoError(t, err)
	}
	for i := range 999 {
		_, err := m.Delete(t.Context(), Key{Owner: "o", Task: fmt.Sprint(i)})
		require.NoError(t, err)
	}
	assert.Less(t, len(m.owners["o"].order), 100)
}

func TestMemoryGetAllocatesOnlyTheCopy(t *testing.T) {
	m := NewMemoryBackend(nil)
	key := Key{Owner: "o", Task: "t"}
	_, err := m.Put(t.Context(), key, Value{Data: make([]byte, 1024)})
	require.NoError(t, err)
	ctx := context.Background()
	assert.LessOrEqual(t, testing.AllocsPerRun(100, func() { _, _ = m.Get(ctx, key) }), 1.0)
}

// An owner at its limit makes room with its own expired records. It does not pay for those of
// others, and does not need all of its own.
func TestMemoryOwnerAtItsLimitPaysForItsOwnRecords(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := NewMemoryBackend(nil)
		m.mu.Lock()
		m.sweeper, m.sweepAt = time.NewTimer(time.Hour), 0 // a sweeper that stays idle
		m.mu.Unlock()
		const others, own = 5000, 100
		soon := time.Now().Add(time.Second)
		create := func(ctx context.Context, owner string, i int, at time.Time) error {
			_, err := m.PutIfVersion(ctx, Key{Owner: owner, Task: fmt.Sprint(i)}, Value{ExpiresAt: at}, 0)
			return err
		}
		for i := range others {
			require.NoError(t, create(t.Context(), fmt.Sprint("other", i%10), i, soon))
		}
		for i := range own {
			require.NoError(t, create(t.Context(), "o", i, soon.Add(time.Millisecond)))
		}
		time.Sleep(2 * time.Second)
		require.NoError(t, create(WithRecordLimit(t.Context(), own), "o", own, time.Time{}))
		assert.Len(t, m.owners["o"].tasks, own, "one made room")
		assert.Equal(t, others+own-reclaimPerWrite, m.held(), "a write reclaims its share from other owners")

		err := create(WithRecordLimit(t.Context(), 1), "o", own+1, time.Time{})
		var full *CapacityError
		require.ErrorAs(t, err, &full)
		assert.Equal(t, CapacityError{Limit: LimitRecords, Max: 1, Asked: 2}, *full, "expired records do not count")
	})
}

// The backend reclaims records in the order of the expiries that they have now, not of earlier
// ones.
func TestMemoryReclaimsByTheLatestExpiry(t *testing.T) {
	for name, change := range map[string]func(m *MemoryBackend, key Key, at time.Time) error{
		"Shortened": func(m *MemoryBackend, key Key, at time.Time) error {
			_, err := m.Put(t.Context(), key, Value{ExpiresAt: at})
			return err
		},
		"TakenAwayAndGiven": func(m *MemoryBackend, key Key, at time.Time) error {
			if _, err := m.Put(t.Context(), key, Value{}); err != nil {
				return err
			}
			_, err := m.Put(t.Context(), key, Value{ExpiresAt: at})
			return err
		},
	} {
		for _, owners := range []int{1, 7} {
			t.Run(fmt.Sprint(name, owners), func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					m := NewMemoryBackend(nil)
					const records = 300
					random := rand.New(rand.NewPCG(1, uint64(owners)))
					begin := time.Now()
					later := func(n int) time.Time { return begin.Add(time.Duration(n) * time.Minute) }
					key := func(i int) Key { return Key{Owner: fmt.Sprint("o", i%owners), Task: fmt.Sprint(i)} }
					for i := range records {
						_, err := m.Put(t.Context(), key(i), Value{ExpiresAt: later(10000 + random.IntN(10000))})
						require.NoError(t, err)
					}
					for _, i := range random.Perm(records) {
						require.NoError(t, change(m, key(i), later(i+1)))
					}
					for i := range records {
						time.Sleep(time.Until(later(i + 1).Add(time.Second)))
						synctest.Wait()
						require.Equal(t, records-i-1, m.held(), "after %d minutes", i+1)
					}
					assert.Empty(t, m.expiring)
				})
			})
		}
	}
}

// A record that is the soonest of its owner to expire is reclaimed in its turn, however
// many owners wait for later ones.
func TestMemoryReclaimsARecordThatIsTheSoonestOfItsOwner(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := NewMemoryBackend(nil)
		begin := time.Now()
		put := func(owner, task string, minutes int) {
			_, err := m.Put(t.Context(), Key{Owner: owner, Task: task}, Value{ExpiresAt: begin.Add(time.Duration(minutes) * time.Minute)})
			require.NoError(t, err)
		}
		const owners = 9
		for i := range owners {
			put(fmt.Sprint(i), "late", 1000+i)
		}
		put(fmt.Sprint(owners-1), "soon", 1)
		time.Sleep(2 * time.Minute)
		synctest.Wait()
		assert.Equal(t, owners, m.held())
	})
}

// A record counts to the end of the last millisecond in which it exists.
func TestMemoryLimitCountsRecordsInTheirLastMillisecond(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := NewMemoryBackend(&MemoryOptions{MaxRecordsPerOwner: 1})
		at := time.Now().Add(time.Second).Truncate(time.Millisecond)
		_, err := m.Put(t.Context(), Key{Owner: "o", Task: "expires"}, Value{ExpiresAt: at})
		require.NoError(t, err)
		create := func() error {
			_, err := m.PutIfVersion(t.Context(), Key{Owner: "o", Task: "next"}, Value{}, 0)
			return err
		}
		time.Sleep(time.Until(at.Add(time.Millisecond - 1)))
		assert.ErrorIs(t, create(), ErrCapacityExceeded)
		_, err = m.Get(t.Context(), Key{Owner: "o", Task: "expires"})
		assert.NoError(t, err)
		time.Sleep(time.Nanosecond)
		assert.NoError(t, create())
	})
}

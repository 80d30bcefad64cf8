//go:build integration

package integration

import (
	"fmt"
	"math/rand/v2"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/taskstore/taskstore"
	"github.com/taskstore/taskstore/internal/storetest"
)

// The keys of an owner go with its last task, without any listing.
func TestRedisIndexDiesWithItsLastTask(t *testing.T) {
	s := storetest.New(t, taskstore.RedisOptions{})
	const tasks, writers = 20_000, 8
	var wg sync.WaitGroup
	for w := range writers {
		wg.Go(func() {
			for i := w; i < tasks; i += writers {
				at := time.Now().Add(time.Duration(rand.IntN(1500)) * time.Millisecond)
				_, err := s.PutIfVersion(ctx, taskstore.Key{Owner: "o", Task: strconv.Itoa(i)}, taskstore.Value{Data: []byte("x"), ExpiresAt: at}, 0)
				assert.NoError(t, err)
			}
		})
	}
	wg.Wait()
	require.Eventually(t, func() bool { return len(s.KeysLeft(t)) == 0 }, 30*time.Second, 50*time.Millisecond)
}

// The last permanent task may go in any way: the indexes then get their TTL back.
func TestRedisIndexIsPermanentOnlyWhileATaskIs(t *testing.T) {
	soon := func() taskstore.Value { return taskstore.Value{ExpiresAt: time.Now().Add(200 * time.Millisecond)} }
	permanent := taskstore.Key{Owner: "o", Task: "permanent"}
	for name, end := range map[string]func(s storetest.Store) error{
		"Deleted": func(s storetest.Store) error { _, err := s.Delete(ctx, permanent); return err },
		"GivenAnExpiry": func(s storetest.Store) error {
			_, err := s.Put(ctx, permanent, soon())
			return err
		},
		"GivenAPastExpiry": func(s storetest.Store) error {
			_, err := s.Put(ctx, permanent, taskstore.Value{ExpiresAt: time.Now().Add(-time.Hour)})
			return err
		},
	} {
		t.Run(name, func(t *testing.T) {
			s := storetest.New(t, taskstore.RedisOptions{})
			_, err := s.Put(ctx, taskstore.Key{Owner: "o", Task: "first"}, soon())
			require.NoError(t, err)
			_, err = s.Put(ctx, permanent, hello)
			require.NoError(t, err)
			_, err = s.Put(ctx, taskstore.Key{Owner: "o", Task: "last"}, soon())
			require.NoError(t, err)
			for _, k := range []string{s.IndexKey("o"), s.ExpiryKey("o")} {
				assert.Equal(t, time.Duration(-1), s.Client.PTTL(ctx, k).Val(), "%s while a task is permanent", k)
			}
			require.NoError(t, end(s))
			require.Eventually(t, func() bool { return len(s.KeysLeft(t)) == 0 }, 10*time.Second, 10*time.Millisecond)
		})
	}
}

// A life is one record from its create to its end. Instants are this process's;
// the server runs on the same machine.
type life struct {
	born   atomic.Int64 // the create was acknowledged; 0: not yet
	doomed atomic.Int64 // it may be gone from here on
	dead   atomic.Int64 // it is gone for sure from here on
}

// Four writers create, update, expire, delete and create again while one lists. A record that
// lived through a listing is in it once; a record that was dead before it is left out.
func TestRedisListingUnderChurn(t *testing.T) {
	s := storetest.New(t, taskstore.RedisOptions{})
	const writers, names, duration = 4, 60, 10 * time.Second
	var lives sync.Map // data -> *life
	var operations, listings atomic.Int64
	deadline := time.Now().Add(duration)
	var wg sync.WaitGroup
	for w := range writers {
		wg.Go(func() {
			current := make([]*life, names)
			versions := make([]taskstore.Version, names)
			data := make([]string, names)
			for n := 0; time.Now().Before(deadline) && !t.Failed(); n++ {
				operations.Add(1)
				i := rand.IntN(names)
				k := taskstore.Key{Owner: "o", Task: fmt.Sprintf("%d/%d", w, i)}
				expiresAt := func() time.Time {
					if rand.IntN(3) == 0 {
						return time.Time{}
					}
					return time.Now().Add(time.Duration(5+rand.IntN(100)) * time.Millisecond)
				}
				// The end of a life that has an expiry, as an observer may see it.
				plan := func(l *life, at time.Time) {
					if at.IsZero() {
						l.doomed.Store(0)
						l.dead.Store(0)
						return
					}
					l.doomed.Store(at.UnixMilli())
					l.dead.Store(at.UnixMilli() + 2)
				}
				l := current[i]
				alive := l != nil && (l.doomed.Load() == 0 || l.doomed.Load() > time.Now().UnixMilli()+1)
				unsure := l != nil && !alive && l.dead.Load() >= time.Now().UnixMilli()
				switch {
				case unsure: // in the millisecond of its expiry
				case !alive:
					l = &life{}
					data[i] = fmt.Sprintf("%d-%d", w, n)
					at := expiresAt()
					plan(l, at)
					lives.Store(data[i], l)
					v, err := s.PutIfVersion(ctx, k, taskstore.Value{Data: []byte(data[i]), ExpiresAt: at}, 0)
					if !assert.NoError(t, err) {
						return
					}
					l.born.Store(time.Now().UnixMilli())
					current[i], versions[i] = l, v
				case rand.IntN(2) == 0:
					at := expiresAt()
					// Between the two plans the life may end by either.
					if l.doomed.Load() == 0 || !at.IsZero() && at.UnixMilli() < l.doomed.Load() {
						l.doomed.Store(at.UnixMilli())
						if at.IsZero() {
							l.doomed.Store(0)
						}
					}
					l.dead.Store(0)
					v, err := s.PutIfVersion(ctx, k, taskstore.Value{Data: []byte(data[i]), ExpiresAt: at}, versions[i])
					if err != nil { // it expired first
						l.doomed.Store(1)
						l.dead.Store(time.Now().UnixMilli() + 1)
						continue
					}
					plan(l, at)
					versions[i] = v
				default:
					l.doomed.Store(1)
					_, err := s.Delete(ctx, k)
					if !assert.NoError(t, err) {
						return
					}
					l.dead.Store(time.Now().UnixMilli() + 1)
					current[i] = nil
				}
			}
		})
	}
	wg.Go(func() {
		for time.Now().Before(deadline) && !t.Failed() {
			listings.Add(1)
			type seen struct {
				l    *life
				dead bool
			}
			before := map[string]seen{}
			from := time.Now().UnixMilli()
			lives.Range(func(data, value any) bool {
				l := value.(*life)
				dead, born := l.dead.Load(), l.born.Load()
				if dead != 0 && dead < from {
					before[data.(string)] = seen{l, true}
				} else if born != 0 && born <= from {
					before[data.(string)] = seen{l, false}
				}
				return true
			})
			records, err := s.ListByPrefix(ctx, taskstore.Key{Owner: "o"})
			if !assert.NoError(t, err) {
				return
			}
			until := time.Now().UnixMilli()
			listed := map[string]int{}
			for _, r := range records {
				listed[string(r.Data)]++
			}
			for data, b := range before {
				switch {
				case b.dead:
					assert.Zero(t, listed[data], "a dead record is listed")
					lives.Delete(data)
				case b.l.doomed.Load() == 0 || b.l.doomed.Load() > until+1:
					assert.Equal(t, 1, listed[data], "a live record, how often it is listed")
				}
			}
		}
	})
	wg.Wait()
	t.Logf("%d operations, %d listings", operations.Load(), listings.Load())
	assert.Greater(t, listings.Load(), int64(100))
	s.CheckIndexes(t, "o")
}

// A listing removes a member that has no record any more. A task that is created meanwhile
// stays in the index.
func TestRedisListingRepairsTheIndex(t *testing.T) {
	s := storetest.New(t, taskstore.RedisOptions{})
	for i := range 200 {
		_, err := s.Put(ctx, taskstore.Key{Owner: "o", Task: strconv.Itoa(i)}, hello)
		require.NoError(t, err)
	}
	for i := range 100 {
		require.NoError(t, s.Client.Del(ctx, s.RecordKey(taskstore.Key{Owner: "o", Task: strconv.Itoa(i)})).Err())
	}
	list, err := s.ListByPrefix(ctx, taskstore.Key{Owner: "o"})
	require.NoError(t, err)
	assert.Len(t, list, 100)
	assert.Equal(t, int64(100), s.Client.ZCard(ctx, s.IndexKey("o")).Val())
	s.CheckIndexes(t, "o")
}

// The limit is exact under 1,000 concurrent creates on every backend, expired records
// included.
func TestRecordLimitIsExact(t *testing.T) {
	const limit, racers = 100, 1000
	race := func(t *testing.T, b taskstore.StorageBackend) {
		for i := range limit / 2 { // room that is taken, and then is not
			_, err := b.Put(ctx, taskstore.Key{Owner: "o", Task: fmt.Sprint("old", i)}, taskstore.Value{ExpiresAt: time.Now().Add(20 * time.Millisecond)})
			require.NoError(t, err)
		}
		require.Eventually(t, func() bool {
			list, err := b.ListByPrefix(ctx, taskstore.Key{Owner: "o"})
			return err == nil && len(list) == 0
		}, 5*time.Second, time.Millisecond)
		var created, refused atomic.Int64
		var wg sync.WaitGroup
		for i := range racers {
			wg.Go(func() {
				_, err := b.PutIfVersion(ctx, taskstore.Key{Owner: "o", Task: strconv.Itoa(i)}, hello, 0)
				var full *taskstore.CapacityError
				switch {
				case err == nil:
					created.Add(1)
				case assert.ErrorAs(t, err, &full):
					assert.Equal(t, taskstore.CapacityError{Limit: taskstore.LimitRecords, Max: limit, Asked: limit + 1}, *full)
					refused.Add(1)
				}
			})
		}
		wg.Wait()
		assert.Equal(t, int64(limit), created.Load())
		assert.Equal(t, int64(racers-limit), refused.Load())
		list, err := b.ListByPrefix(ctx, taskstore.Key{Owner: "o"})
		require.NoError(t, err)
		assert.Len(t, list, limit)
	}
	t.Run("Memory", func(t *testing.T) {
		race(t, taskstore.NewMemoryBackend(&taskstore.MemoryOptions{MaxRecordsPerOwner: limit}))
	})
	storetest.OnEachTopology(t, func(t *testing.T, url string) {
		race(t, storetest.Open(t, url, taskstore.RedisOptions{MaxRecordsPerOwner: limit}))
	})
}

// The order of creation survives a server's clock that is set back, or that stands still: a
// later task always gets a later place.
func TestRedisOrderSurvivesAClockThatIsSetBack(t *testing.T) {
	s := storetest.New(t, taskstore.RedisOptions{})
	_, err := s.Put(ctx, taskstore.Key{Owner: "o", Task: "first"}, hello)
	require.NoError(t, err)
	ahead := float64(time.Now().Add(time.Hour).UnixMicro()) // as if it had been created before the step
	require.NoError(t, s.Client.ZAdd(ctx, s.IndexKey("o"), redis.Z{Score: ahead, Member: "first"}).Err())
	first, cursor, err := s.ListPage(ctx, taskstore.Key{Owner: "o"}, "", 1)
	require.NoError(t, err)
	require.Len(t, first, 1)
	want := []string{"first"}
	for i := range 50 {
		task := strconv.Itoa(i)
		var err error
		switch i % 3 {
		case 0:
			_, err = s.Put(ctx, taskstore.Key{Owner: "o", Task: task}, hello)
		case 1:
			_, err = s.PutIfVersion(ctx, taskstore.Key{Owner: "o", Task: task}, lasts, 0)
		case 2:
			err = s.PutBatch(ctx, []taskstore.Write{{Key: taskstore.Key{Owner: "o", Task: task}, Value: lasts}})
		}
		require.NoError(t, err)
		want = append(want, task)
	}
	var got []string
	for r, err := range taskstore.All(ctx, s, taskstore.Key{Owner: "o"}) {
		require.NoError(t, err)
		got = append(got, r.Key.Task)
	}
	assert.Equal(t, want, got)
	rest, _, err := s.ListPage(ctx, taskstore.Key{Owner: "o"}, cursor, 100)
	require.NoError(t, err)
	assert.Len(t, rest, 50, "behind a cursor from before the step")
}

//go:build integration

package integration

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"strconv"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/taskstore/taskstore"
	"github.com/taskstore/taskstore/internal/storetest"
)

// indexesAre checks that the indexes of a collection of "o" have these records and no
// others, and the TTL that goes with them: a second more than the last of them has.
func indexesAre(t *testing.T, s storetest.Store, collection string, records []taskstore.Record) {
	t.Helper()
	scope := "{o}"
	if collection != "" {
		scope += "." + collection
	}
	index, expiry := s.Prefix+":idx:"+scope, s.Prefix+":exp:"+scope
	expiring, latest := map[string]float64{}, time.Time{}
	for _, r := range records {
		if !r.ExpiresAt.IsZero() {
			expiring[r.Key.Task] = float64(r.ExpiresAt.UnixMilli())
		}
		if r.ExpiresAt.After(latest) {
			latest = r.ExpiresAt
		}
	}
	require.Equal(t, tasksOf(records), append([]string(nil), s.Client.ZRange(ctx, index, 0, -1).Val()...))
	has := map[string]float64{}
	for _, z := range s.Client.ZRangeWithScores(ctx, expiry, 0, -1).Val() {
		has[z.Member.(string)] = z.Score
	}
	require.Equal(t, expiring, has)
	for _, key := range []string{index, expiry} {
		from := s.Client.Time(ctx).Val()
		ttl := s.Client.PTTL(ctx, key).Val()
		to := s.Client.Time(ctx).Val()
		switch end := latest.Add(time.Second); {
		case len(records) == 0, key == expiry && len(expiring) == 0:
			require.Equal(t, time.Duration(-2), ttl, "%s has gone", key)
		case len(expiring) < len(records):
			require.Equal(t, time.Duration(-1), ttl, "%s lasts", key)
		default:
			require.False(t, from.Add(ttl-time.Millisecond).After(end) || to.Add(ttl+time.Millisecond).Before(end),
				"%s ends at %v, %v in place of %v", key, from.Add(ttl), to.Add(ttl), end)
		}
	}
}

// Each write leaves indexes that fit, and has the same result as in memory.
func TestRedisIndexesFitAfterEachWrite(t *testing.T) {
	for _, seed := range []uint64{1, 2, 3, 4} {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			t.Parallel()
			opts := taskstore.RedisOptions{}
			if seed%2 == 0 {
				opts.MaxRecordsPerOwner = 6
			}
			s := storetest.New(t, opts)
			m := taskstore.NewMemoryBackend(&taskstore.MemoryOptions{MaxRecordsPerOwner: opts.MaxRecordsPerOwner})
			r := rand.New(rand.NewPCG(seed, 0))
			for range 2500 {
				k := taskOf("", strconv.Itoa(r.IntN(8)))
				v := taskstore.Value{ExpiresAt: lasts.ExpiresAt.Add(time.Duration(r.IntN(50)) * time.Second)}
				switch r.IntN(10) {
				case 0:
					v = gone
				case 1:
					v = hello
				}
				present, _ := m.Get(ctx, k)
				verb := r.IntN(4)
				write := func(b taskstore.StorageBackend) (result any, err error) {
					switch verb {
					case 0:
						return b.Put(ctx, k, v)
					case 1, 2:
						return b.Delete(ctx, k)
					}
					return b.PutIfVersion(ctx, k, v, present.Version)
				}
				want, wanted := write(m)
				got, err := write(s)
				require.Equal(t, want, got)
				require.Equal(t, wanted, err)
				records, err := m.ListByPrefix(ctx, taskOf("", ""))
				require.NoError(t, err)
				indexesAre(t, s, "", records)
			}
		})
	}
}

// An index may be lost, to an eviction say, and filled anew. It then outlives the records that
// expire, because it need not have all records that are left.
func TestRedisIndexThatIsFilledAnewLasts(t *testing.T) {
	for name, create := range map[string]func(s storetest.Store, k taskstore.Key, v taskstore.Value) error{
		"PutIfVersion": func(s storetest.Store, k taskstore.Key, v taskstore.Value) error {
			_, err := s.PutIfVersion(ctx, k, v, 0)
			return err
		},
		"PutBatch": func(s storetest.Store, k taskstore.Key, v taskstore.Value) error {
			return s.PutBatch(ctx, []taskstore.Write{{Key: k, Value: v}})
		},
	} {
		t.Run(name, func(t *testing.T) {
			s := storetest.New(t, taskstore.RedisOptions{})
			require.NoError(t, create(s, taskOf("", "first"), lasts))
			require.NoError(t, create(s, taskOf("", "second"), lasts))
			require.NoError(t, s.Client.Del(ctx, s.IndexKey("o")).Err())
			require.NoError(t, create(s, taskOf("", "expires"), lasts))
			require.NoError(t, create(s, taskOf("", "permanent"), hello))
			assert.Equal(t, time.Duration(-1), s.Client.PTTL(ctx, s.IndexKey("o")).Val())
		})
	}
}

// An index may be lost and filled anew. A delete keeps it permanent while it has a permanent
// record.
func TestRedisDeleteKeepsAnIndexThatWasLostFromDying(t *testing.T) {
	s := storetest.New(t, taskstore.RedisOptions{})
	_, err := s.Put(ctx, taskOf("", "first"), taskstore.Value{ExpiresAt: lasts.ExpiresAt.Add(time.Hour)})
	require.NoError(t, err)
	require.NoError(t, s.Client.Del(ctx, s.IndexKey("o")).Err())
	for task, v := range map[string]taskstore.Value{"expires": lasts, "permanent": hello} {
		_, err := s.PutIfVersion(ctx, taskOf("", task), v, 0)
		require.NoError(t, err)
	}
	_, err = s.Delete(ctx, taskOf("", "first"))
	require.NoError(t, err)
	assert.Equal(t, time.Duration(-1), s.Client.PTTL(ctx, s.IndexKey("o")).Val())
}

// A record that the server has deleted, and that the indexes have, is created anew with
// an earlier end. The indexes end with that.
func TestRedisIndexesEndWithTheNewLifeOfATask(t *testing.T) {
	for name, create := range map[string]func(s storetest.Store, v taskstore.Value) error{
		"PutIfVersion": func(s storetest.Store, v taskstore.Value) error {
			_, err := s.PutIfVersion(ctx, taskOf("", "task"), v, 0)
			return err
		},
		"PutBatch": func(s storetest.Store, v taskstore.Value) error {
			return s.PutBatch(ctx, []taskstore.Write{{Key: taskOf("", "task"), Value: v}})
		},
	} {
		t.Run(name, func(t *testing.T) {
			s := storetest.New(t, taskstore.RedisOptions{})
			require.NoError(t, create(s, taskstore.Value{ExpiresAt: lasts.ExpiresAt.Add(time.Hour)}))
			require.NoError(t, s.Client.Del(ctx, s.RecordKey(taskOf("", "task"))).Err())
			require.NoError(t, create(s, lasts))
			list, err := s.ListByPrefix(ctx, taskOf("", ""))
			require.NoError(t, err)
			indexesAre(t, s, "", list)
		})
	}
}

// Creates that expire remove past records from the indexes, without help from other calls.
func TestRedisCreatesTrimTheIndexes(t *testing.T) {
	for name, create := range map[string]func(s storetest.Store, k taskstore.Key) error{
		"PutIfVersion": func(s storetest.Store, k taskstore.Key) error { _, err := s.PutIfVersion(ctx, k, lasts, 0); return err },
		"PutBatch": func(s storetest.Store, k taskstore.Key) error {
			return s.PutBatch(ctx, []taskstore.Write{{Key: k, Value: lasts}})
		},
	} {
		t.Run(name, func(t *testing.T) {
			s := storetest.New(t, taskstore.RedisOptions{})
			for i := range 50 {
				k := taskOf("", fmt.Sprint("old", i))
				_, err := s.Put(ctx, k, lasts)
				require.NoError(t, err)
				past(t, s, k, time.Now().Add(-time.Millisecond))
			}
			creates := 0
			for s.Client.ZCard(ctx, s.IndexKey("o")).Val() != int64(creates) {
				require.Less(t, creates, 300, "one create in eight trims")
				require.NoError(t, create(s, taskOf("", strconv.Itoa(creates))))
				creates++
			}
			assert.EqualValues(t, creates, s.Client.ZCard(ctx, s.ExpiryKey("o")).Val())
		})
	}
}

// A delete trims the indexes too, now and then, if a record is left that lasts longer.
func TestRedisDeletesTrimTheIndexes(t *testing.T) {
	s := storetest.New(t, taskstore.RedisOptions{})
	const live = 300
	for i := range live {
		_, err := s.Put(ctx, taskOf("", strconv.Itoa(i)), taskstore.Value{ExpiresAt: lasts.ExpiresAt.Add(time.Duration(i) * time.Second)})
		require.NoError(t, err)
	}
	for i := range 50 {
		k := taskOf("", fmt.Sprint("old", i))
		_, err := s.Put(ctx, k, lasts)
		require.NoError(t, err)
		past(t, s, k, time.Now().Add(-time.Millisecond))
	}
	deleted := 0
	for s.Client.ZCard(ctx, s.IndexKey("o")).Val() != int64(live-deleted) {
		require.Less(t, deleted, live-1, "one delete in eight trims")
		_, err := s.Delete(ctx, taskOf("", strconv.Itoa(deleted)))
		require.NoError(t, err)
		deleted++
	}
}

// A batch leaves the same records and the same indexes as its writes one by one.
func TestRedisBatchesAreThoseOfMemory(t *testing.T) {
	const limit, tasks = 12, 16
	for _, seed := range []uint64{1, 2, 3, 4} {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			t.Parallel()
			s := storetest.New(t, taskstore.RedisOptions{MaxRecordsPerOwner: limit})
			m := taskstore.NewMemoryBackend(&taskstore.MemoryOptions{MaxRecordsPerOwner: limit})
			r := rand.New(rand.NewPCG(seed, 0))
			outcomes := map[string]int{}
			for range 1500 {
				writes := make([]taskstore.Write, 1+r.IntN(4))
				for i, n := range r.Perm(2 * tasks)[:len(writes)] {
					w := taskstore.Write{Key: taskOf("", fmt.Sprint("task", n/2))}
					if n%2 == 1 {
						w.Key.Collection = "named"
					}
					w.Data = []byte(fmt.Sprint(r.IntN(1000)))
					switch r.IntN(4) {
					case 0:
						w.ExpiresAt = gone.ExpiresAt
					case 1:
						w.ExpiresAt = lasts.ExpiresAt
					case 2:
						w.ExpiresAt = lasts.ExpiresAt.Add(time.Duration(r.IntN(100)) * time.Second)
					}
					if present, err := m.Get(ctx, w.Key); err == nil && r.IntN(20) > 0 {
						w.Expected = present.Version
					}
					if i > 0 && r.IntN(4) == 0 {
						w.Expected = taskstore.AnyVersion
					}
					if r.IntN(4) == 0 {
						w.MaxRecords = r.IntN(2*limit) - 2
					}
					writes[i] = w
				}
				want, got := m.PutBatch(ctx, writes), s.PutBatch(ctx, writes)
				require.Equal(t, want, got)
				var refused *taskstore.BatchError
				if errors.As(got, &refused) {
					got = refused.Err
				}
				outcomes[fmt.Sprintf("%T", got)]++
				for _, collection := range []string{"", "named"} {
					want, err := m.ListByPrefix(ctx, taskOf(collection, ""))
					require.NoError(t, err)
					got, err := s.ListByPrefix(ctx, taskOf(collection, ""))
					require.NoError(t, err)
					require.Equal(t, want, got)
					indexesAre(t, s, collection, got)
				}
			}
			t.Log(outcomes)
			assert.Len(t, outcomes, 3, "batches that are made, conflicts, limits")
			for outcome, n := range outcomes {
				assert.Greater(t, n, 50, outcome)
			}
		})
	}
}

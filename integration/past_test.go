//go:build integration

package integration

import (
	"fmt"
	"strconv"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/taskstore/taskstore"
	"github.com/taskstore/taskstore/internal/storetest"
)

// past makes a record past that expires at at, and leaves its hash there, as servers do
// for a while.
func past(t *testing.T, s storetest.Store, k taskstore.Key, at time.Time) {
	t.Helper()
	require.NoError(t, s.Client.HSet(ctx, s.RecordKey(k), "expires_at", at.UnixMilli()).Err())
	require.NoError(t, s.Client.Persist(ctx, s.RecordKey(k)).Err())
	require.NoError(t, s.Client.ZAddXX(ctx, s.ExpiryKey(k.Owner), redis.Z{Score: float64(at.UnixMilli()), Member: k.Task}).Err())
}

// A past record does not exist, even for the fast path of an update: a call may have been on
// its way for any time.
func TestRedisUpdateThatKeepsTheExpiryOfAPastRecordFindsNoRecord(t *testing.T) {
	for name, write := range map[string]func(s storetest.Store, v taskstore.Value) (taskstore.Version, error){
		"Put": func(s storetest.Store, v taskstore.Value) (taskstore.Version, error) { return s.Put(ctx, key, v) },
		"PutIfVersion": func(s storetest.Store, v taskstore.Value) (taskstore.Version, error) {
			return s.PutIfVersion(ctx, key, v, 1)
		},
	} {
		t.Run(name, func(t *testing.T) {
			s := storetest.New(t, taskstore.RedisOptions{})
			at := time.Now().Add(-50 * time.Millisecond).Truncate(time.Millisecond)
			_, err := s.Put(ctx, key, taskstore.Value{ExpiresAt: at.Add(time.Hour)})
			require.NoError(t, err)
			past(t, s, key, at)
			v, err := write(s, taskstore.Value{Data: []byte("x"), ExpiresAt: at})
			if name == "Put" {
				require.NoError(t, err)
				assert.EqualValues(t, 1, v, "a new life, which is past too")
				assert.Empty(t, s.KeysLeft(t))
			} else {
				assert.ErrorIs(t, err, taskstore.ErrNotFound)
			}
			_, err = s.Get(ctx, key)
			assert.ErrorIs(t, err, taskstore.ErrNotFound)
		})
	}
}

// Readers leave out past records, however late the server deletes them.
func TestRedisReadersHidePastRecordsThatAreStillThere(t *testing.T) {
	s := storetest.New(t, taskstore.RedisOptions{})
	const tasks = 300
	for i := range tasks {
		k := taskstore.Key{Owner: "o", Task: strconv.Itoa(i)}
		_, err := s.Put(ctx, k, taskstore.Value{ExpiresAt: time.Now().Add(time.Hour)})
		require.NoError(t, err)
		if i%3 == 0 {
			past(t, s, k, time.Now().Add(-time.Millisecond))
		}
	}
	for i := range 10 {
		_, err := s.Get(ctx, taskstore.Key{Owner: "o", Task: strconv.Itoa(i)})
		assert.Equal(t, i%3 == 0, err != nil, "task %d: %v", i, err)
	}
	for r, err := range taskstore.All(ctx, s, taskstore.Key{Owner: "o"}) {
		require.NoError(t, err)
		i, _ := strconv.Atoi(r.Key.Task)
		assert.NotZero(t, i%3, "task %d", i)
	}
	list, err := s.ListByPrefix(ctx, taskstore.Key{Owner: "o"})
	require.NoError(t, err)
	assert.Len(t, list, tasks*2/3)
}

// A record that is created over a past one has the newest place, even if the indexes still
// hold the old one.
func TestRedisCreateOverAPastRecordIsTheYoungest(t *testing.T) {
	s := storetest.New(t, taskstore.RedisOptions{})
	for _, task := range []string{"a", "b"} {
		_, err := s.Put(ctx, taskstore.Key{Owner: "o", Task: task}, taskstore.Value{ExpiresAt: time.Now().Add(time.Hour)})
		require.NoError(t, err)
	}
	a := taskstore.Key{Owner: "o", Task: "a"}
	past(t, s, a, time.Now().Add(-time.Millisecond))
	v, err := s.Put(ctx, a, hello)
	require.NoError(t, err)
	assert.EqualValues(t, 1, v)
	list, err := s.ListByPrefix(ctx, taskstore.Key{Owner: "o"})
	require.NoError(t, err)
	require.Len(t, list, 2)
	assert.Equal(t, "b", list[0].Key.Task)
	s.CheckIndexes(t, "o")
}

// Writes take past records out of the indexes, some at a time, oldest first.
func TestRedisWritesTrimTheIndexes(t *testing.T) {
	const tasks, trimmed = 100, 64
	for name, write := range map[string]func(s storetest.Store) error{
		"Create": func(s storetest.Store) error { _, err := s.PutIfVersion(ctx, key, hello, 0); return err },
		"Expiry": func(s storetest.Store) error {
			_, err := s.Put(ctx, taskstore.Key{Owner: key.Owner, Task: "stays"}, taskstore.Value{ExpiresAt: time.Now().Add(time.Hour)})
			return err
		},
		"Delete": func(s storetest.Store) error { _, err := s.Delete(ctx, key); return err },
	} {
		t.Run(name, func(t *testing.T) {
			s := storetest.New(t, taskstore.RedisOptions{})
			_, err := s.Put(ctx, taskstore.Key{Owner: key.Owner, Task: "stays"}, hello)
			require.NoError(t, err)
			for i := range tasks {
				k := taskstore.Key{Owner: key.Owner, Task: strconv.Itoa(i)}
				_, err := s.Put(ctx, k, taskstore.Value{ExpiresAt: time.Now().Add(time.Hour)})
				require.NoError(t, err)
			}
			for i := range tasks {
				past(t, s, taskstore.Key{Owner: key.Owner, Task: strconv.Itoa(i)}, time.Now().Add(time.Duration(i-tasks)*time.Millisecond))
			}
			left := func() (n int) {
				for _, task := range s.Client.ZRange(ctx, s.IndexKey(key.Owner), 0, -1).Val() {
					if _, err := strconv.Atoi(task); err == nil {
						n++
					}
				}
				return n
			}
			require.NoError(t, write(s))
			assert.Equal(t, tasks-trimmed, left())
			require.NoError(t, s.Client.ZScore(ctx, s.IndexKey(key.Owner), strconv.Itoa(tasks-1)).Err(), "the youngest is there yet")
			assert.EqualValues(t, left(), s.Client.ZCount(ctx, s.ExpiryKey(key.Owner), "-inf", fmt.Sprint(time.Now().UnixMilli())).Val())
			_, err = s.Put(ctx, taskstore.Key{Owner: key.Owner, Task: "another"}, hello)
			require.NoError(t, err)
			assert.Zero(t, left())
			s.CheckIndexes(t, key.Owner)
		})
	}
}

// A delete removes every entry of its task from the indexes.
func TestRedisDeleteLeavesNoIndexEntries(t *testing.T) {
	s := storetest.New(t, taskstore.RedisOptions{})
	for _, at := range []time.Time{{}, time.Now().Add(time.Hour)} {
		_, err := s.Put(ctx, taskstore.Key{Owner: key.Owner, Task: "stays" + at.String()}, taskstore.Value{ExpiresAt: at})
		require.NoError(t, err)
		_, err = s.Put(ctx, key, taskstore.Value{ExpiresAt: at})
		require.NoError(t, err)
		existed, err := s.Delete(ctx, key)
		require.NoError(t, err)
		assert.True(t, existed)
		for _, index := range []string{s.IndexKey(key.Owner), s.ExpiryKey(key.Owner)} {
			assert.NotContains(t, s.Client.ZRange(ctx, index, 0, -1).Val(), key.Task)
		}
	}
	assert.EqualValues(t, 2, s.Client.ZCard(ctx, s.IndexKey(key.Owner)).Val())
	assert.EqualValues(t, 1, s.Client.ZCard(ctx, s.ExpiryKey(key.Owner)).Val())
}

// A record counts to the end of the last millisecond in which it exists.
func TestRecordLimitCountsRecordsInTheirLastMillisecond(t *testing.T) {
	s := storetest.New(t, taskstore.RedisOptions{MaxRecordsPerOwner: 1})
	met := 0
	for round := 0; round < 500 && met < 20; round++ {
		owner := fmt.Sprint("o", round)
		at := s.Client.Time(ctx).Val().Add(4 * time.Millisecond).Truncate(time.Millisecond)
		_, err := s.PutIfVersion(ctx, taskstore.Key{Owner: owner, Task: "expires"}, taskstore.Value{ExpiresAt: at}, 0)
		require.NoError(t, err)
		if s.Client.Time(ctx).Val().UnixMilli() >= at.UnixMilli() {
			continue // held up: it may have been past when it was written
		}
		for n := 0; ; n++ {
			before := s.Client.Time(ctx).Val().UnixMilli()
			_, err := s.PutIfVersion(ctx, taskstore.Key{Owner: owner, Task: "next"}, hello, 0)
			after := s.Client.Time(ctx).Val().UnixMilli()
			if before == at.UnixMilli() && after == before {
				met++
			}
			if err == nil {
				require.Greater(t, after, at.UnixMilli(), "there is room before the record is past")
				break
			}
			require.ErrorIs(t, err, taskstore.ErrCapacityExceeded)
			require.LessOrEqual(t, before, at.UnixMilli(), "a record that is past counts")
		}
	}
	assert.NotZero(t, met, "creates in that millisecond")
}

// A server whose clock steps back has deleted records that are not yet past in the indexes.
// The record limit leaves them out.
func TestRecordLimitOmitsRecordsThatTheServerHasDeleted(t *testing.T) {
	const limit = 10
	for name, at := range map[string]time.Time{"Expiring": time.Now().Add(time.Hour), "Permanent": {}} {
		t.Run(name, func(t *testing.T) {
			s := storetest.New(t, taskstore.RedisOptions{MaxRecordsPerOwner: limit})
			create := func(task string) error {
				_, err := s.PutIfVersion(ctx, taskstore.Key{Owner: "o", Task: task}, taskstore.Value{ExpiresAt: at}, 0)
				return err
			}
			for i := range limit {
				require.NoError(t, create(strconv.Itoa(i)))
			}
			require.ErrorIs(t, create("eleventh"), taskstore.ErrCapacityExceeded)
			for i := range limit {
				require.NoError(t, s.Client.Del(ctx, s.RecordKey(taskstore.Key{Owner: "o", Task: strconv.Itoa(i)})).Err())
			}
			spoiled := taskstore.Key{Owner: "o", Task: "0"}
			require.NoError(t, s.Client.Set(ctx, s.RecordKey(spoiled), "it is there, and stands in no way", 0).Err())
			for i := range limit - 1 {
				require.NoError(t, create(fmt.Sprint("new", i)))
			}
			require.ErrorIs(t, create("eleventh"), taskstore.ErrCapacityExceeded)
			_, err := s.Put(ctx, taskstore.Key{Owner: "o", Task: "eleventh"}, hello)
			require.ErrorIs(t, err, taskstore.ErrCapacityExceeded)
			_, err = s.Delete(ctx, spoiled)
			require.NoError(t, err)
			require.NoError(t, create("tenth"))
			s.CheckIndexes(t, "o")
		})
	}
}

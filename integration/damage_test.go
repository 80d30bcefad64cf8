//go:build integration

package integration

import (
	"errors"
	"slices"
	"strconv"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/taskstore/taskstore"
	"github.com/taskstore/taskstore/internal/storetest"
)

// damaged returns a store with an owner's records, of which some cannot be read, and
// the tasks of both.
func damaged(t *testing.T) (s storetest.Store, good, bad []string) {
	s = storetest.New(t, taskstore.RedisOptions{})
	for i := range 700 {
		task := strconv.Itoa(i)
		k := taskstore.Key{Owner: "o", Task: task}
		_, err := s.Put(ctx, k, hello)
		require.NoError(t, err)
		var damage error
		switch i {
		case 3, 300, 699: // in the first batch, in another one of its range, in the last
			damage = errors.Join(s.Client.Del(ctx, s.RecordKey(k)).Err(), s.Client.Set(ctx, s.RecordKey(k), "payload", 0).Err())
		case 4:
			damage = s.Client.HDel(ctx, s.RecordKey(k), "version").Err()
		case 600:
			damage = s.Client.HSet(ctx, s.RecordKey(k), "expires_at", "soon").Err()
		default:
			good = append(good, task)
			continue
		}
		require.NoError(t, damage)
		bad = append(bad, task)
	}
	return s, good, bad
}

// tasksOf returns the tasks of records, in their order.
func tasksOf(records []taskstore.Record) (tasks []string) {
	for _, r := range records {
		tasks = append(tasks, r.Key.Task)
	}
	return tasks
}

// namedBy returns the tasks that an error names, each in an error that matches ErrCorrupt.
func namedBy(t *testing.T, err error) (tasks []string) {
	t.Helper()
	if err == nil {
		return nil
	}
	assert.ErrorIs(t, err, taskstore.ErrCorrupt)
	errs := []error{err}
	if joined, ok := err.(interface{ Unwrap() []error }); ok {
		errs = joined.Unwrap()
	}
	for _, err := range errs {
		var corrupt *taskstore.CorruptError
		if assert.ErrorAs(t, err, &corrupt) {
			assert.Equal(t, "o", corrupt.Key.Owner)
			assert.NotContains(t, everyPrint(err), "payload")
			tasks = append(tasks, corrupt.Key.Task)
		}
	}
	return tasks
}

// A listing reports a record that it cannot read, and goes on with the records behind it.
func TestRedisListsGoOnBehindDamagedRecords(t *testing.T) {
	owner := taskstore.Key{Owner: "o"}
	t.Run("ListByPrefix", func(t *testing.T) {
		s, good, bad := damaged(t)
		list, err := s.ListByPrefix(ctx, owner)
		assert.Equal(t, bad, namedBy(t, err))
		assert.Equal(t, good, tasksOf(list))
	})
	t.Run("ListPage", func(t *testing.T) {
		s, good, bad := damaged(t)
		for _, limit := range []int{1, 7, 500} {
			var listed, named []string
			for cursor := ""; ; {
				page, next, err := s.ListPage(ctx, owner, cursor, limit)
				named = append(named, namedBy(t, err)...)
				listed = append(listed, tasksOf(page)...)
				if cursor = next; cursor == "" {
					break
				}
			}
			assert.Equal(t, bad, named, "pages of %d", limit)
			assert.Equal(t, good, listed, "pages of %d", limit)
		}
	})
	t.Run("All", func(t *testing.T) {
		s, good, bad := damaged(t)
		var listed []string
		for r, err := range taskstore.All(ctx, s, owner) {
			var corrupt *taskstore.CorruptError
			if errors.As(err, &corrupt) {
				assert.Zero(t, r)
				assert.Contains(t, bad, corrupt.Key.Task)
				existed, err := s.Delete(ctx, corrupt.Key)
				require.NoError(t, err, "the loop may remove damaged records")
				assert.True(t, existed)
				continue
			}
			require.NoError(t, err)
			listed = append(listed, r.Key.Task)
		}
		assert.Equal(t, good, listed)
		list, err := s.ListByPrefix(ctx, owner)
		require.NoError(t, err)
		assert.Equal(t, good, tasksOf(list))
		s.CheckIndexes(t, "o")
	})
}

// Delete removes a value of any type at its record's key, and one bad key does not keep an
// index from being repaired.
func TestRedisDeleteRemovesAnyTypeAtItsKey(t *testing.T) {
	for name, put := range map[string]func(s storetest.Store, k string) error{
		"String": func(s storetest.Store, k string) error { return s.Client.Set(ctx, k, "x", 0).Err() },
		"Set":    func(s storetest.Store, k string) error { return s.Client.SAdd(ctx, k, "x").Err() },
		"List":   func(s storetest.Store, k string) error { return s.Client.RPush(ctx, k, "x").Err() },
		"ZSet":   func(s storetest.Store, k string) error { return s.Client.ZAdd(ctx, k, redis.Z{Member: "x"}).Err() },
		"Stream": func(s storetest.Store, k string) error {
			return s.Client.XAdd(ctx, &redis.XAddArgs{Stream: k, Values: []string{"a", "b"}}).Err()
		},
	} {
		for _, at := range []time.Time{{}, time.Now().Add(time.Hour)} {
			t.Run(name, func(t *testing.T) {
				s := storetest.New(t, taskstore.RedisOptions{})
				_, err := s.Put(ctx, key, taskstore.Value{ExpiresAt: at})
				require.NoError(t, err)
				gone := taskstore.Key{Owner: key.Owner, Task: "gone"}
				_, err = s.Put(ctx, gone, hello)
				require.NoError(t, err)
				require.NoError(t, s.Client.Del(ctx, s.RecordKey(gone), s.RecordKey(key)).Err())
				require.NoError(t, put(s, s.RecordKey(key)))
				list, err := s.ListByPrefix(ctx, taskstore.Key{Owner: key.Owner})
				assert.ErrorIs(t, err, taskstore.ErrCorrupt)
				assert.Empty(t, list)
				assert.Equal(t, []string{key.Task}, s.Client.ZRange(ctx, s.IndexKey(key.Owner), 0, -1).Val(), "the list repairs the other entries")
				existed, err := s.Delete(ctx, key)
				require.NoError(t, err)
				assert.True(t, existed)
				assert.Empty(t, s.KeysLeft(t))
			})
		}
	}
}

// Each database has its own hints, although the server's channels are common to all.
func TestRedisWatchesHearOnlyTheirDatabase(t *testing.T) {
	s := storetest.New(t, taskstore.RedisOptions{})
	o := *s.Client.Options()
	backends := make([]*taskstore.RedisBackend, 3)
	for i, database := range []int{0, 1, 1} {
		o.DB = database
		client := redis.NewClient(&o)
		t.Cleanup(func() { _ = client.Close() })
		b, err := taskstore.NewRedisBackend(client, &taskstore.RedisOptions{Prefix: s.Prefix})
		require.NoError(t, err)
		t.Cleanup(func() { _, _ = b.Delete(ctx, key) })
		backends[i] = b
	}
	for _, watching := range []int{0, 1} {
		own, others := backends[2], backends[0]
		if watching == 0 {
			own, others = backends[0], backends[2]
		}
		var heard []taskstore.Version
		for c, err := range backends[watching].Watch(ctx, taskstore.Key{Owner: key.Owner}) {
			require.NoError(t, err)
			if c.Resync {
				_, err := others.Put(ctx, key, hello)
				require.NoError(t, err)
				_, err = own.Put(ctx, taskstore.Key{Owner: key.Owner, Task: "own"}, hello)
				require.NoError(t, err)
				continue
			}
			if heard = append(heard, c.Version); c.Key.Task == "own" {
				break
			}
		}
		assert.Len(t, heard, 1, "database %d", watching)
		_, err := own.Delete(ctx, taskstore.Key{Owner: key.Owner, Task: "own"})
		require.NoError(t, err)
	}
	assert.True(t, slices.Contains(s.KeysLeft(t), s.RecordKey(key)))
}

// A value of another type at the key of an index stops the calls that need the index, and
// their errors say so. Records can be read, updated and deleted. The backend leaves the
// damaged index to an operator.
func TestRedisDamagedIndexStopsOnlyItsReaders(t *testing.T) {
	at := time.Now().Add(time.Hour).Truncate(time.Millisecond)
	for name, damaged := range map[string][]func(s storetest.Store) string{
		"Index":  {func(s storetest.Store) string { return s.IndexKey("o") }},
		"Expiry": {func(s storetest.Store) string { return s.ExpiryKey("o") }},
		"Both":   {func(s storetest.Store) string { return s.IndexKey("o") }, func(s storetest.Store) string { return s.ExpiryKey("o") }},
	} {
		for _, opts := range []taskstore.RedisOptions{{}, {AutoPipeline: true}, {MaxRecordsPerOwner: 10}} {
			t.Run(name, func(t *testing.T) {
				s := storetest.New(t, opts)
				k := func(task string) taskstore.Key { return taskstore.Key{Owner: "o", Task: task} }
				for _, task := range []string{"permanent", "expiring", "spoiled", "stays"} {
					v := taskstore.Value{}
					if task == "expiring" || task == "spoiled" {
						v.ExpiresAt = at
					}
					_, err := s.Put(ctx, k(task), v)
					require.NoError(t, err)
				}
				for _, key := range append([]string{s.RecordKey(k("spoiled"))}, damaged[0](s), damaged[len(damaged)-1](s)) {
					require.NoError(t, s.Client.Set(ctx, key, "payload", 0).Err())
				}
				needsIndex := func(err error) {
					t.Helper()
					var corrupt *taskstore.CorruptError
					require.ErrorAs(t, err, &corrupt)
					assert.NotErrorIs(t, err, taskstore.ErrOutcomeUnknown)
					assert.NotContains(t, everyPrint(err), "payload")
				}
				list, err := s.ListByPrefix(ctx, k("s"))
				page, next, pageErr := s.ListPage(ctx, k("s"), "", 10)
				if name == "Expiry" { // which lists do not need
					assert.Equal(t, []string{"spoiled"}, namedBy(t, err))
					assert.Equal(t, []string{"spoiled"}, namedBy(t, pageErr))
					assert.Equal(t, []string{"stays"}, tasksOf(list))
					assert.Equal(t, []string{"stays"}, tasksOf(page))
				} else {
					for _, err := range []error{err, pageErr} {
						needsIndex(err)
						assert.Equal(t, []string{""}, namedBy(t, err), "no record, but the owner")
						assert.ErrorContains(t, err, s.Prefix+":idx:{")
					}
					assert.Empty(t, list)
					assert.Empty(t, page)
				}
				assert.Empty(t, next)

				_, err = s.PutIfVersion(ctx, k("new"), hello, 0)
				needsIndex(err)
				_, err = s.Get(ctx, k("new"))
				assert.ErrorIs(t, err, taskstore.ErrNotFound)
				_, err = s.PutIfVersion(ctx, k("permanent"), hello, 1)
				require.NoError(t, err, "an update that keeps the expiry")
				_, err = s.Put(ctx, k("permanent"), taskstore.Value{ExpiresAt: at})
				needsIndex(err)
				_, err = s.CleanupExpired(ctx)
				require.NoError(t, err)

				for _, task := range []string{"permanent", "expiring", "spoiled"} {
					existed, err := s.Delete(ctx, k(task))
					require.NoError(t, err, task)
					assert.True(t, existed, task)
					existed, err = s.Delete(ctx, k(task))
					require.NoError(t, err, task)
					assert.False(t, existed, task)
					_, err = s.Get(ctx, k(task))
					assert.ErrorIs(t, err, taskstore.ErrNotFound, task)
				}
				for _, key := range damaged {
					assert.Equal(t, "payload", s.Client.Get(ctx, key(s)).Val())
					require.NoError(t, s.Client.Del(ctx, key(s)).Err())
				}
				got, err := s.Get(ctx, k("stays"))
				require.NoError(t, err)
				assert.EqualValues(t, 1, got.Version)
				_, err = s.Put(ctx, k("stays"), taskstore.Value{ExpiresAt: at}) // is entered again
				require.NoError(t, err)
				s.CheckIndexes(t, "o")
				existed, err := s.Delete(ctx, k("stays"))
				require.NoError(t, err)
				assert.True(t, existed)
				assert.Empty(t, s.KeysLeft(t))
			})
		}
	}
}

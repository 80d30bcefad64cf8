//go:build integration

package integration

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/taskstore/taskstore"
	"github.com/taskstore/taskstore/internal/redistest"
	"github.com/taskstore/taskstore/internal/storetest"
)

var (
	lasts = taskstore.Value{Data: []byte("lasts"), ExpiresAt: time.Now().Add(time.Hour).Truncate(time.Millisecond).UTC()}
	gone  = taskstore.Value{ExpiresAt: time.Now().Add(-time.Hour)}
)

// taskOf is a task of the owner "o".
func taskOf(collection, task string) taskstore.Key {
	return taskstore.Key{Owner: "o", Collection: collection, Task: task}
}

// refusedAt checks that a batch was refused for its i-th write, and returns why.
func refusedAt(t *testing.T, i int, err error) error {
	t.Helper()
	var refused *taskstore.BatchError
	require.ErrorAs(t, err, &refused)
	assert.Equal(t, i, refused.Index)
	assert.NotErrorIs(t, err, taskstore.ErrOutcomeUnknown)
	return refused.Err
}

// onClient returns a backend on a client of its own.
func onClient(t *testing.T, o *redis.Options, prefix string) *taskstore.RedisBackend {
	client := redis.NewClient(o)
	t.Cleanup(func() { _ = client.Close() })
	b, err := taskstore.NewRedisBackend(client, &taskstore.RedisOptions{Prefix: prefix})
	require.NoError(t, err)
	t.Cleanup(func() { _ = b.Close() })
	return b
}

// dump is all that a store has.
func dump(t *testing.T, s storetest.Store) map[string]string {
	all := map[string]string{}
	for _, k := range s.KeysLeft(t) {
		all[k] = s.Client.Dump(ctx, k).Val()
	}
	return all
}

// All keys of a batch lie in one slot, for any bytes in owner, collections and tasks.
func TestRedisClusterTakesBatchesOfAnyOwner(t *testing.T) {
	b := storetest.Open(t, redistest.SharedCluster(t).URL(), taskstore.RedisOptions{MaxRecordsPerOwner: 3})
	const owners, workers = 1000, 8
	var wg sync.WaitGroup
	for w := range workers {
		wg.Go(func() {
			r := rand.New(rand.NewPCG(uint64(w), 2))
			for n := w; n < owners; n += workers {
				owner, collection := hostile(r)+string(rune(n+1))+hostile(r), hostile(r)
				first := taskstore.Key{Owner: owner, Task: hostile(r)}
				second := taskstore.Key{Owner: owner, Collection: collection, Task: hostile(r)}
				third := taskstore.Key{Owner: owner, Collection: collection, Task: second.Task + hostile(r)}
				ok := assert.NoError(t, b.PutBatch(ctx, []taskstore.Write{{Key: first, Value: lasts}, {Key: second, Value: hello}}))
				ok = ok && assert.NoError(t, b.PutBatch(ctx, []taskstore.Write{
					{Key: first, Value: hello, Expected: 1}, {Key: second, Value: gone, Expected: taskstore.AnyVersion}, {Key: third, Value: lasts},
				}))
				list, err := b.ListByPrefix(ctx, taskstore.Key{Owner: owner, Collection: collection})
				ok = ok && assert.NoError(t, err) && assert.Len(t, list, 1) && assert.Equal(t, third, list[0].Key)
				got, err := b.Get(ctx, first)
				if ok = ok && assert.NoError(t, err) && assert.EqualValues(t, 2, got.Version); !ok {
					t.Errorf("with owner %q, collection %q, tasks %q, %q and %q", owner, collection, first.Task, second.Task, third.Task)
					return
				}
			}
		})
	}
	wg.Wait()
}

// A batch that is refused for one of its writes has changed no record, at whichever stage the
// fault of that write was found.
func TestRedisDamageInABatchIsToldWithItsWrite(t *testing.T) {
	second, third := taskOf("", "second"), taskOf("other", "third")
	spoil := func(k string) func(s storetest.Store) error {
		return func(s storetest.Store) error {
			return errors.Join(s.Client.Del(ctx, s.Prefix+k).Err(), s.Client.Set(ctx, s.Prefix+k, "payload", 0).Err())
		}
	}
	field := func(name, value string) func(s storetest.Store) error {
		return func(s storetest.Store) error { return s.Client.HSet(ctx, s.RecordKey(second), name, value).Err() }
	}
	for name, c := range map[string]struct {
		do    func(s storetest.Store) error
		index int
		says  string
	}{
		"RecordIsAString": {spoil(":tasks:{o}:second"), 1, "another type"},
		"NoVersion":       {func(s storetest.Store) error { return s.Client.HDel(ctx, s.RecordKey(second), "version").Err() }, 1, "version is missing"},
		"BadVersion":      {field("version", "01"), 1, "version is not a number"},
		"LongVersion":     {field("version", "99999999999999999999"), 1, "version is not a number"},
		"BadExpiry":       {field("expires_at", "soon"), 1, "expires_at is not a number"},
		"Index":           {spoil(":idx:{o}"), 0, "another type"},
		"Expiry":          {spoil(":exp:{o}"), 0, "another type"},
		"OtherIndex":      {spoil(":idx:{o}.other"), 2, "another type"},
		"OtherExpiry":     {spoil(":exp:{o}.other"), 2, "another type"},
	} {
		for _, value := range []taskstore.Value{hello, lasts, gone} {
			t.Run(name, func(t *testing.T) {
				s := storetest.New(t, taskstore.RedisOptions{MaxRecordsPerOwner: 9})
				_, err := s.Put(ctx, second, hello)
				require.NoError(t, err)
				require.NoError(t, c.do(s))
				before := dump(t, s)
				err = s.PutBatch(ctx, []taskstore.Write{
					{Key: taskOf("", "first"), Value: value}, {Key: second, Value: lasts, Expected: taskstore.AnyVersion}, {Key: third, Value: value},
				})
				var corrupt *taskstore.CorruptError
				require.ErrorAs(t, refusedAt(t, c.index, err), &corrupt)
				assert.Contains(t, corrupt.Reason, c.says)
				assert.Equal(t, []taskstore.Key{taskOf("", "first"), second, third}[c.index], corrupt.Key)
				assert.NotContains(t, everyPrint(err), "payload")
				assert.Equal(t, before, dump(t, s))
			})
		}
	}
	t.Run("AnUpdateNeedsNoIndex", func(t *testing.T) {
		s := storetest.New(t, taskstore.RedisOptions{})
		_, err := s.Put(ctx, second, hello)
		require.NoError(t, err)
		require.NoError(t, spoil(":idx:{o}")(s))
		assert.NoError(t, s.PutBatch(ctx, []taskstore.Write{{Key: second, Value: hello, Expected: 1}, {Key: third, Value: lasts}}))
	})
}

// Versions of a batch are exact beyond the range that Lua's numbers hold exactly. At the
// largest version a batch ends with the same error as a single write.
func TestRedisVersionsOfABatchAreExact(t *testing.T) {
	for _, from := range []uint64{99999999999999, 999999999999999, 9007199254740992, 1000000000099999999, 1<<63 - 2} {
		for _, expected := range []taskstore.Version{taskstore.Version(from), taskstore.AnyVersion} {
			s := storetest.New(t, taskstore.RedisOptions{})
			require.NoError(t, s.Client.HSet(ctx, s.RecordKey(key), "version", from, "data", "x").Err())
			first := taskstore.Write{Key: taskstore.Key{Owner: key.Owner, Task: "first"}, Value: lasts}
			require.NoError(t, s.PutBatch(ctx, []taskstore.Write{first, {Key: key, Value: hello, Expected: expected}}))
			rec, err := s.Get(ctx, key)
			require.NoError(t, err)
			assert.EqualValues(t, from+1, rec.Version)
		}
	}
	s := storetest.New(t, taskstore.RedisOptions{})
	require.NoError(t, s.Client.HSet(ctx, s.RecordKey(key), "version", fmt.Sprint(taskstore.MaxVersion), "data", "x").Err())
	before := dump(t, s)
	for _, expected := range []taskstore.Version{taskstore.MaxVersion, taskstore.AnyVersion} {
		for _, v := range []taskstore.Value{hello, lasts, gone} {
			err := s.PutBatch(ctx, []taskstore.Write{{Key: taskstore.Key{Owner: key.Owner, Task: "first"}, Value: lasts}, {Key: key, Value: v, Expected: expected}})
			var limit *taskstore.CapacityError
			require.ErrorAs(t, refusedAt(t, 1, err), &limit)
			assert.Equal(t, taskstore.LimitVersions, limit.Limit)
		}
	}
	assert.Equal(t, before, dump(t, s))
}

// A record that is past and still there is deleted before a batch writes over it, which
// gives it the newest place; its other fields go with it.
func TestRedisBatchOverAPastRecordStartsANewLife(t *testing.T) {
	for _, v := range []taskstore.Value{hello, lasts} {
		s := storetest.New(t, taskstore.RedisOptions{MaxRecordsPerOwner: 2})
		old := taskOf("", "old")
		for _, k := range []taskstore.Key{old, taskOf("", "stays")} {
			_, err := s.Put(ctx, k, lasts)
			require.NoError(t, err)
		}
		require.NoError(t, s.Client.HSet(ctx, s.RecordKey(old), "unknown", "x").Err())
		past(t, s, old, time.Now().Add(-time.Millisecond))
		require.NoError(t, s.PutBatch(ctx, []taskstore.Write{{Key: taskOf("other", "first"), Value: hello}, {Key: old, Value: v}}))
		list, err := s.ListByPrefix(ctx, taskOf("", ""))
		require.NoError(t, err)
		require.Len(t, list, 2)
		assert.Equal(t, taskstore.Record{Key: old, Version: 1, Value: v}, list[1])
		assert.False(t, s.Client.HExists(ctx, s.RecordKey(old), "unknown").Val())
		indexesAre(t, s, "", list)
		err = s.PutBatch(ctx, []taskstore.Write{{Key: taskOf("other", "second"), Value: hello}, {Key: taskOf("", "third"), Value: v}})
		assert.ErrorIs(t, refusedAt(t, 1, err), taskstore.ErrCapacityExceeded)
	}
}

// If the indexes count records that the server has deleted, a batch makes room in each
// collection that seems full.
func TestRedisBatchMakesRoomInEachCollection(t *testing.T) {
	s := storetest.New(t, taskstore.RedisOptions{MaxRecordsPerOwner: 3})
	collections := []string{"a", "b", "c"}
	for _, c := range collections {
		for i := range 3 {
			_, err := s.Put(ctx, taskOf(c, fmt.Sprint("ghost", i)), lasts)
			require.NoError(t, err)
		}
	}
	batch := func(task string) error {
		var writes []taskstore.Write
		for _, c := range collections {
			writes = append(writes, taskstore.Write{Key: taskOf(c, task), Value: lasts}, taskstore.Write{Key: taskOf(c, task+"2"), Value: lasts})
		}
		return s.PutBatch(ctx, writes)
	}
	err := batch("new")
	var full *taskstore.CapacityError
	require.ErrorAs(t, refusedAt(t, 0, err), &full)
	assert.Equal(t, taskstore.CapacityError{Limit: taskstore.LimitRecords, Max: 3, Asked: 4}, *full)
	for _, k := range s.KeysLeft(t) {
		if s.Client.Type(ctx, k).Val() == "hash" {
			require.NoError(t, s.Client.Del(ctx, k).Err())
		}
	}
	require.NoError(t, batch("new"))
	assert.ErrorAs(t, refusedAt(t, 1, batch("another")), &full)
}

// Each write is hinted as one by itself, on the channels of its collection and database.
func TestRedisBatchHintsEachWrite(t *testing.T) {
	ctx, cancel := context.WithTimeout(ctx, 20*time.Second)
	defer cancel()
	s := storetest.New(t, taskstore.RedisOptions{})
	o := *s.Client.Options()
	for _, database := range []int{0, 1} {
		o.DB = database
		b := onClient(t, &o, s.Prefix)
		_, err := b.Put(ctx, taskOf("", "goes"), hello)
		require.NoError(t, err)
		t.Cleanup(func() {
			_, _ = b.Delete(context.Background(), taskOf("", "stays"))
			_, _ = b.Delete(context.Background(), taskOf("other", "stays"))
		})
		heard := map[string]chan taskstore.Change{"": make(chan taskstore.Change, 9), "other": make(chan taskstore.Change, 9)}
		for collection, changes := range heard {
			go func() {
				defer close(changes)
				for c, err := range b.Watch(ctx, taskOf(collection, "")) {
					if err != nil {
						return
					}
					changes <- c
				}
			}()
			require.True(t, (<-changes).Resync)
		}
		require.NoError(t, b.PutBatch(ctx, []taskstore.Write{
			{Key: taskOf("", "stays"), Value: lasts}, {Key: taskOf("", "goes"), Value: gone, Expected: taskstore.AnyVersion}, {Key: taskOf("other", "stays"), Value: hello},
		}))
		assert.ElementsMatch(t, []taskstore.Change{{Key: taskOf("", "stays"), Version: 1}, {Key: taskOf("", "goes")}}, []taskstore.Change{<-heard[""], <-heard[""]})
		assert.Equal(t, taskstore.Change{Key: taskOf("other", "stays"), Version: 1}, <-heard["other"])
	}
}

// A batch of creates meets an expiry index of another type late. It is refused for the
// first write that it cannot make all the same, and not for one that finds no room.
func TestRedisDamageOfAnExpiryIndexRefusesABatchOfCreates(t *testing.T) {
	const mine, others = ":exp:{o}", ":exp:{o}.other"
	other := taskOf("other", "")
	for name, c := range map[string]struct {
		first, second taskstore.Write
		spoiled       []string
		index         int
	}{
		"BeyondALimit":             {taskstore.Write{MaxRecords: 1}, taskstore.Write{}, []string{mine}, 0},
		"ALaterOneBeyondALimit":    {taskstore.Write{}, taskstore.Write{MaxRecords: 2}, []string{mine}, 0},
		"AnotherBeyondALimit":      {taskstore.Write{}, taskstore.Write{Key: other, MaxRecords: 1}, []string{mine}, 0},
		"WithAnotherDamagedIndex":  {taskstore.Write{}, taskstore.Write{Key: other}, []string{mine, ":idx:{o}.other"}, 0},
		"WithAnotherDamagedExpiry": {taskstore.Write{}, taskstore.Write{Key: other}, []string{mine, others}, 0},
		"OfTheSecond":              {taskstore.Write{}, taskstore.Write{Key: other}, []string{others}, 1},
		"OfARemoval":               {taskstore.Write{Value: gone}, taskstore.Write{Key: other}, []string{mine}, 0},
	} {
		for _, expected := range []taskstore.Version{0, taskstore.AnyVersion} {
			t.Run(name, func(t *testing.T) {
				s := storetest.New(t, taskstore.RedisOptions{})
				for _, collection := range []string{"", "other"} {
					_, err := s.Put(ctx, taskOf(collection, "there"), lasts)
					require.NoError(t, err)
				}
				for _, k := range c.spoiled {
					require.NoError(t, s.Client.Del(ctx, s.Prefix+k).Err())
					require.NoError(t, s.Client.SAdd(ctx, s.Prefix+k, "payload").Err())
				}
				writes := []taskstore.Write{c.first, c.second}
				writes[0].Key, writes[1].Key.Owner, writes[1].Key.Task = taskOf("", "first"), "o", "second"
				writes[1].Value, writes[1].Expected = lasts, expected
				if writes[0].ExpiresAt.IsZero() {
					writes[0].Value = lasts
				}
				before := dump(t, s)
				err := s.PutBatch(ctx, writes)
				var corrupt *taskstore.CorruptError
				require.ErrorAs(t, refusedAt(t, c.index, err), &corrupt)
				assert.Equal(t, writes[c.index].Key, corrupt.Key)
				assert.Equal(t, before, dump(t, s))
			})
		}
	}
}

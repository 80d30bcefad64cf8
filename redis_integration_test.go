//go:build integration

// The tests that need a Redis. They start their own servers; see the package
// internal/redistest.

package taskstore_test

import (
	"context"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/taskstore/taskstore"
	"github.com/taskstore/taskstore/backendtest"
	"github.com/taskstore/taskstore/internal/redistest"
	"github.com/taskstore/taskstore/internal/storetest"
)

func TestMain(m *testing.M) { redistest.Main(m) }

var (
	ctx   = context.Background()
	key   = taskstore.Key{Owner: "owner", Task: "task"}
	hello = taskstore.Value{Data: []byte("hello")}
)

// The contract, on every topology.

func TestRedisKeepsTheContract(t *testing.T) {
	storetest.OnEachTopology(t, func(t *testing.T, url string) { keepsTheContract(t, url, false) })
}

func TestRedisKeepsTheContractWithAutoPipeline(t *testing.T) {
	for _, topology := range storetest.Topologies[:2] {
		t.Run(topology.Name, func(t *testing.T) {
			t.Parallel()
			keepsTheContract(t, topology.URL(t), true)
		})
	}
}

func keepsTheContract(t *testing.T, url string, autoPipeline bool) {
	var names sync.Map // backend -> the name of its connections
	open := func(tb testing.TB, opts taskstore.RedisOptions) taskstore.StorageBackend {
		name := uuid.NewString()
		separator := "?"
		if strings.Contains(url, "?") {
			separator = "&"
		}
		opts.AutoPipeline = autoPipeline
		b := storetest.Open(tb, url+separator+"client_name="+name, opts)
		names.Store(b, name)
		return b
	}
	nodes := everyServer(t, url)
	backendtest.Run(t,
		func(tb testing.TB) taskstore.StorageBackend { return open(tb, taskstore.RedisOptions{}) },
		&backendtest.Hooks{
			OpenLimited: func(tb testing.TB, records, bytes int) taskstore.StorageBackend {
				return open(tb, taskstore.RedisOptions{MaxRecordsPerOwner: records, MaxDataBytes: bytes})
			},
			Break: func(tb testing.TB, b taskstore.StorageBackend) {
				name, _ := names.Load(b)
				for _, node := range nodes {
					cutConnections(tb, node, name.(string))
				}
			},
		})
}

// everyServer returns a client for each server with data behind url.
func everyServer(t *testing.T, url string) (nodes []*redis.Client) {
	connect := func(addr string) {
		c := redis.NewClient(&redis.Options{Addr: addr})
		t.Cleanup(func() { _ = c.Close() })
		nodes = append(nodes, c)
	}
	switch {
	case strings.Contains(url, "master_name"):
		s := redistest.SharedSentinel(t)
		connect(s.Master.Addr())
	case strings.Contains(url, "addr="):
		for _, addr := range redistest.SharedCluster(t).Addrs() {
			connect(addr)
		}
	default:
		o, err := redis.ParseURL(url)
		require.NoError(t, err)
		c := redis.NewClient(o)
		t.Cleanup(func() { _ = c.Close() })
		nodes = append(nodes, c)
	}
	return nodes
}

// cutConnections ends the connections to node that have the name.
func cutConnections(tb testing.TB, node *redis.Client, name string) {
	list, err := node.ClientList(ctx).Result()
	require.NoError(tb, err)
	for line := range strings.Lines(list) {
		if !strings.Contains(line, " name="+name+" ") {
			continue
		}
		id, _, _ := strings.Cut(strings.TrimPrefix(line, "id="), " ")
		// It may be gone by now.
		require.NoError(tb, node.ClientKillByFilter(ctx, "ID", id).Err())
	}
}

// The floor: the least that a Redis backend must do, rule by rule.

func TestRedisGet(t *testing.T) {
	t.Run("MissingKeyIsNotFound", func(t *testing.T) {
		s := storetest.New(t, taskstore.RedisOptions{})
		_, err := s.Get(ctx, key)
		assert.ErrorIs(t, err, taskstore.ErrNotFound)
	})
	t.Run("ReturnsWhatWasStored", func(t *testing.T) {
		s := storetest.New(t, taskstore.RedisOptions{})
		expiresAt := time.Now().Add(time.Hour).Truncate(time.Millisecond).UTC()
		v := taskstore.Value{Data: []byte("d\x00\xff"), ExpiresAt: expiresAt}
		_, err := s.Put(ctx, key, v)
		require.NoError(t, err)
		got, err := s.Get(ctx, key)
		require.NoError(t, err)
		assert.Equal(t, taskstore.Record{Key: key, Version: 1, Value: v}, got)
	})
}

func TestRedisPut(t *testing.T) {
	s := storetest.New(t, taskstore.RedisOptions{})
	t.Run("NewKeyIsVersion1", func(t *testing.T) {
		v, err := s.Put(ctx, key, hello)
		require.NoError(t, err)
		assert.Equal(t, taskstore.Version(1), v)
	})
	t.Run("ExistingKeyIsOneMore", func(t *testing.T) {
		v, err := s.Put(ctx, key, hello)
		require.NoError(t, err)
		assert.Equal(t, taskstore.Version(2), v)
	})
	t.Run("OverwritesData", func(t *testing.T) {
		_, err := s.Put(ctx, key, taskstore.Value{Data: []byte("other")})
		require.NoError(t, err)
		got, err := s.Get(ctx, key)
		require.NoError(t, err)
		assert.Equal(t, "other", string(got.Data))
	})
}

func TestRedisPutIfVersion(t *testing.T) {
	s := storetest.New(t, taskstore.RedisOptions{})
	_, err := s.Put(ctx, key, hello)
	require.NoError(t, err)
	t.Run("SucceedsOnMatchAndUpdatesData", func(t *testing.T) {
		v, err := s.PutIfVersion(ctx, key, taskstore.Value{Data: []byte("other")}, 1)
		require.NoError(t, err)
		assert.Equal(t, taskstore.Version(2), v)
		got, err := s.Get(ctx, key)
		require.NoError(t, err)
		assert.Equal(t, "other", string(got.Data))
	})
	t.Run("ConflictOnMismatchCarriesKeyAndExpectedVersion", func(t *testing.T) {
		_, err := s.PutIfVersion(ctx, key, hello, 1)
		var conflict *taskstore.VersionConflictError
		require.ErrorAs(t, err, &conflict)
		assert.Equal(t, taskstore.VersionConflictError{Key: key, Expected: 1, Actual: 2}, *conflict)
		assert.NotErrorIs(t, err, taskstore.ErrNotFound)
	})
	t.Run("ConflictOnMissingKey", func(t *testing.T) {
		missing := taskstore.Key{Owner: "owner", Task: "missing"}
		_, err := s.PutIfVersion(ctx, missing, hello, 7)
		var conflict *taskstore.VersionConflictError
		require.ErrorAs(t, err, &conflict)
		assert.Equal(t, taskstore.VersionConflictError{Key: missing, Expected: 7, Actual: 0}, *conflict)
		assert.ErrorIs(t, err, taskstore.ErrNotFound)
	})
}

func TestRedisDelete(t *testing.T) {
	s := storetest.New(t, taskstore.RedisOptions{})
	_, err := s.Put(ctx, key, hello)
	require.NoError(t, err)
	t.Run("ExistingIsTrue", func(t *testing.T) {
		existed, err := s.Delete(ctx, key)
		require.NoError(t, err)
		assert.True(t, existed)
	})
	t.Run("MissingIsFalse", func(t *testing.T) {
		existed, err := s.Delete(ctx, key)
		require.NoError(t, err)
		assert.False(t, existed)
	})
	t.Run("ThenGetIsNotFound", func(t *testing.T) {
		_, err := s.Get(ctx, key)
		assert.ErrorIs(t, err, taskstore.ErrNotFound)
	})
}

func TestRedisListByPrefix(t *testing.T) {
	s := storetest.New(t, taskstore.RedisOptions{})
	for i, task := range []string{"a", "b"} {
		for _, owner := range []string{"one", "two"} {
			k := taskstore.Key{Owner: owner, Task: task}
			for range i + 1 {
				_, err := s.Put(ctx, k, taskstore.Value{Data: []byte(owner + task)})
				require.NoError(t, err)
			}
		}
	}
	t.Run("OnlyOneOwnersTasks", func(t *testing.T) {
		got, err := s.ListByPrefix(ctx, taskstore.Key{Owner: "one"})
		require.NoError(t, err)
		require.Len(t, got, 2)
		assert.True(t, slices.IndexFunc(got, func(r taskstore.Record) bool { return r.Key.Owner != "one" }) < 0)
	})
	t.Run("DataAndVersionsAreRight", func(t *testing.T) {
		got, err := s.ListByPrefix(ctx, taskstore.Key{Owner: "two"})
		require.NoError(t, err)
		assert.Equal(t, []taskstore.Record{
			{Key: taskstore.Key{Owner: "two", Task: "a"}, Version: 1, Value: taskstore.Value{Data: []byte("twoa")}},
			{Key: taskstore.Key{Owner: "two", Task: "b"}, Version: 2, Value: taskstore.Value{Data: []byte("twob")}},
		}, got)
	})
	t.Run("EmptyOnNoMatch", func(t *testing.T) {
		got, err := s.ListByPrefix(ctx, taskstore.Key{Owner: "three"})
		require.NoError(t, err)
		assert.Empty(t, got)
	})
}

func TestRedisCleanupExpiredReturnsZero(t *testing.T) {
	s := storetest.New(t, taskstore.RedisOptions{})
	_, err := s.Put(ctx, key, taskstore.Value{ExpiresAt: time.Now().Add(time.Millisecond)})
	require.NoError(t, err)
	require.Eventually(t, func() bool { _, err := s.Get(ctx, key); return err != nil }, 5*time.Second, time.Millisecond)
	removed, err := s.CleanupExpired(ctx)
	require.NoError(t, err)
	assert.Zero(t, removed)
}

func TestRedisExpiry(t *testing.T) {
	t.Run("PastIsNotFoundEvenIfTheHashIsStillThereAndHasLostItsTTL", func(t *testing.T) {
		s := storetest.New(t, taskstore.RedisOptions{})
		leave := func() { // a record that is past and has no TTL
			past := time.Now().Add(-time.Minute).UnixMilli()
			require.NoError(t, s.Client.HSet(ctx, s.RecordKey(key), "version", "3", "data", "old", "expires_at", past).Err())
			require.NoError(t, s.Client.ZAdd(ctx, s.IndexKey(key.Owner), redis.Z{Score: 1, Member: key.Task}).Err())
			require.NoError(t, s.Client.ZAdd(ctx, s.ExpiryKey(key.Owner), redis.Z{Score: float64(past), Member: key.Task}).Err())
		}
		leave()
		_, err := s.Get(ctx, key)
		assert.ErrorIs(t, err, taskstore.ErrNotFound)
		_, err = s.PutIfVersion(ctx, key, hello, 3)
		assert.ErrorIs(t, err, taskstore.ErrNotFound, "a CAS of the dead version")
		existed, err := s.Delete(ctx, key)
		require.NoError(t, err)
		assert.False(t, existed)
		assert.Empty(t, s.KeysLeft(t), "nor is anything left of it")

		leave()
		list, err := s.ListByPrefix(ctx, taskstore.Key{Owner: key.Owner})
		require.NoError(t, err)
		assert.Empty(t, list)

		leave()
		v, err := s.Put(ctx, key, hello)
		require.NoError(t, err)
		assert.Equal(t, taskstore.Version(1), v, "a new life starts at version 1")
		got, err := s.Get(ctx, key)
		require.NoError(t, err)
		assert.Equal(t, taskstore.Record{Key: key, Version: 1, Value: hello}, got, "the new life is a fresh record")
		s.CheckIndexes(t, key.Owner)
	})
	t.Run("SetsTheFieldAndTheTTLBehindIt", func(t *testing.T) {
		s := storetest.New(t, taskstore.RedisOptions{})
		at := time.Now().Add(time.Hour)
		_, err := s.Put(ctx, key, taskstore.Value{ExpiresAt: at})
		require.NoError(t, err)
		field, err := s.Client.HGet(ctx, s.RecordKey(key), "expires_at").Result()
		require.NoError(t, err)
		assert.Equal(t, strconv.FormatInt(at.UnixMilli(), 10), field)
		end := s.End(t, s.RecordKey(key))
		assert.WithinDuration(t, at.Add(time.Second), end, 500*time.Millisecond, "a second behind it")
	})
	t.Run("NoneLeavesBothOut", func(t *testing.T) {
		s := storetest.New(t, taskstore.RedisOptions{})
		for _, at := range []time.Time{time.Now().Add(time.Hour), {}} { // the second Put takes the expiry away
			_, err := s.Put(ctx, key, taskstore.Value{ExpiresAt: at})
			require.NoError(t, err)
		}
		for _, k := range []taskstore.Key{key, {Owner: "owner", Task: "another"}} {
			_, err := s.Put(ctx, k, hello)
			require.NoError(t, err)
			has, err := s.Client.HExists(ctx, s.RecordKey(k), "expires_at").Result()
			require.NoError(t, err)
			assert.False(t, has)
			ttl, err := s.Client.PTTL(ctx, s.RecordKey(k)).Result()
			require.NoError(t, err)
			assert.Equal(t, time.Duration(-1), ttl)
		}
	})
}

//go:build integration

package integration

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/taskstore/taskstore"
	"github.com/taskstore/taskstore/internal/redistest"
	"github.com/taskstore/taskstore/internal/storetest"
)

// everyPrint returns err in all the ways in which it may end up in a log.
func everyPrint(err error) string {
	var log bytes.Buffer
	slog.New(slog.NewJSONHandler(&log, nil)).Error("failed", "err", err)
	slog.New(slog.NewTextHandler(&log, nil)).Error("failed", "err", err)
	for e := err; e != nil; e = errors.Unwrap(e) {
		b, _ := json.Marshal(e)
		fmt.Fprintf(&log, "%v %+v %#v %s\n", e, e, e, b)
	}
	return log.String()
}

func TestOpenRedisNamesTheFault(t *testing.T) {
	const secret = "s3cr3t"
	server := redistest.Start(t, "--requirepass", secret)
	notRedis := httptest.NewServer(http.NotFoundHandler())
	t.Cleanup(notRedis.Close)
	silent, err := net.Listen("tcp", "127.0.0.1:0") // accepts, and stays silent
	require.NoError(t, err)
	t.Cleanup(func() { _ = silent.Close() })
	free, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	nobody := free.Addr().String()
	require.NoError(t, free.Close())
	sentinel := redistest.SharedSentinel(t)

	argument := func(t *testing.T, err error) {
		assert.ErrorIs(t, err, taskstore.ErrInvalidArgument)
	}
	connect := func(addr string) func(t *testing.T, err error) {
		return func(t *testing.T, err error) {
			var ce *taskstore.ConnectError
			if assert.ErrorAs(t, err, &ce) {
				assert.Equal(t, addr, ce.Addr)
			}
			assert.NotErrorIs(t, err, taskstore.ErrInvalidArgument)
		}
	}
	for name, c := range map[string]struct {
		url, says string
		check     func(t *testing.T, err error)
	}{
		"NoURL":               {"", "no scheme", argument},
		"OtherScheme":         {"http://:s3cr3t@localhost", "scheme", argument},
		"ControlCharacter":    {"redis://:s3cr3t@host:6379/\x7f", "cannot be parsed", argument},
		"BadPort":             {"redis://:s3cr3t@host:port", "cannot be parsed", argument},
		"SlashInPassword":     {"redis://:/s3cr3t@host:6379", "percent-encoded", argument},
		"QuestionInPassword":  {"redis://:12?s3cr3t@host:6379", "percent-encoded", argument},
		"BadEscapeInPassword": {"redis://:s3cr3t%zz@host:6379", "percent-encoded", argument},
		"UnknownParameter":    {"redis://:s3cr3t@host:6379?pool=3", "parameter number 1", argument},
		"BadParameter":        {"redis://:s3cr3t@host:6379?pool_size=many", "pool_size", argument},
		"BadDatabase":         {"redis://:s3cr3t@host:6379/first", "number of a database", argument},
		"ClusterDatabase":     {"redis://:s3cr3t@h1:6379/3?addr=h2:6379", "only database 0", argument},
		"NoMasterName":        {"redis://:s3cr3t@h1:6379?master_name=", "master_name", argument},
		"NoSocketPath":        {"unix://", "socket", argument},
		"WrongPassword":       {"redis://:wrong-s3cr3t@" + server.Addr(), "password", connect(server.Addr())},
		"NoPassword":          {"redis://" + server.Addr(), "password", connect(server.Addr())},
		"Unreachable":         {"redis://:s3cr3t@" + nobody, "cannot be reached", connect(nobody)},
		"UnreachableCluster":  {"redis://:s3cr3t@" + nobody + "?addr=" + nobody, "cannot be reached", connect(nobody)},
		"UnreachableSentinel": {"redis://:s3cr3t@" + nobody + "?master_name=m&password=s3cr3t", "Sentinel", connect(nobody)},
		"NotRedis":            {"redis://:s3cr3t@" + notRedis.Listener.Addr().String(), "it does not speak Redis's protocol", connect(notRedis.Listener.Addr().String())},
		"Silent":              {"redis://:s3cr3t@" + silent.Addr().String(), "no answer in time", connect(silent.Addr().String())},
		"NotTLS":              {"rediss://:s3cr3t@" + server.Addr(), "TLS", connect(server.Addr())},
		"Replica":             {sentinel.Replicas[0].URL(), "replica", connect(sentinel.Replicas[0].Addr())},
		"ASentinel":           {sentinel.Sentinels[0].URL(), "master_name", connect(sentinel.Sentinels[0].Addr())},
		"UnknownMaster":       {strings.Replace(sentinel.URL(), "master_name=", "master_name=no", 1), "Sentinel", connect(sentinel.Sentinels[0].Addr())},
		"SentinelReplica":     {sentinel.URL() + "&replica_only=true", "replicas", argument},
		"ClusterReplica":      {"redis://:s3cr3t@h1:6379?addr=h2:6379&read_only=true", "replicas", argument},
		"SentinelLatency":     {sentinel.URL() + "&route_by_latency=true", "replicas", argument},
		"NotACluster":         {"redis://:s3cr3t@" + server.Addr() + "?addr=" + server.Addr(), "cluster", connect(server.Addr())},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			ctx, cancel := context.WithTimeout(ctx, 3*time.Second)
			defer cancel()
			b, err := taskstore.OpenRedis(ctx, c.url, nil)
			if !assert.Error(t, err) {
				b.Close()
				return
			}
			t.Log(err)
			c.check(t, err)
			assert.Contains(t, err.Error(), c.says)
			assert.NotContains(t, everyPrint(err), secret)
		})
	}
}

func TestNewRedisBackendRefusesClientsThatBreakTheContract(t *testing.T) {
	var none *redis.Client
	for name, client := range map[string]redis.UniversalClient{
		"Nil":            nil,
		"NilClient":      none,
		"Ring":           redis.NewRing(&redis.RingOptions{Addrs: map[string]string{"a": "127.0.0.1:1"}}),
		"ReadOnly":       redis.NewClusterClient(&redis.ClusterOptions{Addrs: []string{"127.0.0.1:1"}, ReadOnly: true}),
		"RouteByLatency": redis.NewClusterClient(&redis.ClusterOptions{Addrs: []string{"127.0.0.1:1"}, RouteByLatency: true}),
		"RouteRandomly":  redis.NewClusterClient(&redis.ClusterOptions{Addrs: []string{"127.0.0.1:1"}, RouteRandomly: true}),
		"Cache":          redis.NewClient(&redis.Options{Addr: "127.0.0.1:1", ClientSideCacheConfig: &redis.ClientSideCacheConfig{}}),
	} {
		t.Run(name, func(t *testing.T) {
			_, err := taskstore.NewRedisBackend(client, nil)
			var argument *taskstore.ArgumentError
			require.ErrorAs(t, err, &argument)
			assert.Equal(t, "client", argument.Argument)
		})
	}
	client := redis.NewClient(&redis.Options{Addr: "127.0.0.1:1"})
	defer client.Close()
	for _, prefix := range []string{"{", "a}b"} {
		_, err := taskstore.NewRedisBackend(client, &taskstore.RedisOptions{Prefix: prefix})
		assert.ErrorIs(t, err, taskstore.ErrInvalidArgument)
	}
	duplex := redis.NewClient(&redis.Options{Addr: "127.0.0.1:1", AutoPipelineOptions: &redis.AutoPipelineOptions{FullDuplex: true}})
	defer duplex.Close()
	_, err := taskstore.NewRedisBackend(duplex, nil)
	require.NoError(t, err)
	_, err = taskstore.NewRedisBackend(duplex, &taskstore.RedisOptions{AutoPipeline: true})
	assert.ErrorIs(t, err, taskstore.ErrInvalidArgument)
}

// A client that was lent is given back as it was.
func TestRedisCloseLeavesALentClientOpen(t *testing.T) {
	s := storetest.New(t, taskstore.RedisOptions{})
	b, err := taskstore.NewRedisBackend(s.Client, nil)
	require.NoError(t, err)
	require.NoError(t, b.Close())
	require.NoError(t, b.Close())
	_, err = b.Get(ctx, key)
	assert.ErrorIs(t, err, taskstore.ErrClosed)
	assert.NoError(t, s.Client.Ping(ctx).Err())
}

// Calls report the damage that another program did to a record, and make it no worse.
func TestRedisDamagedRecords(t *testing.T) {
	record := func(s storetest.Store, fields ...any) error {
		if err := s.Client.Del(ctx, s.RecordKey(key)).Err(); err != nil {
			return err
		}
		return s.Client.HSet(ctx, s.RecordKey(key), fields...).Err()
	}
	type damage struct {
		do           func(s storetest.Store) error
		writesMend   bool // Put and PutIfVersion may repair it: they replace it
		deleteLeaves bool // the damage is at the key of an index
		readsAreFine bool
	}
	for name, d := range map[string]damage{
		"VersionMissing":    {do: func(s storetest.Store) error { return record(s, "data", "payload") }},
		"VersionNotNumeric": {do: func(s storetest.Store) error { return record(s, "data", "payload", "version", "one") }},
		"VersionZero":       {do: func(s storetest.Store) error { return record(s, "data", "payload", "version", "0") }},
		"VersionPadded":     {do: func(s storetest.Store) error { return record(s, "data", "payload", "version", "01") }},
		"VersionRounded":    {do: func(s storetest.Store) error { return record(s, "data", "payload", "version", "1e+14") }},
		"VersionTooLong":    {do: func(s storetest.Store) error { return record(s, "data", "payload", "version", "99999999999999999999") }},
		"VersionTooGreat":   {do: func(s storetest.Store) error { return record(s, "data", "payload", "version", "9999999999999999999") }},
		"DataMissing":       {do: func(s storetest.Store) error { return record(s, "version", "1") }, writesMend: true},
		"ExpiryNotNumeric": {do: func(s storetest.Store) error {
			return record(s, "version", "1", "data", "payload", "expires_at", "soon")
		}},
		"RecordIsAString": {do: func(s storetest.Store) error { return s.Client.Set(ctx, s.RecordKey(key), "payload", 0).Err() }},
		"RecordIsAList": {do: func(s storetest.Store) error {
			s.Client.Del(ctx, s.RecordKey(key))
			return s.Client.RPush(ctx, s.RecordKey(key), "payload").Err()
		}},
		"IndexIsAString": {
			do: func(s storetest.Store) error {
				s.Client.Del(ctx, s.RecordKey(key))
				return s.Client.Set(ctx, s.IndexKey(key.Owner), "payload", 0).Err()
			},
			deleteLeaves: true, readsAreFine: true,
		},
		"ExpiryIndexIsAString": {
			do: func(s storetest.Store) error {
				s.Client.Del(ctx, s.RecordKey(key))
				return s.Client.Set(ctx, s.ExpiryKey(key.Owner), "payload", 0).Err()
			},
			deleteLeaves: true, readsAreFine: true,
		},
	} {
		t.Run(name, func(t *testing.T) {
			s := storetest.New(t, taskstore.RedisOptions{})
			_, err := s.Put(ctx, key, hello)
			require.NoError(t, err)
			require.NoError(t, d.do(s))
			dump := func() map[string]string {
				m := map[string]string{}
				for _, k := range []string{s.RecordKey(key), s.IndexKey(key.Owner), s.ExpiryKey(key.Owner)} {
					m[k] = s.Client.Dump(ctx, k).Val()
				}
				return m
			}
			before := dump()
			refused := func(err error) {
				t.Helper()
				var corrupt *taskstore.CorruptError
				if assert.ErrorAs(t, err, &corrupt) {
					assert.Equal(t, key.Owner, corrupt.Key.Owner)
					assert.NotContains(t, everyPrint(err), "payload")
					assert.NotContains(t, everyPrint(err), key.Owner+":")
				}
				assert.ErrorIs(t, err, taskstore.ErrCorrupt)
				assert.NotErrorIs(t, err, taskstore.ErrOutcomeUnknown)
				assert.Equal(t, before, dump(), "the store is as before")
			}
			if !d.readsAreFine {
				_, err = s.Get(ctx, key)
				refused(err)
			}
			if name != "ExpiryIndexIsAString" {
				_, err = s.ListByPrefix(ctx, taskstore.Key{Owner: key.Owner})
				refused(err)
			}
			if !d.writesMend {
				_, err = s.Put(ctx, key, hello)
				refused(err)
				_, err = s.PutIfVersion(ctx, key, hello, 0)
				refused(err)
				if !d.readsAreFine {
					_, err = s.PutIfVersion(ctx, key, hello, 2)
					refused(err)
				}
			}
			existed, err := s.Delete(ctx, key)
			require.NoError(t, err)
			if d.deleteLeaves {
				assert.False(t, existed)
				_, err = s.Put(ctx, key, hello)
				assert.ErrorIs(t, err, taskstore.ErrCorrupt)
				return
			}
			assert.True(t, existed)
			v, err := s.Put(ctx, key, hello)
			require.NoError(t, err, "Delete mends")
			assert.Equal(t, taskstore.Version(1), v)
			s.CheckIndexes(t, key.Owner)
		})
	}
}

// Versions are exact beyond the range that Lua's numbers hold exactly. Beyond the largest
// version a write ends with a clear error.
func TestRedisVersionsAreExact(t *testing.T) {
	for _, from := range []string{
		"99999999999999", "999999999999999", "9007199254740991", "9007199254740992", "9007199254740993",
		"99999999999999999", "1000000000099999999", "9223372036854775805",
	} {
		t.Run(from, func(t *testing.T) {
			s := storetest.New(t, taskstore.RedisOptions{})
			require.NoError(t, s.Client.HSet(ctx, s.RecordKey(key), "version", from, "data", "x").Err())
			rec, err := s.Get(ctx, key)
			require.NoError(t, err)
			assert.Equal(t, from, fmt.Sprint(rec.Version))
			next, err := s.Put(ctx, key, hello)
			require.NoError(t, err)
			assert.Equal(t, rec.Version+1, next)
			last, err := s.PutIfVersion(ctx, key, hello, next)
			require.NoError(t, err)
			assert.Equal(t, rec.Version+2, last)
			rec, err = s.Get(ctx, key)
			require.NoError(t, err)
			assert.Equal(t, last, rec.Version)
		})
	}
	t.Run("Max", func(t *testing.T) {
		s := storetest.New(t, taskstore.RedisOptions{})
		require.NoError(t, s.Client.HSet(ctx, s.RecordKey(key), "version", fmt.Sprint(taskstore.MaxVersion), "data", "x").Err())
		_, err := s.Put(ctx, key, hello)
		var limit *taskstore.CapacityError
		require.ErrorAs(t, err, &limit)
		assert.Equal(t, taskstore.LimitVersions, limit.Limit)
		_, err = s.PutIfVersion(ctx, key, hello, taskstore.MaxVersion)
		assert.ErrorAs(t, err, &limit)
		rec, err := s.Get(ctx, key)
		require.NoError(t, err)
		assert.Equal(t, taskstore.MaxVersion, rec.Version)
	})
}

// A server that refuses to begin a write leaves the record as it was, and the error says so.
func TestRedisRefusedWritesChangeNoRecord(t *testing.T) {
	t.Run("OutOfMemory", func(t *testing.T) {
		server := redistest.Start(t, "--maxmemory-policy", "noeviction")
		b := storetest.Open(t, server.URL(), taskstore.RedisOptions{Prefix: "p"})
		_, err := b.Put(ctx, key, hello)
		require.NoError(t, err)
		c := redis.NewClient(&redis.Options{Addr: server.Addr()})
		defer c.Close()
		require.NoError(t, c.ConfigSet(ctx, "maxmemory", "1").Err())
		for _, k := range []taskstore.Key{key, {Owner: key.Owner, Task: "new"}} {
			for _, at := range []time.Time{{}, time.Now().Add(time.Hour)} {
				_, err = b.Put(ctx, k, taskstore.Value{Data: []byte("other"), ExpiresAt: at})
				assert.ErrorIs(t, err, taskstore.ErrCapacityExceeded)
				assert.NotErrorIs(t, err, taskstore.ErrOutcomeUnknown)
			}
		}
		got, err := b.Get(ctx, key)
		require.NoError(t, err)
		assert.Equal(t, "hello", string(got.Data))
		list, err := b.ListByPrefix(ctx, taskstore.Key{Owner: key.Owner})
		require.NoError(t, err)
		assert.Len(t, list, 1)
		existed, err := b.Delete(ctx, key)
		require.NoError(t, err, "writes that free memory succeed")
		assert.True(t, existed)
	})
	t.Run("TooFewReplicas", func(t *testing.T) {
		server := redistest.Start(t, "--min-replicas-to-write", "1")
		b := storetest.Open(t, server.URL(), taskstore.RedisOptions{})
		short, cancel := context.WithTimeout(ctx, 300*time.Millisecond)
		defer cancel()
		_, err := b.Put(short, key, hello)
		assert.ErrorIs(t, err, context.DeadlineExceeded, "it retries until then")
		assert.ErrorContains(t, err, "NOREPLICAS", "the error names the cause")
		assert.NotErrorIs(t, err, taskstore.ErrOutcomeUnknown)
		_, err = b.Get(ctx, key)
		assert.ErrorIs(t, err, taskstore.ErrNotFound)
	})
}

// A server may have applied a write although its answer does not come.
func TestRedisLostAnswersAreUnknownOutcomes(t *testing.T) {
	server := redistest.Start(t)
	b := storetest.Open(t, server.URL(), taskstore.RedisOptions{})
	_, err := b.Put(ctx, key, hello)
	require.NoError(t, err)
	server.Suspend()
	short, cancel := context.WithTimeout(ctx, 50*time.Millisecond)
	defer cancel()
	_, err = b.PutIfVersion(short, key, hello, 1)
	assert.ErrorIs(t, err, taskstore.ErrOutcomeUnknown)
	assert.ErrorIs(t, err, context.DeadlineExceeded)
	_, err = b.Get(short, key)
	assert.NotErrorIs(t, err, taskstore.ErrOutcomeUnknown, "a read has no unknown outcome")
	assert.ErrorIs(t, err, context.DeadlineExceeded)
	server.Resume()
}

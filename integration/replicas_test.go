//go:build integration

package integration

import (
	"context"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/taskstore/taskstore"
	"github.com/taskstore/taskstore/backendtest"
	"github.com/taskstore/taskstore/internal/faultproxy"
	"github.com/taskstore/taskstore/internal/redistest"
	"github.com/taskstore/taskstore/internal/storetest"
)

func TestRedisKeepsTheContractWithReplicasAsked(t *testing.T) {
	sentinel := func(tb testing.TB) string { return redistest.SharedSentinel(tb).URL() }
	cluster := func(tb testing.TB) string { return redistest.SharedCluster(tb).URL() }
	for name, d := range map[string]struct {
		url  func(tb testing.TB) string
		opts taskstore.RedisOptions
	}{
		"Sentinel":            {sentinel, taskstore.RedisOptions{MinReplicas: 1}},
		"Cluster":             {cluster, taskstore.RedisOptions{MinReplicas: 1}},
		"ClusterAutoPipeline": {cluster, taskstore.RedisOptions{MinReplicas: 1, AutoPipeline: true}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			backendtest.Run(t, func(tb testing.TB) taskstore.StorageBackend { return storetest.Open(tb, d.url(tb), d.opts) }, nil)
		})
	}
}

func TestReplicaTimeoutIsChecked(t *testing.T) {
	client := redis.NewClient(&redis.Options{Addr: "127.0.0.1:1", ReadTimeout: 200 * time.Millisecond})
	t.Cleanup(func() { _ = client.Close() })
	for timeout, valid := range map[time.Duration]bool{
		0: false, -1: false, time.Microsecond: false, 200 * time.Millisecond: false, 199 * time.Millisecond: true,
	} {
		_, err := taskstore.NewRedisBackend(client, &taskstore.RedisOptions{MinReplicas: 1, ReplicaTimeout: timeout})
		if valid {
			assert.NoError(t, err)
		} else {
			assert.ErrorIs(t, err, taskstore.ErrInvalidArgument, "%v", timeout)
		}
		_, err = taskstore.NewRedisBackend(client, &taskstore.RedisOptions{ReplicaTimeout: timeout})
		assert.NoError(t, err, "nobody waits")
	}
}

// A write that succeeded is on the replicas already, one that has failed for their
// sake is not said to have succeeded, and a refusal needs no replica.
func TestWritesAreAcknowledgedByReplicas(t *testing.T) {
	s := redistest.StartSentinel(t)
	const timeout = 150 * time.Millisecond
	b := storetest.Open(t, s.URL(), taskstore.RedisOptions{MinReplicas: 2, ReplicaTimeout: timeout, Prefix: "p"})
	awaitReplicas(t, b)
	write := map[string]func(key taskstore.Key) error{
		"Put":          func(key taskstore.Key) error { _, err := b.Put(ctx, key, hello); return err },
		"create":       func(key taskstore.Key) error { _, err := b.PutIfVersion(ctx, key, hello, 0); return err },
		"PutIfVersion": func(key taskstore.Key) error { _, err := b.PutIfVersion(ctx, key, hello, 1); return err },
		"Delete":       func(key taskstore.Key) error { _, err := b.Delete(ctx, key); return err },
	}
	there := func(key taskstore.Key) {
		_, err := b.Put(ctx, key, hello)
		require.NoError(t, err)
	}
	onReplicas := func(key taskstore.Key, version string) {
		for _, replica := range s.Replicas {
			c := redis.NewClient(&redis.Options{Addr: replica.Addr()})
			got, err := c.HGet(ctx, "p:tasks:{"+key.Owner+"}:"+key.Task, "version").Result()
			if version == "" {
				assert.ErrorIs(t, err, redis.Nil)
			} else {
				assert.NoError(t, err)
			}
			assert.Equal(t, version, got)
			require.NoError(t, c.Close())
		}
	}
	want := map[string]string{"Put": "2", "create": "1", "PutIfVersion": "2", "Delete": ""}
	for range 20 {
		for name, call := range write {
			key := taskstore.Key{Owner: "o", Task: uuid.NewString()}
			if name != "create" {
				there(key)
			}
			require.NoError(t, call(key), name)
			onReplicas(key, want[name])
		}
	}

	key := taskstore.Key{Owner: "o", Task: "conflict"}
	there(key)
	keys := map[string]taskstore.Key{}
	for name := range write {
		keys[name] = taskstore.Key{Owner: "o", Task: name}
		if name != "create" {
			there(keys[name])
		}
	}
	s.Replicas[0].Suspend()
	defer s.Replicas[0].Resume()
	for name, call := range write {
		err := call(keys[name])
		assert.ErrorIs(t, err, taskstore.ErrOutcomeUnknown, name)
		assert.ErrorContains(t, err, "1 of 2 replicas", name)
		rec, err := b.Get(ctx, keys[name])
		if name == "Delete" {
			assert.ErrorIs(t, err, taskstore.ErrNotFound)
		} else {
			assert.NoError(t, err)
			assert.Equal(t, want[name], string('0'+byte(rec.Version)), "it is applied")
		}
	}
	_, err := b.PutIfVersion(ctx, key, hello, 7)
	assert.ErrorIs(t, err, taskstore.ErrVersionConflict)
	assert.NotErrorIs(t, err, taskstore.ErrOutcomeUnknown)
}

// awaitReplicas waits until the replicas of a new server have come up.
func awaitReplicas(t *testing.T, b *taskstore.RedisBackend) {
	require.Eventually(t, func() bool {
		_, err := b.Put(ctx, key, hello)
		return err == nil
	}, 10*time.Second, time.Millisecond)
}

// A write that a resend finds applied has not succeeded before it is acknowledged.
func TestResentWritesAreAcknowledgedToo(t *testing.T) {
	s := redistest.StartSentinel(t)
	proxy := faultproxy.New()
	t.Cleanup(proxy.Close)
	client := redis.NewFailoverClient(&redis.FailoverOptions{MasterName: s.MasterName, SentinelAddrs: s.Addrs(), Dialer: proxy.Dial})
	t.Cleanup(func() { _ = client.Close() })
	b, err := taskstore.NewRedisBackend(client, &taskstore.RedisOptions{MinReplicas: 1, ReplicaTimeout: 100 * time.Millisecond})
	require.NoError(t, err)
	awaitReplicas(t, b)
	version, err := b.Put(ctx, key, hello)
	require.NoError(t, err)
	_, err = b.PutIfVersion(ctx, key, hello, version)
	require.NoError(t, err)
	require.NoError(t, b.PutBatch(ctx, []taskstore.Write{{Key: taskOf("", "first"), Value: hello}}))

	for _, replica := range s.Replicas {
		replica.Suspend()
		defer replica.Resume()
	}
	first := func() {
		proxy.Set(faultproxy.Faults{Plan: []faultproxy.Fault{faultproxy.DropReply}, Match: faultproxy.Commands("evalsha")})
	}
	first()
	_, err = b.Put(ctx, key, hello)
	assert.ErrorIs(t, err, taskstore.ErrOutcomeUnknown)
	assert.ErrorContains(t, err, "0 of 1 replicas")
	first()
	_, err = b.PutIfVersion(ctx, key, hello, version+2)
	assert.ErrorIs(t, err, taskstore.ErrOutcomeUnknown)
	assert.ErrorContains(t, err, "0 of 1 replicas")
	first()
	err = b.PutBatch(ctx, []taskstore.Write{{Key: taskOf("", "first"), Value: hello, Expected: 1}, {Key: taskOf("other", "second"), Value: hello}})
	assert.ErrorIs(t, err, taskstore.ErrOutcomeUnknown)
	assert.ErrorContains(t, err, "0 of 1 replicas")
	assert.Equal(t, 3, proxy.Counts().RepliesLost)
	rec, err := b.Get(ctx, key)
	require.NoError(t, err)
	assert.Equal(t, version+3, rec.Version)
}

// A slot that moves, by ASK and then by MOVED, does not keep writes from being
// acknowledged.
func TestWritesAreAcknowledgedWhileTheirSlotMoves(t *testing.T) {
	c := redistest.StartCluster(t)
	b := storetest.Open(t, c.URL(), taskstore.RedisOptions{MinReplicas: 1, Prefix: "p"})
	key := taskstore.Key{Owner: "o", Task: "t"}
	// The node that an ASK names executes a script only if it has all of its keys. For an
	// update of a record that expires, all of them exist.
	hello := taskstore.Value{Data: []byte("hello"), ExpiresAt: time.Now().Add(time.Hour)}
	_, err := b.PutIfVersion(ctx, key, hello, 0)
	require.NoError(t, err)
	version := taskstore.Version(1)
	update := func(what string) {
		t.Helper()
		short, cancel := context.WithTimeout(ctx, 10*time.Second)
		defer cancel()
		version, err = b.PutIfVersion(short, key, hello, version)
		require.NoError(t, err, what)
	}
	m := newMove(t, c, "p:idx:{o}")
	update("before")
	m.begin()
	m.keys()
	update("ASK")
	m.finish()
	update("MOVED")
	assert.EqualValues(t, 4, version)
}

// A move takes a slot from one master of a Cluster to another, step by step.
type move struct {
	t        *testing.T
	slot     int64
	from, to *redis.Client
	nodes    []*redis.Client
	fromID   string
	toID     string
}

func newMove(t *testing.T, c *redistest.Cluster, key string) *move {
	m := &move{t: t}
	for _, master := range c.Masters {
		node := redis.NewClient(&redis.Options{Addr: master.Addr()})
		t.Cleanup(func() { _ = node.Close() })
		m.nodes = append(m.nodes, node)
	}
	var err error
	m.slot, err = m.nodes[0].ClusterKeySlot(ctx, key).Result()
	require.NoError(t, err)
	for _, node := range m.nodes {
		id := node.ClusterMyID(ctx).Val()
		_, err := node.Get(ctx, key).Result()
		if err != nil && strings.HasPrefix(err.Error(), "MOVED") {
			m.to, m.toID = node, id
		} else {
			m.from, m.fromID = node, id
		}
	}
	return m
}

func (m *move) do(node *redis.Client, args ...any) any {
	m.t.Helper()
	answer, err := node.Do(ctx, args...).Result()
	require.NoError(m.t, err)
	return answer
}

func (m *move) begin() {
	m.do(m.to, "cluster", "setslot", m.slot, "importing", m.fromID)
	m.do(m.from, "cluster", "setslot", m.slot, "migrating", m.toID)
}

// keys moves all keys of the slot.
func (m *move) keys() {
	host, port, _ := strings.Cut(m.to.Options().Addr, ":")
	for {
		keys := m.from.ClusterGetKeysInSlot(ctx, int(m.slot), 100).Val()
		if len(keys) == 0 {
			return
		}
		args := []any{"migrate", host, port, "", 0, 5000, "keys"}
		for _, k := range keys {
			args = append(args, k)
		}
		m.do(m.from, args...)
	}
}

func (m *move) finish() {
	for _, node := range append([]*redis.Client{m.to}, m.nodes...) {
		m.do(node, "cluster", "setslot", m.slot, "node", m.toID)
	}
}

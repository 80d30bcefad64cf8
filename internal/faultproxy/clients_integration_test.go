//go:build integration && unix

package faultproxy

import (
	"context"
	"os"
	"strings"
	"testing"

	"github.com/google/uuid"
	"github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/taskstore/taskstore/internal/redistest"
)

func TestMain(m *testing.M) { redistest.Main(m) }

// kinds connects every kind of client through the proxy. A client resends only if the test
// asks for it.
var kinds = map[string]func(t *testing.T, p *Proxy, resends int) redis.UniversalClient{
	"one server": func(t *testing.T, p *Proxy, resends int) redis.UniversalClient {
		addr, err := p.Addr(redistest.Shared(t).Addr())
		require.NoError(t, err)
		return redis.NewClient(&redis.Options{Addr: addr, MaxRetries: resends})
	},
	"one server, dialed": func(t *testing.T, p *Proxy, resends int) redis.UniversalClient {
		return redis.NewClient(&redis.Options{Addr: redistest.Shared(t).Addr(), Dialer: p.Dial, MaxRetries: resends})
	},
	"Sentinel": func(t *testing.T, p *Proxy, resends int) redis.UniversalClient {
		s := redistest.SharedSentinel(t)
		return redis.NewFailoverClient(&redis.FailoverOptions{
			MasterName: s.MasterName, SentinelAddrs: s.Addrs(), Dialer: p.Dial, MaxRetries: resends,
		})
	},
	"Cluster": func(t *testing.T, p *Proxy, resends int) redis.UniversalClient {
		return redis.NewClusterClient(&redis.ClusterOptions{
			Addrs: redistest.SharedCluster(t).Addrs(), Dialer: p.Dial, MaxRedirects: resends,
		})
	},
}

// onEachKind runs a test with a client through a proxy, and one that goes directly.
func onEachKind(t *testing.T, resends int, test func(t *testing.T, p *Proxy, client, direct redis.UniversalClient, key string)) {
	for name, open := range kinds {
		t.Run(name, func(t *testing.T) {
			p := New()
			t.Cleanup(p.Close)
			client := open(t, p, resends)
			t.Cleanup(func() { client.Close() })
			around := New()
			t.Cleanup(around.Close)
			direct := open(t, around, 3)
			t.Cleanup(func() { direct.Close() })
			test(t, p, client, direct, uuid.NewString())
		})
	}
}

var ctx = context.Background()

func TestRedisExecutesACommandWithALostReply(t *testing.T) {
	onEachKind(t, -1, func(t *testing.T, p *Proxy, client, direct redis.UniversalClient, key string) {
		require.NoError(t, client.Incr(ctx, key).Err())
		p.Set(Faults{Plan: []Fault{DropReply}, Match: Commands("incr")})
		assert.Error(t, client.Incr(ctx, key).Err())
		p.Set(Faults{Plan: []Fault{CutBefore}, Match: Commands("incr")})
		assert.Error(t, client.Incr(ctx, key).Err())
		assert.Equal(t, "2", direct.Get(ctx, key).Val(), "the first was executed, the second was not")
	})
}

func TestRedisExecutesADelayedCommandAfterItsResend(t *testing.T) {
	onEachKind(t, 3, func(t *testing.T, p *Proxy, client, direct redis.UniversalClient, key string) {
		require.NoError(t, client.Set(ctx, key, "older", 0).Err())
		p.Set(Faults{Plan: []Fault{Delay}, Match: Commands("set")})
		require.NoError(t, client.Set(ctx, key, "old", 0).Err(), "the client sends it again")
		require.NoError(t, direct.Set(ctx, key, "new", 0).Err())
		p.Release()
		assert.Equal(t, "old", direct.Get(ctx, key).Val())
		assert.Equal(t, 1, p.Counts().LateArrivals)
	})
}

func TestClientsWorkThroughPieces(t *testing.T) {
	onEachKind(t, -1, func(t *testing.T, p *Proxy, client, _ redis.UniversalClient, key string) {
		p.Set(Faults{Split: 1, Seed: 3})
		value := strings.Repeat("\r\n", 10_000)
		for range 10 {
			_, err := client.Pipelined(ctx, func(pipe redis.Pipeliner) error {
				pipe.Set(ctx, key, value, 0)
				got := pipe.Get(ctx, key)
				t.Cleanup(func() { assert.Equal(t, value, got.Val()) })
				return nil
			})
			require.NoError(t, err)
		}
	})
}

func TestBlackHoleGivesNoAnswer(t *testing.T) {
	onEachKind(t, -1, func(t *testing.T, p *Proxy, client, direct redis.UniversalClient, key string) {
		p.Set(Faults{BlackHole: 1, Match: Commands("incr")})
		ctx, cancel := context.WithCancel(ctx)
		defer cancel()
		failed := make(chan error, 1)
		go func() { failed <- client.Incr(ctx, key).Err() }()
		eventually(t, func() bool { return p.Counts().Swallowed == 1 })
		p.Set(Faults{})
		assert.Error(t, <-failed)
		assert.ErrorIs(t, direct.Get(ctx, key).Err(), redis.Nil)
		assert.NoError(t, client.Incr(ctx, key).Err())
	})
}

func TestSubscribersLoseAMessageAndComeBack(t *testing.T) {
	for _, protocol := range []int{2, 3} {
		p, key := New(), uuid.NewString()
		t.Cleanup(p.Close)
		client := redis.NewClient(&redis.Options{Addr: redistest.Shared(t).Addr(), Dialer: p.Dial, Protocol: protocol})
		t.Cleanup(func() { client.Close() })
		sub := client.Subscribe(ctx, key)
		t.Cleanup(func() { sub.Close() })
		receive := func() any {
			m, err := sub.ReceiveTimeout(ctx, patience)
			require.NoError(t, err)
			return m
		}
		require.IsType(t, (*redis.Subscription)(nil), receive())
		p.Set(Faults{Plan: []Fault{DropReply}, Match: Commands("subscribe")})
		require.NoError(t, client.Publish(ctx, key, "lost").Err())
		_, err := sub.ReceiveTimeout(ctx, patience)
		require.Error(t, err)
		require.NotErrorIs(t, err, os.ErrDeadlineExceeded, "the connection was cut")
		require.IsType(t, (*redis.Subscription)(nil), receive(), "it subscribes again")
		require.NoError(t, client.Publish(ctx, key, "seen").Err())
		require.Equal(t, "seen", receive().(*redis.Message).Payload)
	}
}

package taskstore

import (
	"context"
	"errors"
	"fmt"
	"net"
	"sync/atomic"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/taskstore/taskstore/internal/redislink"
)

func TestAttemptIsSentOrAbandoned(t *testing.T) {
	wrong := errors.New("wrong")
	write := func(f *attempt) string {
		b, err := f.MarshalBinary()
		require.NoError(t, err, "it would break a batch")
		return string(b)
	}

	f := &attempt{script: []byte("script")}
	assert.Equal(t, "script", write(f))
	assert.False(t, redislink.NeverExecuted(f.finish(wrong)))
	assert.Equal(t, "script", write(f), "the client may write it when its call is over")

	f = &attempt{script: []byte("script")}
	assert.True(t, redislink.NeverExecuted(f.finish(wrong)))
	assert.Empty(t, write(f), "nothing is executed")
	assert.Empty(t, write(f))

	f = &attempt{script: []byte("script")}
	write(f)
	f.rearm()
	assert.True(t, redislink.NeverExecuted(f.finish(wrong)))
	assert.Empty(t, write(f))

	f = &attempt{script: []byte("script")}
	require.True(t, redislink.NeverExecuted(f.finish(wrong)))
	f.rearm()
	assert.Empty(t, write(f), "it stays abandoned")
}

// What go-redis knew of a command before it wrote it again is not true any more.
func TestAttemptForgetsTheErrorOfAnEarlierSending(t *testing.T) {
	f := &attempt{script: []byte("script")}
	f.cmd = redis.NewCmd(context.Background())
	f.cmd.SetErr(errors.New("MOVED 1 other:6379"))
	_, err := f.MarshalBinary()
	require.NoError(t, err)
	assert.NoError(t, f.cmd.Err())
}

// Where nobody listens nothing is executed, whatever the way there.
func TestWhatFindsNoServerIsNoUnknownOutcome(t *testing.T) {
	dead, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	addr := dead.Addr().String()
	require.NoError(t, dead.Close())
	for i, client := range []redis.UniversalClient{
		redis.NewClient(&redis.Options{Addr: addr, DialerRetries: 1}),
		redis.NewFailoverClient(&redis.FailoverOptions{MasterName: "m", SentinelAddrs: []string{addr}, DialerRetries: 1}),
		redis.NewClusterClient(&redis.ClusterOptions{Addrs: []string{addr}, DialerRetries: 1}),
	} {
		t.Cleanup(func() { _ = client.Close() })
		for _, auto := range []bool{false, true} {
			t.Run(fmt.Sprintf("%d/AutoPipeline=%t", i, auto), func(t *testing.T) {
				b, err := NewRedisBackend(client, &RedisOptions{AutoPipeline: auto})
				require.NoError(t, err)
				var passed atomic.Int64 // patience is over soon
				b.clock.local = func() time.Time { return time.Now().Add(time.Duration(passed.Add(1)) * retryTime / 3) }
				_, err = b.Put(t.Context(), Key{Owner: "o", Task: "t"}, Value{})
				require.Error(t, err)
				assert.NotErrorIs(t, err, ErrOutcomeUnknown)
				var dial *net.OpError
				assert.ErrorAs(t, err, &dial)
			})
		}
	}
}

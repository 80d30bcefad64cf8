package taskstore

import (
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
				b.link.Clock.Local = func() time.Time { return time.Now().Add(time.Duration(passed.Add(1)) * redislink.RetryTime / 3) }
				_, err = b.Put(t.Context(), Key{Owner: "o", Task: "t"}, Value{})
				require.Error(t, err)
				assert.NotErrorIs(t, err, ErrOutcomeUnknown)
				var dial *net.OpError
				assert.ErrorAs(t, err, &dial)
			})
		}
	}
}

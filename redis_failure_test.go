package taskstore

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"sync/atomic"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/taskstore/taskstore/internal/redislink"
)

type serverError string

func (e serverError) Error() string { return string(e) }
func (serverError) RedisError()     {}

// What the caller sees still matches what came of the attempt.
func TestFailuresKeepTheirCause(t *testing.T) {
	for _, cause := range []error{
		context.Canceled,
		&net.OpError{Op: "dial", Err: errors.New("refused")},
		redis.ErrPoolTimeout,
		redis.ErrClosed,
		errors.New("circuit breaker is open"),
		serverError("LOADING Redis is loading the dataset in memory"),
		serverError("MOVED 1 127.0.0.1:7001"),
		serverError("NOPERM this user has no permissions to run the 'evalsha' command"),
		serverError("READONLY You can't write against a read only replica. script: 2b, on @user_script:1."),
		serverError("ERR user_script:3: attempt to index a nil value script: 2b, on @user_script:3."),
		&redislink.DeniedError{Commands: []string{"time"}, Err: serverError("ERR The user executing the script can't run this command or subcommand script: 2b, on @user_script:3.")},
		&redislink.NotAcknowledgedError{Acks: 1, Want: 2},
		&redislink.NotAcknowledgedError{Err: io.EOF},
		io.EOF,
	} {
		for _, err := range []error{cause, fmt.Errorf("wrapped: %w", cause)} {
			assert.ErrorIs(t, failure("put", Key{}, err), cause)
			assert.ErrorIs(t, failure("put", Key{}, &redislink.UncertainError{Cause: err}), cause)
		}
	}
}

func TestFailuresThatHaveATypeOfTheirOwn(t *testing.T) {
	for _, text := range []string{
		"WRONGTYPE Operation against a key holding the wrong kind of value script: 2b, on @user_script:1.",
		"ERR Error running script (call to f_2b): @user_script:1: WRONGTYPE Operation against a key holding the wrong kind of value",
	} {
		assert.ErrorIs(t, failure("put", Key{}, serverError(text)), ErrCorrupt)
	}
	for _, text := range []string{
		"OOM command not allowed when used memory > 'maxmemory'. script: 2b, on @user_script:1.",
		"ERR Error running script (call to f_2b): @user_script:4: @user_script: 4: -OOM command not allowed when used memory > 'maxmemory'. ",
	} {
		err := failure("put", Key{}, serverError(text))
		assert.ErrorIs(t, err, ErrCapacityExceeded)
		assert.NotErrorIs(t, err, ErrOutcomeUnknown)
	}
}

// A right that is missing inside a script is named, and no user is.
func TestFailuresNameTheMissingRight(t *testing.T) {
	s := redislink.NewScript("test", "local settings\nlocal t = redis.call('HMGET', KEYS[1], 'a')\nlocal t = redis.call('TIME')\nreturn redis.call('ZREM', 'a') + redis.call('ZADD', 'b')")
	for text, want := range map[string]string{
		"ERR The user executing the script can't run this command or subcommand script: 48, on @user_script:3.":              "grant +time",
		"ERR ACL failure in script: User s3cr3t has no permissions to run the 'zadd' command script: 48, on @user_script:4.": "grant +zadd",
		"ERR ACL failure in script: User s3cr3t has no permissions to access the 'k' key script: 48, on @user_script:4.":     "grant +zrem +zadd",
		"NOPERM User s3cr3t has no permissions to run the 'evalsha' command":                                                 "",
		"ERR Unknown Redis command called from script script: 48, on @user_script:3.":                                        "the server does not have time",
	} {
		err := failure("put", Key{}, s.Denied(fmt.Errorf("sent: %w", serverError(text))))
		assert.Contains(t, err.Error(), want)
		assert.NotContains(t, err.Error(), "s3cr3t")
	}
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

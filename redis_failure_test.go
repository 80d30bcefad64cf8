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

// The caller's error still matches the cause that ended the attempt.
func TestFailuresKeepTheirCause(t *testing.T) {
	for _, cause := range []error{
		context.Canceled,
		&net.OpError{Op: "dial", Err: errors.New("refused")},
		redis.ErrPoolTimeout,
		redis.ErrPoolExhausted,
		redis.ErrClosed,
		errors.New("circuit breaker is open"),
		errors.New("hystrix: circuit open"),
		&net.OpError{Op: "read", Net: "unix", Addr: &net.UnixAddr{Name: "/circuit/opened.sock"}, Err: errors.New("reset")},
		fmt.Errorf("circuit breaker is open, after: %w", io.EOF),
		serverError("LOADING Redis is loading the dataset in memory"),
		serverError("CLUSTERDOWN The cluster is down"),
		serverError("TRYAGAIN Multiple keys request during rehashing of slot"),
		serverError("MOVED 1 127.0.0.1:7001"),
		serverError("ASK 1 127.0.0.1:7001"),
		serverError("MASTERDOWN Link with MASTER is down and replica-serve-stale-data is set to 'no'."),
		serverError("ERR max number of clients reached"),
		serverError("BUSY Redis is busy running a script. You can only call SCRIPT KILL or SHUTDOWN NOSAVE."),
		serverError("NOPERM this user has no permissions to run the 'evalsha' command"),
		serverError("WRONGPASS invalid username-password pair or user is disabled."),
		fmt.Errorf("failed to authenticate: %w", serverError("NOAUTH Authentication required.")),
		fmt.Errorf("failed to authenticate: %w", serverError("ERR AUTH <password> called without any password configured for the default user.")),
		serverError("READONLY You can't write against a read only replica. script: 2b, on @user_script:1."),
		serverError("NOREPLICAS Not enough good replicas to write. script: 2b, on @user_script:1."),
		serverError("MISCONF Redis is configured to save RDB snapshots. script: 2b, on @user_script:1."),
		serverError("ERR Error running script (call to f_2b): @user_script:4: @user_script: 4: -READONLY You can't write against a read only replica. "),
		serverError("NOPERM this user has no permissions to run the 'hset' command script: 2b, on @user_script:1."),
		serverError("ERR user_script:3: attempt to index a nil value script: 2b, on @user_script:3."),
		serverError("ERR Error running script (call to f_2b): @user_script:4: @user_script: 4: -NOPERM this user has no permissions"),
		&redislink.DeniedError{Commands: []string{"time"}, Err: serverError("ERR The user executing the script can't run this command or subcommand script: 2b, on @user_script:3.")},
		&redislink.NotAcknowledgedError{Acks: 1, Want: 2},
		&redislink.NotAcknowledgedError{Err: io.EOF},
		&redislink.NotAcknowledgedError{Err: serverError("UNBLOCKED force unblock from blocking operation, instance state changed (master -> replica?)")},
		&redislink.NotAcknowledgedError{Err: serverError("NOPERM this user has no permissions to run the 'wait' command")},
		io.EOF,
		&net.OpError{Op: "read", Err: errors.New("reset")},
		errors.New("whatever"),
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
		"ERR Error running script (call to f_48): @user_script:3: @user_script: 3: The user executing the script can't run this command or subcommand": "grant +time",
		"ERR The user executing the script can't run this command or subcommand script: 48, on @user_script:3.":                                        "grant +time",
		"ERR The user executing the script can't run this command or subcommand script: 48, on @user_script:2.":                                        "grant +hmget",
		"ERR The user executing the script can't run this command or subcommand script: 48, on @user_script:4.":                                        "grant +zrem +zadd",
		"ERR ACL failure in script: User s3cr3t has no permissions to run the 'zadd' command script: 48, on @user_script:4.":                           "grant +zadd",
		"ERR ACL failure in script: User s3cr3t has no permissions to run the 'time' command script: on @user_script:3.":                               "grant +time",
		"ERR ACL failure in script: User s3cr3t has no permissions to access the 'k' key script: 48, on @user_script:4.":                               "grant +zrem +zadd",
		"NOPERM User s3cr3t has no permissions to run the 'evalsha' command":                                                                           "",
		"ERR Error running script (call to f_48): @user_script:3: @user_script: 3: Unknown Redis command called from Lua script":                       "the server lacks time",
		"ERR Unknown Redis command called from script script: 48, on @user_script:3.":                                                                  "the server lacks time",
		"ERR Unknown command called from script script: 48, on @user_script:2.":                                                                        "the server lacks hmget",
	} {
		err := failure("put", Key{}, s.Denied(fmt.Errorf("sent: %w", serverError(text))))
		assert.Contains(t, err.Error(), want)
		assert.NotContains(t, err.Error(), "s3cr3t")
	}
}

// If the address has no listener, the call is not executed, on any kind of client.
func TestAFailedDialIsNoUnknownOutcome(t *testing.T) {
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
				var passed atomic.Int64 // so that the retry time is over soon
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

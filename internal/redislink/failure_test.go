package redislink

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"strings"
	"testing"

	"github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/assert"
)

type serverError string

func (e serverError) Error() string { return string(e) }
func (serverError) RedisError()     {}

// A failed attempt tells whether a server may have executed it, and whether another attempt
// may do better.
func TestFailuresAreClassified(t *testing.T) {
	const executed, not, again, final = true, false, true, false
	for _, c := range []struct {
		err                 error
		executed, transient bool
	}{
		{notSent{context.Canceled}, not, again}, // wait handles a done ctx by itself
		{&net.OpError{Op: "dial", Err: errors.New("refused")}, not, again},
		{redis.ErrPoolTimeout, not, again},
		{redis.ErrPoolExhausted, not, again},
		{redis.ErrClosed, not, final},
		{serverError("LOADING Redis is loading the dataset in memory"), not, again},
		{serverError("CLUSTERDOWN The cluster is down"), not, again},
		{serverError("TRYAGAIN Multiple keys request during rehashing of slot"), not, again},
		{serverError("MOVED 1 127.0.0.1:7001"), not, again},
		{serverError("ASK 1 127.0.0.1:7001"), not, again},
		{serverError("MASTERDOWN Link with MASTER is down and replica-serve-stale-data is set to 'no'."), not, again},
		{serverError("ERR max number of clients reached"), not, again},
		{serverError("BUSY Redis is busy running a script. You can only call SCRIPT KILL or SHUTDOWN NOSAVE."), not, again},
		{serverError("NOPERM this user has no permissions to run the 'evalsha' command"), not, final},
		{serverError("WRONGPASS invalid username-password pair or user is disabled."), not, again},
		{fmt.Errorf("failed to authenticate: %w", serverError("NOAUTH Authentication required.")), not, again},
		{fmt.Errorf("failed to authenticate: %w", serverError("ERR AUTH <password> called without any password configured for the default user.")), not, again},
		{notSent{errors.New("circuit breaker is open")}, not, final},
		{errors.New("circuit breaker is open"), not, final}, // a command in AutoPipeline's queue counts as sent
		{notSent{errors.New("hystrix: circuit open")}, not, final},
		// Two errors only look like an open circuit: an address that reads like one, and one
		// that opened behind an attempt.
		{&net.OpError{Op: "read", Net: "unix", Addr: &net.UnixAddr{Name: "/circuit/opened.sock"}, Err: errors.New("reset")}, executed, again},
		{fmt.Errorf("circuit breaker is open, after: %w", io.EOF), executed, again},
		{serverError("READONLY You can't write against a read only replica. script: 2b, on @user_script:1."), not, again},
		{serverError("NOREPLICAS Not enough good replicas to write. script: 2b, on @user_script:1."), not, again},
		{serverError("MISCONF Redis is configured to save RDB snapshots. script: 2b, on @user_script:1."), not, final},
		{serverError("ERR Error running script (call to f_2b): @user_script:4: @user_script: 4: -READONLY You can't write against a read only replica. "), not, again},
		{serverError("NOPERM this user has no permissions to run the 'hset' command script: 2b, on @user_script:1."), executed, final},
		{&DeniedError{Commands: []string{"time"}, Err: serverError("ERR The user executing the script can't run this command or subcommand script: 2b, on @user_script:3.")}, not, final},
		{&DeniedError{Commands: []string{"pexpireat"}, Err: serverError("ERR The user executing the script can't run this command or subcommand script: 2b, on @user_script:3.")}, executed, final},
		{&DeniedError{Commands: []string{"zcard"}, Changed: true, Err: serverError("ERR The user executing the script can't run this command or subcommand script: 2b, on @user_script:3.")}, executed, final},
		{serverError("ERR user_script:3: attempt to index a nil value script: 2b, on @user_script:3."), executed, final},
		{serverError("ERR Error running script (call to f_2b): @user_script:4: @user_script: 4: -NOPERM this user has no permissions"), executed, final},
		{&NotAcknowledgedError{Acks: 1, Want: 2}, executed, final},
		{&NotAcknowledgedError{Err: io.EOF}, executed, again},
		{&NotAcknowledgedError{Err: serverError("UNBLOCKED force unblock from blocking operation, instance state changed (master -> replica?)")}, executed, again},
		{&NotAcknowledgedError{Err: serverError("NOPERM this user has no permissions to run the 'wait' command")}, executed, final},
		{io.EOF, executed, again},
		{&net.OpError{Op: "read", Err: errors.New("reset")}, executed, again},
		{errors.New("whatever"), executed, again},
	} {
		for _, err := range []error{c.err, fmt.Errorf("wrapped: %w", c.err)} {
			assert.Equal(t, !c.executed, neverExecuted(err), "executed: %v", err)
			assert.Equal(t, c.transient, transient(err), "transient: %v", err)
			assert.ErrorIs(t, Redact(err), c.err)
		}
	}
}

// Servers differ in their words for a command that the user may not run inside a script. The
// error names the right that is missing, and leaves out the user.
func TestMissingRightsInsideScriptsAreNamed(t *testing.T) {
	s := &Script{Name: "test", Source: "local settings\nlocal t = redis.call('HMGET', KEYS[1], 'a')\nlocal t = redis.call('TIME')\nreturn redis.call('ZREM', 'a') + redis.call('ZADD', 'b')"}
	for text, want := range map[string][]string{
		"ERR Error running script (call to f_48): @user_script:3: @user_script: 3: The user executing the script can't run this command or subcommand": {"time"},
		"ERR The user executing the script can't run this command or subcommand script: 48, on @user_script:3.":                                        {"time"},
		"ERR The user executing the script can't run this command or subcommand script: 48, on @user_script:2.":                                        {"hmget"},
		"ERR The user executing the script can't run this command or subcommand script: 48, on @user_script:4.":                                        {"zrem", "zadd"},
		"ERR ACL failure in script: User s3cr3t has no permissions to run the 'zadd' command script: 48, on @user_script:4.":                           {"zadd"},
		"ERR ACL failure in script: User s3cr3t has no permissions to run the 'time' command script: on @user_script:3.":                               {"time"},
		"ERR The user executing the script can't run this command or subcommand script: 48, on @user_script:9.":                                        nil,
		"READONLY You can't write against a read only replica. script: 48, on @user_script:3.":                                                         nil,
		"ERR user_script:3: attempt to index a nil value script: 48, on @user_script:3.":                                                               nil,
		"ERR The user executing the script can't run this command or subcommand":                                                                       nil,
		"ERR Error running script (call to f_48): @user_script:3: @user_script: 3: -READONLY You can't write against a read only replica.":             nil,
		"ERR ACL failure in script: User s3cr3t has no permissions to access the 'k' key script: 48, on @user_script:4.":                               {"zrem", "zadd"},
		"NOPERM User s3cr3t has no permissions to run the 'evalsha' command":                                                                           nil,
		"ERR Error running script (call to f_48): @user_script:3: @user_script: 3: Unknown Redis command called from Lua script":                       {"time"},
		"ERR Unknown Redis command called from script script: 48, on @user_script:3.":                                                                  {"time"},
		"ERR Unknown command called from script script: 48, on @user_script:2.":                                                                        {"hmget"},
		"ERR unknown command 'evalsha'": nil,
	} {
		err := s.Denied(notSent{serverError(text)})
		var denied *DeniedError
		if errors.As(err, &denied) {
			assert.Equal(t, want, denied.Commands, text)
			says := "grant +"
			if strings.Contains(text, "nknown") {
				says = "the server lacks "
			}
			assert.Contains(t, Redact(err).Error(), says+want[0])
		} else {
			assert.Empty(t, want, text)
		}
		assert.NotContains(t, Redact(err).Error(), "s3cr3t")
	}
}

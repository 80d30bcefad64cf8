package taskstore

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"testing"

	"github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/assert"
)

type serverError string

func (e serverError) Error() string { return string(e) }
func (serverError) RedisError()     {}

// What is said of a write that failed: the plain error where no server executed
// it, else that its outcome is unknown.
func TestFailuresOfWritesAreClassified(t *testing.T) {
	for _, c := range []struct {
		err     error
		unknown bool
	}{
		{notSent{context.Canceled}, false},
		{&net.OpError{Op: "dial", Err: errors.New("refused")}, false},
		{redis.ErrPoolTimeout, false},
		{redis.ErrClosed, false},
		{serverError("LOADING Redis is loading the dataset in memory"), false},
		{serverError("CLUSTERDOWN The cluster is down"), false},
		{serverError("BUSY Redis is busy running a script. You can only call SCRIPT KILL or SHUTDOWN NOSAVE."), false},
		{serverError("NOPERM this user has no permissions to run the 'evalsha' command"), false},
		{serverError("READONLY You can't write against a read only replica. script: 2b, on @user_script:1."), false},
		{serverError("NOREPLICAS Not enough good replicas to write. script: 2b, on @user_script:1."), false},
		{serverError("ERR Error running script (call to f_2b): @user_script:1: READONLY You can't write"), false},
		{serverError("NOPERM this user has no permissions to run the 'hset' command script: 2b, on @user_script:1."), true},
		{serverError("ERR user_script:3: attempt to index a nil value script: 2b, on @user_script:3."), true},
		{serverError("ERR Error running script (call to f_2b): @user_script:1: NOPERM no"), true},
		{io.EOF, true},
		{&net.OpError{Op: "read", Err: errors.New("reset")}, true},
		{context.DeadlineExceeded, true},
		{errors.New("whatever"), true},
	} {
		for _, err := range []error{c.err, fmt.Errorf("wrapped: %w", c.err)} {
			got := failure("put", Key{}, true, err)
			assert.ErrorIs(t, got, c.err)
			assert.Equal(t, c.unknown, errors.Is(got, ErrOutcomeUnknown), "%v", err)
			assert.NotErrorIs(t, failure("get", Key{}, false, err), ErrOutcomeUnknown, "%v", err)
		}
	}
}

func TestFailuresThatHaveATypeOfTheirOwn(t *testing.T) {
	for _, text := range []string{
		"WRONGTYPE Operation against a key holding the wrong kind of value script: 2b, on @user_script:1.",
		"ERR Error running script (call to f_2b): @user_script:1: WRONGTYPE Operation against a key holding the wrong kind of value",
	} {
		assert.ErrorIs(t, failure("put", Key{}, true, serverError(text)), ErrCorrupt)
	}
	for _, text := range []string{
		"OOM command not allowed when used memory > 'maxmemory'. script: 2b, on @user_script:1.",
		"ERR Error running script (call to f_2b): @user_script:1: OOM command not allowed when used memory > 'maxmemory'",
	} {
		err := failure("put", Key{}, true, serverError(text))
		assert.ErrorIs(t, err, ErrCapacityExceeded)
		assert.NotErrorIs(t, err, ErrOutcomeUnknown)
	}
}

package taskstore

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

var errOpen = errors.New("circuit breaker is open")

// A breaker refuses every command, as a hook and as a Limiter.
type breaker struct{}

func (breaker) DialHook(next redis.DialHook) redis.DialHook { return next }
func (breaker) ProcessHook(redis.ProcessHook) redis.ProcessHook {
	return func(_ context.Context, cmd redis.Cmder) error {
		cmd.SetErr(errOpen)
		return errOpen
	}
}
func (breaker) ProcessPipelineHook(redis.ProcessPipelineHook) redis.ProcessPipelineHook {
	return func(_ context.Context, cmds []redis.Cmder) error {
		for _, cmd := range cmds {
			cmd.SetErr(errOpen)
		}
		return errOpen
	}
}
func (breaker) Allow() error       { return errOpen }
func (breaker) ReportResult(error) {}

// A refusal is a hook that refuses every command with its error.
type refusal struct {
	err   error
	calls atomic.Int64
}

func (r *refusal) DialHook(next redis.DialHook) redis.DialHook { return next }
func (r *refusal) ProcessHook(redis.ProcessHook) redis.ProcessHook {
	return func(context.Context, redis.Cmder) error { r.calls.Add(1); return r.err }
}
func (r *refusal) ProcessPipelineHook(redis.ProcessPipelineHook) redis.ProcessPipelineHook {
	return func(context.Context, []redis.Cmder) error { r.calls.Add(1); return r.err }
}

// A hook may find a record damaged, for example one that decrypts it. The backend asks it
// once, because the damage does not pass.
func TestAHookThatFindsDamageIsNotAskedAgain(t *testing.T) {
	client := redis.NewClient(&redis.Options{Addr: "127.0.0.1:1"})
	hook := &refusal{err: fmt.Errorf("hook: %w", ErrCorrupt)}
	client.AddHook(hook)
	b, err := NewRedisBackend(client, nil)
	require.NoError(t, err)
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	k := Key{Owner: "owner", Task: "task"}
	for verb, call := range map[string]func() error{
		"Get":  func() error { _, err := b.Get(ctx, k); return err },
		"Put":  func() error { _, err := b.Put(ctx, k, Value{}); return err },
		"List": func() error { _, err := b.ListByPrefix(ctx, k); return err },
		"Now":  func() error { _, err := b.Now(ctx); return err },
	} {
		hook.calls.Store(0)
		err := call()
		assert.ErrorIs(t, err, ErrCorrupt, verb)
		assert.NotErrorIs(t, err, context.DeadlineExceeded, verb)
		assert.EqualValues(t, 1, hook.calls.Load(), verb)
	}
	require.NoError(t, b.Close())
	assert.NotErrorIs(t, b.link.Ended(hook.err), ErrClosed, "it is no call that Close ended")
}

// An open circuit ends a call at once, before it is sent.
func TestAnOpenCircuitEndsCallsAtOnce(t *testing.T) {
	hooked := redis.NewClient(&redis.Options{Addr: "127.0.0.1:1"})
	hooked.AddHook(breaker{})
	limited := redis.NewClient(&redis.Options{Addr: "127.0.0.1:1", Limiter: breaker{}})
	for name, client := range map[string]*redis.Client{"Hook": hooked, "Limiter": limited} {
		for _, opts := range []RedisOptions{{}, {AutoPipeline: true}, {MinReplicas: 1}} {
			b, err := NewRedisBackend(client, &opts)
			require.NoError(t, err)
			ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
			k := Key{Owner: "owner", Task: "task"}
			for verb, call := range map[string]func() error{
				"Get":          func() error { _, err := b.Get(ctx, k); return err },
				"Put":          func() error { _, err := b.Put(ctx, k, Value{}); return err },
				"PutIfVersion": func() error { _, err := b.PutIfVersion(ctx, k, Value{}, 1); return err },
				"Delete":       func() error { _, err := b.Delete(ctx, k); return err },
				"List":         func() error { _, err := b.ListByPrefix(ctx, k); return err },
				"Now":          func() error { _, err := b.Now(ctx); return err },
				"Ping":         func() error { return b.Ping(ctx) },
			} {
				err := call()
				assert.ErrorIs(t, err, errOpen, "%s %s %+v", name, verb, opts)
				assert.NotErrorIs(t, err, context.DeadlineExceeded, "%s %s %+v", name, verb, opts)
				assert.NotErrorIs(t, err, ErrOutcomeUnknown, "%s %s %+v", name, verb, opts)
			}
			cancel()
		}
	}
}

package taskstore

import (
	"context"
	"errors"
	"time"

	"github.com/redis/go-redis/v9"
)

// once is a command that go-redis sends at most once, whatever the client's
// MaxRetries. Its own resending cannot tell a write that was applied and whose
// answer was lost from one that was not: it would apply a Put twice and call a
// PutIfVersion that won a conflict. So resending is left to redis_retry.go.
type once struct{ redis.Cmder }

// NoRetry is what go-redis asks.
func (once) NoRetry() bool { return true }

// run sends a script once and returns its reply. A server that does not have the
// script yet (a new one, a promoted replica, after SCRIPT FLUSH) has executed
// nothing when it says so, and is sent the source.
func (b *RedisBackend) run(ctx context.Context, s *script, keys []string, args ...any) (reply, error) {
	raw, err := within(ctx, func() (any, error) {
		raw, err := b.eval(ctx, "evalsha", s.sha, keys, args)
		if serverSaid(err, "NOSCRIPT") {
			raw, err = b.eval(ctx, "eval", s.source, keys, args)
		}
		return raw, err
	})
	if err != nil {
		return reply{}, err
	}
	return s.decodeReply(raw)
}

func (b *RedisBackend) eval(ctx context.Context, command, script string, keys []string, args []any) (any, error) {
	cmd := evalCommand(ctx, command, script, keys, args)
	_ = b.client.Process(ctx, once{cmd})
	return cmd.Result()
}

func evalCommand(ctx context.Context, command, script string, keys []string, args []any) *redis.Cmd {
	all := make([]any, 0, 3+len(keys)+len(args))
	all = append(all, command, script, len(keys))
	for _, k := range keys {
		all = append(all, k)
	}
	return redis.NewCmd(ctx, append(all, args...)...)
}

// lastWord is how long a call whose ctx is done waits for what the client has to
// say: that it had not even a connection yet, say.
const lastWord = 5 * time.Millisecond

// within returns what f returns, or ctx's error if ctx is done first. go-redis
// looks at a ctx between commands, and on most clients not while it waits for an
// answer, so f runs aside and is left behind: it ends with the client's own
// timeouts. Nothing that f uses may belong to the caller.
func within[T any](ctx context.Context, f func() (T, error)) (T, error) {
	var zero T
	if err := ctx.Err(); err != nil {
		return zero, notSent{err}
	}
	if ctx.Done() == nil {
		return f()
	}
	type result struct {
		value T
		err   error
	}
	done := make(chan result, 1)
	go func() {
		value, err := f()
		done <- result{value, err}
	}()
	var r result
	select {
	case r = <-done:
	case <-ctx.Done():
		select {
		case r = <-done:
		case <-time.After(lastWord):
			return zero, ctx.Err()
		}
	}
	// A client that passes the ctx on to the connection reports a timeout of its own,
	// perhaps a moment before ctx does.
	if r.err != nil {
		deadline, ok := ctx.Deadline()
		switch {
		case ctx.Err() != nil:
			r.err = errors.Join(ctx.Err(), r.err)
		case ok && time.Until(deadline) <= 0:
			r.err = errors.Join(context.DeadlineExceeded, r.err)
		}
	}
	return r.value, r.err
}

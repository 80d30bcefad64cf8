package taskstore

import (
	"context"
	"errors"
	"fmt"
	"net"
	"strings"
	"time"

	"github.com/redis/go-redis/v9"
)

// once is a command that go-redis sends at most once, whatever the client's
// MaxRetries. Its own resending cannot tell a write that was applied and whose
// answer was lost from one that was not: it would apply a Put twice and call a
// PutIfVersion that won a conflict.
type once struct{ *redis.Cmd }

// NoRetry is what go-redis asks.
func (once) NoRetry() bool { return true }

// run runs a script and returns its reply. A server that does not have the
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
	all := make([]any, 0, 3+len(keys)+len(args))
	all = append(all, command, script, len(keys))
	for _, k := range keys {
		all = append(all, k)
	}
	cmd := once{redis.NewCmd(ctx, append(all, args...)...)}
	_ = b.client.Process(ctx, cmd)
	return cmd.Result()
}

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
	select {
	case r := <-done:
		// A client that passes the ctx's deadline on to the connection reports a
		// timeout of its own, perhaps a moment before ctx does.
		if deadline, ok := ctx.Deadline(); ok && r.err != nil && time.Until(deadline) <= 0 {
			r.err = errors.Join(context.DeadlineExceeded, r.err)
		}
		return r.value, r.err
	case <-ctx.Done():
		return zero, ctx.Err()
	}
}

// notSent marks an error of a command that never left.
type notSent struct{ error }

func (e notSent) Unwrap() error { return e.error }

// neverExecuted reports whether err says that no server executed the command: it
// was not sent, or the server refused to begin.
func neverExecuted(err error) bool {
	if errors.As(err, new(notSent)) || errors.Is(err, redis.ErrPoolTimeout) ||
		errors.Is(err, redis.ErrPoolExhausted) || errors.Is(err, redis.ErrClosed) {
		return true
	}
	var dial *net.OpError
	if errors.As(err, &dial) && dial.Op == "dial" {
		return true
	}
	var refusal redis.Error
	if !errors.As(err, &refusal) {
		return false
	}
	// The server names the script in an error that stopped it on the way. Only
	// those that stop its reads or its first write leave nothing half done.
	if text := refusal.Error(); !strings.Contains(text, "script: ") && !strings.HasPrefix(text, errorInScript) {
		return true
	}
	for _, code := range []string{"OOM", "READONLY", "NOREPLICAS", "MISCONF", "WRONGTYPE"} {
		if serverSaid(err, code) {
			return true
		}
	}
	return false
}

// errorInScript starts what servers before 7.0 say of an error in a script.
const errorInScript = "ERR Error running script"

// serverSaid reports whether err is an answer of the server with that code.
func serverSaid(err error, code string) bool {
	var refusal redis.Error
	if !errors.As(err, &refusal) {
		return false
	}
	text := refusal.Error()
	return strings.HasPrefix(text, code+" ") ||
		strings.HasPrefix(text, errorInScript) && strings.Contains(text, ": "+code+" ")
}

// quoted starts what a server adds when it does not know, or does not let us use,
// a command: the first arguments, which may be keys, data or a password.
const quoted = ", with args beginning with"

// discreet returns err without what a server may have quoted of our commands.
func discreet(err error) error {
	var said redis.Error
	if errors.As(err, &said) {
		if text, _, found := strings.Cut(said.Error(), quoted); found {
			return discreetError(text)
		}
	}
	return err
}

// A discreetError is an error of a server, as much of it as may be repeated.
type discreetError string

func (e discreetError) Error() string { return string(e) }

// RedisError marks an answer of a server, see [redis.Error].
func (discreetError) RedisError() {}

// failure turns the error of a command into the one that the caller sees. verb
// says what was tried; write, whether that could change something.
func failure(verb string, key Key, write bool, err error) error {
	err = discreet(err)
	switch {
	case serverSaid(err, "WRONGTYPE"):
		return &CorruptError{Key: key, Reason: "a key of the record or its indexes holds a value of another type", Err: err}
	case serverSaid(err, "OOM"):
		return fmt.Errorf("%w: the server is out of memory: %w", ErrCapacityExceeded, err)
	case write && !neverExecuted(err):
		return fmt.Errorf("taskstore: %s: %w", verb, unknownOutcome(err))
	}
	return fmt.Errorf("taskstore: %s: %w", verb, err)
}

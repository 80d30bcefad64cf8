package taskstore

import (
	"context"
	"sync/atomic"

	"github.com/redis/go-redis/v9"

	"github.com/taskstore/taskstore/internal/redislink"
)

// once is a command that go-redis sends at most once, whatever the client's
// MaxRetries. Its own resending cannot tell a write that was applied and whose
// answer was lost from one that was not: it would apply a Put twice and call a
// PutIfVersion that won a conflict. So resending is left to redis_retry.go.
type once struct{ redis.Cmder }

// onceScript and onceRead are once for commands that may wait in a queue. Of those
// go-redis wants to know more than [redis.Cmder] tells: where it cannot, a hook on a
// node of a Cluster that looks at the command, as tracing does, waits for ever.
type (
	onceScript struct{ *redis.Cmd }
	onceRead   struct{ *redis.SliceCmd }
)

// NoRetry is what go-redis asks.
func (once) NoRetry() bool       { return true }
func (onceScript) NoRetry() bool { return true }
func (onceRead) NoRetry() bool   { return true }

// An attempt is one copy of a script on its way to a server. It is sent or abandoned, never
// both: what was abandoned before it was sent is never executed. To that end it
// stands for the script in the command's arguments; the client asks for its bytes at
// the moment when it writes them to a connection; with RedisOptions.AutoPipeline also
// when it puts them into its queue, so there they count as sent from then on.
type attempt struct {
	state  atomic.Int32
	script []byte      // its source or digest
	cmd    redis.Cmder // that carries it; nil: the client writes it once at most
}

const (
	attemptSent = 1 + iota
	attemptAbandoned
)

// MarshalBinary implements [encoding.BinaryMarshaler], by which go-redis writes it.
// What was abandoned is written as a script that does nothing: an error here would
// break the connection, and with AutoPipeline the calls of others.
//
// A pipeline that a Cluster redirects is written again by go-redis, which keeps the
// error of the first time where the connection breaks the second time. But that
// nothing was executed the first time says nothing of the second. So writing the
// command takes its error away.
func (a *attempt) MarshalBinary() ([]byte, error) {
	if a.cmd != nil {
		a.cmd.SetErr(nil)
	}
	if !a.state.CompareAndSwap(0, attemptSent) && a.state.Load() == attemptAbandoned {
		return nil, nil
	}
	return a.script, nil
}

// rearm says that what was sent was not executed, and is about to be sent again.
func (a *attempt) rearm() { a.state.CompareAndSwap(attemptSent, 0) }

// String is for who traces commands.
func (a *attempt) String() string { return string(a.script) }

// finish returns err, the end of the attempt, and says so if it was never sent.
func (a *attempt) finish(err error) error {
	if a.state.CompareAndSwap(0, attemptAbandoned) {
		return redislink.NotSent{Err: err}
	}
	return err
}

// A call is a script with its keys and arguments.
type call struct {
	script *redislink.Script
	keys   []string
	args   []string
}

// These are made interfaces once, not at every call.
var eval, evalsha any = "eval", "evalsha"

// command returns EVALSHA of the script, or EVAL of its source, carried by a.
func (c *call) command(a *attempt, source bool) []any {
	name := evalsha
	if a.script = c.script.SHA; source {
		name, a.script = eval, []byte(c.script.Source)
	}
	args := append(make([]any, 0, 3+len(c.keys)+len(c.args)), name, a, len(c.keys))
	for _, key := range c.keys {
		args = append(args, key)
	}
	for _, arg := range c.args {
		args = append(args, arg)
	}
	return args
}

// run sends a script once and returns its reply, see eval.
func (b *RedisBackend) run(ctx context.Context, c call) (redislink.Reply, error) {
	raw, _, err := b.eval(ctx, &c, false)
	if err != nil {
		return redislink.Reply{}, err
	}
	return c.script.Decode(raw)
}

// eval sends a script once and returns what it replies. A server that does not have the
// script yet (a new one, a promoted replica, after SCRIPT FLUSH) has executed
// nothing when it says so, and is sent the source. acked has replicas asked too: ack
// is why too few are known to have it.
func (b *RedisBackend) eval(ctx context.Context, c *call, acked bool) (raw any, ack, err error) {
	a := new(attempt)
	for source := false; ; source = true {
		if args := c.command(a, source); acked {
			raw, ack, err = b.processAcked(ctx, c.keys[0], args)
		} else {
			cmd := redis.NewCmd(ctx, args...)
			a.cmd = cmd
			if err = b.process(ctx, onceScript{cmd}); err == nil {
				raw = cmd.Val()
			}
		}
		if !source && redislink.Said(err, "NOSCRIPT") {
			a.rearm()
			continue
		}
		if err != nil {
			return nil, nil, c.script.Denied(a.finish(err))
		}
		return raw, ack, nil
	}
}

// process sends a command once, which cmd sees to, and waits for the answer until ctx is
// done. A command whose ctx ended belongs to the client.
func (b *RedisBackend) process(ctx context.Context, cmd redis.Cmder) error {
	if b.pipeline == nil {
		_, err := redislink.Detach(ctx, func() (struct{}, error) { return struct{}{}, b.client.Process(ctx, cmd) })
		return err
	}
	if err := ctx.Err(); err != nil {
		return redislink.NotSent{Err: err}
	}
	return b.pipeline.Submit(ctx, cmd).WaitContext(ctx)
}

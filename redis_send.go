package taskstore

import (
	"context"
	"slices"
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

// A flight is one attempt to have a script executed. It is sent or abandoned, never
// both: what was abandoned before it was sent is never executed. To that end it
// stands for the script in the command's arguments; the client asks for its bytes at
// the moment when it writes them to a connection; with RedisOptions.AutoPipeline also
// when it puts them into its queue, so there they count as sent from then on.
type flight struct {
	state  atomic.Int32
	script []byte      // its source or digest
	cmd    redis.Cmder // that carries it; nil: the client writes it once at most
}

const (
	flightSent = 1 + iota
	flightAbandoned
)

// MarshalBinary implements [encoding.BinaryMarshaler], by which go-redis writes it.
// What was abandoned is written as a script that does nothing: an error here would
// break the connection, and with AutoPipeline the calls of others.
//
// A pipeline that a Cluster redirects is written again by go-redis, which keeps the
// error of the first time where the connection breaks the second time. But that
// nothing was executed the first time says nothing of the second. So writing the
// command takes its error away.
func (f *flight) MarshalBinary() ([]byte, error) {
	if f.cmd != nil {
		f.cmd.SetErr(nil)
	}
	if !f.state.CompareAndSwap(0, flightSent) && f.state.Load() == flightAbandoned {
		return nil, nil
	}
	return f.script, nil
}

// unsent says that what was sent was not executed, and is about to be sent again.
func (f *flight) unsent() { f.state.CompareAndSwap(flightSent, 0) }

// String is for who traces commands.
func (f *flight) String() string { return string(f.script) }

// landed returns err, the end of the flight, and says so if it was never sent.
func (f *flight) landed(err error) error {
	if f.state.CompareAndSwap(0, flightAbandoned) {
		return redislink.NotSent{Err: err}
	}
	return err
}

// run sends a script once and returns its reply, see eval.
func (b *RedisBackend) run(ctx context.Context, s *redislink.Script, args []any) (redislink.Reply, error) {
	raw, err := b.eval(ctx, s, args)
	if err != nil {
		return redislink.Reply{}, err
	}
	return s.Decode(raw)
}

// eval sends a script once and returns what it replies. A server that does not have the
// script yet (a new one, a promoted replica, after SCRIPT FLUSH) has executed
// nothing when it says so, and is sent the source.
//
// args are those of scriptArgs. They are eval's own from now on: a command that ctx
// left behind may still read them.
func (b *RedisBackend) eval(ctx context.Context, s *redislink.Script, args []any) (any, error) {
	f := new(flight)
	send := func(command string, script []byte, args []any) (*redis.Cmd, error) {
		cmd := redis.NewCmd(ctx, f.carry(command, script, args)...)
		f.cmd = cmd
		return cmd, b.do(ctx, onceScript{cmd})
	}
	cmd, err := send("evalsha", s.SHA, args)
	if redislink.Said(err, "NOSCRIPT") {
		f.unsent()
		cmd, err = send("eval", []byte(s.Source), slices.Clone(args))
	}
	if err != nil {
		return nil, s.Denied(f.landed(err))
	}
	return cmd.Val(), nil
}

// do sends a command once, which cmd sees to, and waits for the answer until ctx is
// done. A command whose ctx ended belongs to the client.
func (b *RedisBackend) do(ctx context.Context, cmd redis.Cmder) error {
	if b.pipeline == nil {
		_, err := redislink.Detach(ctx, func() (struct{}, error) { return struct{}{}, b.client.Process(ctx, cmd) })
		return err
	}
	if err := ctx.Err(); err != nil {
		return redislink.NotSent{Err: err}
	}
	return b.pipeline.Submit(ctx, cmd).WaitContext(ctx)
}

// scriptArgs returns the arguments of EVAL or EVALSHA with these keys, with room for
// n of the script's own behind them. The first two the flight puts in.
func scriptArgs(n int, keys ...string) []any {
	args := make([]any, 3, 3+len(keys)+n)
	args[2] = len(keys)
	for _, k := range keys {
		args = append(args, k)
	}
	return args
}

// carry puts command and script, a digest or a source, into args.
func (f *flight) carry(command string, script []byte, args []any) []any {
	f.script = script
	args[0], args[1] = command, f
	return args
}

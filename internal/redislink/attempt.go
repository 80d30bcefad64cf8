package redislink

import (
	"sync/atomic"

	"github.com/redis/go-redis/v9"
)

// once is a command that go-redis sends at most once, regardless of the client's
// MaxRetries. The client's own retry cannot tell an applied write with a lost answer from
// one that was not applied: it would apply a Put twice, and report a conflict for a
// PutIfVersion that won. So retry.go makes the retries.
type once struct{ redis.Cmder }

// onceScript and onceRead are once for commands that may wait in a queue. go-redis needs
// more of those than [redis.Cmder]: without it a hook on a Cluster node that looks at the
// command, as tracing does, waits forever.
type (
	onceScript struct{ *redis.Cmd }
	onceRead   struct{ *redis.SliceCmd }
)

// NoRetry tells go-redis not to resend the command.
func (once) NoRetry() bool       { return true }
func (onceScript) NoRetry() bool { return true }
func (onceRead) NoRetry() bool   { return true }

// An attempt is one copy of a script on its way to a server. It is either sent or
// abandoned, and no server executes an abandoned attempt. The attempt takes the script's
// place in the command's arguments: the client asks for its bytes as it writes them to a
// connection. With Options.AutoPipeline the client also asks as it queues the command, so
// the attempt counts as sent from then on.
type attempt struct {
	state  atomic.Int32
	script []byte      // its source or digest
	cmd    redis.Cmder // the command that carries it; nil: the client writes it at most once
}

const (
	attemptSent = 1 + iota
	attemptAbandoned
)

// MarshalBinary implements [encoding.BinaryMarshaler]; go-redis calls it to write the
// script. An abandoned script is written as an empty one, which does nothing: an error here
// would break the connection and, with AutoPipeline, the calls of others.
//
// If a Cluster redirects a pipeline, go-redis writes it again, and if the connection then
// breaks, it keeps the error of the first write. That error proves that the first copy was
// not executed, but the second may have been. So writing the command clears its error.
func (a *attempt) MarshalBinary() ([]byte, error) {
	if a.cmd != nil {
		a.cmd.SetErr(nil)
	}
	if !a.state.CompareAndSwap(0, attemptSent) && a.state.Load() == attemptAbandoned {
		return nil, nil
	}
	return a.script, nil
}

// rearm makes a sent attempt, which no server executed, ready to be sent again.
func (a *attempt) rearm() { a.state.CompareAndSwap(attemptSent, 0) }

// String is for hooks that trace commands.
func (a *attempt) String() string { return string(a.script) }

// finish returns err, the end of the attempt, and marks it as notSent if it was not sent.
func (a *attempt) finish(err error) error {
	if a.state.CompareAndSwap(0, attemptAbandoned) {
		return notSent{Err: err}
	}
	return err
}

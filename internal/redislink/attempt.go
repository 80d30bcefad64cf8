package redislink

import (
	"sync/atomic"

	"github.com/redis/go-redis/v9"
)

// once is a command that go-redis sends at most once, whatever the client's
// MaxRetries. Its own resending cannot tell a write that was applied and whose
// answer was lost from one that was not: it would apply a Put twice and call a
// PutIfVersion that won a conflict. So resending is left to retry.go.
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
// the moment when it writes them to a connection; with Options.AutoPipeline also
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
// A script that was abandoned is written as one that does nothing: an error here would
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
		return notSent{Err: err}
	}
	return err
}

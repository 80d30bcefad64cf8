package redislink

import (
	"context"

	"github.com/redis/go-redis/v9"
)

// A Call is a script with its keys and arguments.
type Call struct {
	Script *Script
	Keys   []string
	Args   []string
}

// Converted to interfaces once, not at every call.
var eval, evalsha any = "eval", "evalsha"

// command returns EVALSHA of the script, or EVAL of its source, carried by a.
func (c *Call) command(a *attempt, source bool) []any {
	name := evalsha
	if a.script = c.Script.SHA; source {
		name, a.script = eval, []byte(c.Script.Source)
	}
	args := append(make([]any, 0, 3+len(c.Keys)+len(c.Args)), name, a, len(c.Keys))
	for _, key := range c.Keys {
		args = append(args, key)
	}
	for _, arg := range c.Args {
		args = append(args, arg)
	}
	return args
}

// Run sends a script once and returns its decoded reply; see eval.
func (l *Link) Run(ctx context.Context, c Call) (Reply, error) {
	raw, _, err := l.eval(ctx, &c, false)
	if err != nil {
		return Reply{}, err
	}
	return c.Script.Decode(raw)
}

// Eval sends a script once and returns its reply for the caller to decode.
func (l *Link) Eval(ctx context.Context, c Call) (any, error) {
	raw, _, err := l.eval(ctx, &c, false)
	return raw, err
}

// eval sends a script once and returns its reply. A server that does not have the script
// yet (a new one, a promoted replica, after SCRIPT FLUSH) says so without executing
// anything, and eval sends the source. With acked, eval also waits for replicas, and ack
// says why too few are known to have the write.
func (l *Link) eval(ctx context.Context, c *Call, acked bool) (raw any, ack, err error) {
	a := new(attempt)
	for source := false; ; source = true {
		if args := c.command(a, source); acked {
			raw, ack, err = l.processAcked(ctx, c.Keys[0], args)
		} else {
			cmd := redis.NewCmd(ctx, args...)
			a.cmd = cmd
			if err = l.process(ctx, onceScript{cmd}); err == nil {
				raw = cmd.Val()
			}
		}
		if !source && Said(err, "NOSCRIPT") {
			a.rearm()
			continue
		}
		if err != nil {
			return nil, nil, c.Script.Denied(a.finish(err))
		}
		return raw, ack, nil
	}
}

// process sends a command, which must be a once, and waits for the answer until ctx is
// done. Once ctx is done, the command belongs to the client.
func (l *Link) process(ctx context.Context, cmd redis.Cmder) error {
	if l.pipeline == nil {
		_, err := Detach(ctx, func() (struct{}, error) { return struct{}{}, l.client.Process(ctx, cmd) })
		return err
	}
	if err := ctx.Err(); err != nil {
		return notSent{Err: err}
	}
	return l.pipeline.Submit(ctx, cmd).WaitContext(ctx)
}

package redislink

import (
	"context"
	"errors"
	"iter"
	"slices"

	"github.com/redis/go-redis/v9"
)

// A Pipeline is the commands of one round trip. Each is sent once, and has its own answer
// when the round trip is over.
type Pipeline struct {
	ctx    context.Context
	pipe   redis.Pipeliner
	source bool       // scripts are sent as source
	eval   *redis.Cmd // the latest script
}

// Pipeline makes a round trip with the commands that fill adds. Its error is one that no
// command has. If a server does not have the script yet, Pipeline sends the source in
// another trip, for which it calls fill again. It asks for the role too, as Read does. It
// waits as the client does; see [Detach].
func (l *Link) Pipeline(ctx context.Context, fill func(*Pipeline)) error {
	for source := false; ; source = true {
		p := &Pipeline{ctx: ctx, pipe: l.client.Pipeline(), source: source}
		var asked redis.Cmder
		if !l.role.proven() {
			asked = l.roleQuestion(ctx, "role")
			_ = p.pipe.Process(ctx, asked) // first, as in readWithRole
		}
		fill(p)
		cmds, err := p.pipe.Exec(ctx)
		switch {
		case asked != nil && Said(asked.Err(), "READONLY"):
			return asked.Err()
		case err != nil && !repliesSay(cmds, err):
			return err
		case !source && p.eval != nil && Said(p.eval.Err(), "NOSCRIPT"):
			continue
		}
		return nil
	}
}

// repliesSay reports whether err is the answer to one of cmds, which the caller finds in
// that command. A server's refusal of a new connection, such as for a wrong password, is
// not.
func repliesSay(cmds []redis.Cmder, err error) bool {
	return errors.As(err, new(redis.Error)) && slices.ContainsFunc(cmds, func(cmd redis.Cmder) bool { return cmd.Err() != nil })
}

func (p *Pipeline) queue(cmd redis.Cmder) { _ = p.pipe.Process(p.ctx, once{cmd}) }

// Eval adds a script; a pipeline takes one at most.
func (p *Pipeline) Eval(c Call) Raw {
	p.eval = redis.NewCmd(p.ctx, c.command(new(attempt), p.source)...)
	p.queue(p.eval)
	return Raw{p.eval}
}

// Fields adds a command that answers with a list of fields.
func (p *Pipeline) Fields(args ...any) Fields {
	cmd := redis.NewSliceCmd(p.ctx, args...)
	p.queue(cmd)
	return Fields{cmd}
}

// Members adds a command that answers with members of a set.
func (p *Pipeline) Members(args ...any) Members {
	cmd := redis.NewStringSliceCmd(p.ctx, args...)
	p.queue(cmd)
	return Members{cmd}
}

// Scored adds a command that answers with members of a sorted set and their scores.
func (p *Pipeline) Scored(args ...any) Scored {
	cmd := redis.NewZSliceCmd(p.ctx, args...)
	p.queue(cmd)
	return Scored{cmd}
}

// Count adds a command that answers with a number.
func (p *Pipeline) Count(args ...any) Count {
	cmd := redis.NewIntCmd(p.ctx, args...)
	p.queue(cmd)
	return Count{cmd}
}

// The answers to commands of a pipeline.
type (
	Raw     struct{ cmd *redis.Cmd }
	Fields  struct{ cmd *redis.SliceCmd }
	Members struct{ cmd *redis.StringSliceCmd }
	Scored  struct{ cmd *redis.ZSliceCmd }
	Count   struct{ cmd *redis.IntCmd }
)

func (a Raw) Result() (any, error)          { return a.cmd.Result() }
func (a Fields) Result() ([]any, error)     { return a.cmd.Result() }
func (a Members) Result() ([]string, error) { return a.cmd.Result() }
func (a Count) Result() (int64, error)      { return a.cmd.Result() }

// Err returns the error of the command.
func (a Scored) Err() error { return a.cmd.Err() }

// Len returns the number of members.
func (a Scored) Len() int { return len(a.cmd.Val()) }

// All yields the members with their scores, which are whole numbers.
func (a Scored) All() iter.Seq2[string, uint64] {
	return func(yield func(string, uint64) bool) {
		for _, z := range a.cmd.Val() {
			if !yield(z.Member.(string), uint64(z.Score)) { // go-redis makes every member a string
				return
			}
		}
	}
}

package redislink

import (
	"context"

	"github.com/redis/go-redis/v9"
)

// A question is a command that changes no data, however often a server executes it: INFO,
// PING and the like, and the empty message of Link.Publish. Questions are the one exception
// to once: the client resends them by its own MaxRetries and backoff, which its user chose.
// So a question survives a connection that broke while idle, and gives up as soon as the
// user wants it to. All questions go through ask and askTogether, and all other commands as
// once.

// A sender is the part of a client that sends commands. It takes finished commands, because
// methods of go-redis like Info and Publish make commands that are not once.
type sender interface {
	pipeliner
	Process(ctx context.Context, cmd redis.Cmder) error
}

// A commander is a sender that can also subscribe.
type commander interface {
	sender
	Subscribe(ctx context.Context, channels ...string) *redis.PubSub
}

// ask sends a question and returns it with its answer.
func ask[Q redis.Cmder](ctx context.Context, s sender, question Q) Q {
	_ = s.Process(ctx, question)
	return question
}

// askTogether sends questions in one round trip. Each has its own answer; the error is that
// of the first question without one, or of the connection.
func askTogether(ctx context.Context, s pipeliner, questions ...redis.Cmder) error {
	pipe := s.Pipeline()
	for _, question := range questions {
		_ = pipe.Process(ctx, question)
	}
	_, err := pipe.Exec(ctx)
	return err
}

package redislink

import (
	"context"

	"github.com/redis/go-redis/v9"
)

// A question is a command that changes nothing, however often a server executes it: INFO,
// PING, their like, and the message of Link.Publish, which says nothing. Questions are the
// one exception to once. The client resends them by its own MaxRetries and pauses, which
// its user has chosen, so a question outlives a connection that broke while it was idle,
// and gives up as soon as the user wants it to. They all go through ask and askTogether,
// and all else goes as once.

// A sender is as much of a client as sends commands. It takes them ready made: a method
// like Info or Publish of go-redis makes one that is not once.
type sender interface {
	pipeliner
	Process(ctx context.Context, cmd redis.Cmder) error
}

// A commander is a sender to which one can subscribe as well.
type commander interface {
	sender
	Subscribe(ctx context.Context, channels ...string) *redis.PubSub
}

// ask asks a question and returns it with its answer.
func ask[Q redis.Cmder](ctx context.Context, s sender, question Q) Q {
	_ = s.Process(ctx, question)
	return question
}

// askTogether asks questions in one round trip. Each has its own answer; the error is that
// of the first which has none, or of the connection.
func askTogether(ctx context.Context, s pipeliner, questions ...redis.Cmder) error {
	pipe := s.Pipeline()
	for _, question := range questions {
		_ = pipe.Process(ctx, question)
	}
	_, err := pipe.Exec(ctx)
	return err
}

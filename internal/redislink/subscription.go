package redislink

import (
	"context"
	"time"

	"github.com/redis/go-redis/v9"
)

// A Subscription is a connection to a node and the channels that it is subscribed to.
type Subscription struct {
	pubsub  *redis.PubSub
	sharded bool
}

// Subscribe returns a subscription without channels, sharded or not. It connects with
// its first.
func (n Node) Subscribe(ctx context.Context, sharded bool) *Subscription {
	return &Subscription{pubsub: n.commands().Subscribe(ctx), sharded: sharded}
}

// Add asks for channels; in a Cluster those of one command have to be in one slot.
func (s *Subscription) Add(ctx context.Context, channels ...string) error {
	if s.sharded {
		return s.pubsub.SSubscribe(ctx, channels...)
	}
	return s.pubsub.Subscribe(ctx, channels...)
}

// Remove is the opposite of Add.
func (s *Subscription) Remove(ctx context.Context, channels ...string) error {
	if s.sharded {
		return s.pubsub.SUnsubscribe(ctx, channels...)
	}
	return s.pubsub.Unsubscribe(ctx, channels...)
}

// Answer waits for the server's next word, and returns what it has against it.
func (s *Subscription) Answer(ctx context.Context, timeout time.Duration) error {
	_, err := s.pubsub.ReceiveTimeout(ctx, timeout)
	return err
}

// Close closes the connection.
func (s *Subscription) Close() error { return s.pubsub.Close() }

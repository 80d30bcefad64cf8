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

// Subscribe returns a subscription without channels, sharded or not. It connects when the
// first channel is added.
func (n Node) Subscribe(ctx context.Context, sharded bool) *Subscription {
	return &Subscription{pubsub: n.commands().Subscribe(ctx), sharded: sharded}
}

// Add subscribes to channels; in a Cluster those of one call must be in one slot.
func (s *Subscription) Add(ctx context.Context, channels ...string) error {
	if s.sharded {
		return s.pubsub.SSubscribe(ctx, channels...)
	}
	return s.pubsub.Subscribe(ctx, channels...)
}

// Remove unsubscribes from channels, under the same rule.
func (s *Subscription) Remove(ctx context.Context, channels ...string) error {
	if s.sharded {
		return s.pubsub.SUnsubscribe(ctx, channels...)
	}
	return s.pubsub.Unsubscribe(ctx, channels...)
}

// Ping sends the server a PING.
func (s *Subscription) Ping(ctx context.Context) error { return s.pubsub.Ping(ctx) }

// A Message is one item that the server sends on a subscription.
type Message struct {
	Kind    string // "message", or the name of the command that it confirms, or "pong"
	Channel string
	Payload string // of a message
}

// Receive waits for the server's next message.
func (s *Subscription) Receive(ctx context.Context) (Message, error) {
	said, err := s.pubsub.Receive(ctx)
	switch m := said.(type) {
	case *redis.Message:
		return Message{Kind: "message", Channel: m.Channel, Payload: m.Payload}, err
	case *redis.Subscription:
		return Message{Kind: m.Kind, Channel: m.Channel}, err
	}
	return Message{Kind: "pong"}, err
}

// Answer waits for the server's next message, and returns an error if that is a refusal.
func (s *Subscription) Answer(ctx context.Context, timeout time.Duration) error {
	_, err := s.pubsub.ReceiveTimeout(ctx, timeout)
	return err
}

// Close closes the connection.
func (s *Subscription) Close() error { return s.pubsub.Close() }

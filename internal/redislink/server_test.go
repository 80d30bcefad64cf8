package redislink

import (
	"context"
	"sync"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/taskstore/taskstore/internal/fakeredis"
)

// waitFor waits until n commands that begin with prefix have come to s.
func waitFor(t *testing.T, s *fakeredis.Server, prefix string, n int) {
	require.Eventually(t, func() bool { return len(s.Got(prefix)) >= n }, 10*time.Second, time.Millisecond, prefix)
}

// held answers "hold" when release is closed, and others at once.
func held(t *testing.T) (answer func(args []string) string, release func()) {
	gate := make(chan struct{})
	release = sync.OnceFunc(func() { close(gate) })
	t.Cleanup(release)
	return func(args []string) string {
		switch args[0] {
		case "hold":
			<-gate
		case "echo", "other":
		default:
			return fakeredis.Unknown
		}
		return "+OK\r\n"
	}, release
}

// connect returns a client of s.
func connect(t *testing.T, s *fakeredis.Server, o redis.Options) *redis.Client {
	o.Addr, o.Protocol, o.DisableIdentity = s.Addr, 2, true
	client := redis.NewClient(&o)
	t.Cleanup(func() { assert.NoError(t, client.Close()) })
	return client
}

// hold has one connection of client wait for an answer, and returns a channel with its end.
func hold(t *testing.T, s *fakeredis.Server, client *redis.Client) (done chan error) {
	done = make(chan error, 1)
	go func() { done <- client.Process(context.Background(), redis.NewCmd(context.Background(), "hold")) }()
	waitFor(t, s, "hold", 1)
	return done
}

package redisfeed

import (
	"sync"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/taskstore/taskstore/internal/redislink"
)

// failures keeps a Feed's errors about channels that cannot be subscribed.
type failures struct {
	mu  sync.Mutex
	all map[string]error
}

func (f *failures) Message(string, string) {}
func (f *failures) Resync(string)          {}
func (f *failures) Fail(channel string, err error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.all[channel] = err
}

func (f *failures) of(channel string) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.all[channel]
}

// nobody returns a feed over a client of no server.
func nobody(t *testing.T) (*Feed, *failures, *redis.Client) {
	client := redis.NewClient(&redis.Options{Addr: "127.0.0.1:1", DialerRetries: 1})
	t.Cleanup(func() { _ = client.Close() })
	link, err := redislink.New(client, redislink.Options{Clock: redislink.NewScript("clock", "return '1'"), Key: "key"})
	require.NoError(t, err)
	to := &failures{all: make(map[string]error)}
	f := New(link, to)
	t.Cleanup(f.Close)
	return f, to, client
}

// A feed that is closed fails the channels that it has, and those that come later.
func TestCloseFailsChannels(t *testing.T) {
	f, to, _ := nobody(t)
	assert.False(t, f.Join("before"))
	assert.NoError(t, to.of("before"), "it goes on trying")
	f.Close()
	assert.ErrorIs(t, to.of("before"), ErrClosed)
	assert.False(t, f.Join("behind"))
	assert.ErrorIs(t, to.of("behind"), ErrClosed)
}

// A client that is closed fails the channels: no wait would open it.
func TestAClosedClientFailsChannels(t *testing.T) {
	f, to, client := nobody(t)
	require.NoError(t, client.Close())
	f.Join("channel")
	require.Eventually(t, func() bool { return to.of("channel") != nil }, 10*time.Second, time.Millisecond)
	assert.True(t, redislink.ClientClosed(to.of("channel")))
}

// A feed routes no message for a channel that was left, and reports no failure of it.
func TestLeaveEndsAChannel(t *testing.T) {
	f, to, _ := nobody(t)
	f.Join("channel")
	f.Leave("channel")
	require.Eventually(t, func() bool {
		f.mu.Lock()
		defer f.mu.Unlock()
		return len(f.channels) == 0 && len(f.connections) == 0
	}, 10*time.Second, time.Millisecond)
	assert.NoError(t, to.of("channel"))
}

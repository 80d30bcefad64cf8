package taskstore_test

import (
	"bytes"
	"context"
	"fmt"
	"log"
	"log/slog"
	"net"
	"sync"
	"testing"

	"github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/taskstore/taskstore"
)

// A redisLog writes go-redis's own messages, about connections and failovers, to a structured
// log.
type redisLog struct{ *slog.Logger }

func (l redisLog) Printf(ctx context.Context, format string, v ...any) {
	l.WarnContext(ctx, fmt.Sprintf(format, v...), "from", "go-redis")
}

// go-redis has one logger for a process, and until it is given one it writes to os.Stderr. So
// the program sets the logger once, before it opens a backend.
func Example_goRedisLog() {
	redis.SetLogger(redisLog{slog.Default()})
	store, err := taskstore.OpenRedis(context.Background(), "redis://localhost:6379", nil)
	if err != nil {
		log.Fatal(err)
	}
	defer store.Close()
}

// The logger of the example has the type that go-redis asks for, and go-redis writes to it.
func TestGoRedisLogsToTheLoggerOfTheExample(t *testing.T) {
	var mu sync.Mutex
	var out bytes.Buffer
	redis.SetLogger(redisLog{slog.New(slog.NewTextHandler(writer(func(p []byte) (int, error) {
		mu.Lock()
		defer mu.Unlock()
		return out.Write(p)
	}), nil))})
	t.Cleanup(func() { redis.SetLogger(redisLog{slog.Default()}) })
	closed, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	require.NoError(t, closed.Close())
	client := redis.NewFailoverClient(&redis.FailoverOptions{MasterName: "m", SentinelAddrs: []string{closed.Addr().String()}, MaxRetries: -1})
	t.Cleanup(func() { _ = client.Close() })
	require.Error(t, client.Ping(t.Context()).Err())
	mu.Lock()
	defer mu.Unlock()
	assert.Contains(t, out.String(), "level=WARN")
	assert.Contains(t, out.String(), "from=go-redis")
}

type writer func([]byte) (int, error)

func (w writer) Write(p []byte) (int, error) { return w(p) }

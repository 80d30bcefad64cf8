//go:build integration

// The tests that need a Redis. They start their own servers; see the package
// internal/redistest.

package mcptasks_test

import (
	"context"
	"crypto/rand"
	"io"
	"log"
	"os"
	"testing"

	"github.com/taskstore/taskstore"
	"github.com/taskstore/taskstore/internal/redistest"
)

// TestMain also makes the test binary the replicas that the tests kill.
func TestMain(m *testing.M) {
	if config := os.Getenv(replicaEnv); config != "" {
		if err := serveReplica(config); err != nil {
			log.Fatal(err)
		}
		return
	}
	redistest.Main(m)
}

func init() {
	stores["Redis"] = func(tb testing.TB) opener {
		url, opts := redistest.SharedURL(tb), taskstore.RedisOptions{Prefix: rand.Text()}
		return func() taskstore.StorageBackend { return openRedis(tb, url, opts) }
	}
}

func openRedis(tb testing.TB, url string, opts taskstore.RedisOptions) taskstore.StorageBackend {
	tb.Helper()
	return openFleet(tb, replicaConfig{URL: url, Redis: opts})
}

func openFleet(tb testing.TB, c replicaConfig) taskstore.StorageBackend {
	tb.Helper()
	b, err := c.open(context.Background())
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() { _ = b.(io.Closer).Close() })
	return b
}

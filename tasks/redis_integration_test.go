//go:build integration

// The same tests on a live Redis; see the package internal/redistest.

package tasks

import (
	"fmt"
	"os"
	"testing"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"

	"github.com/taskstore/taskstore"
	"github.com/taskstore/taskstore/internal/redistest"
)

func TestMain(m *testing.M) {
	if config := os.Getenv(victimEnv); config != "" {
		if err := victim(config); err != nil {
			fmt.Fprintln(os.Stderr, err)
		}
		os.Exit(1)
	}
	redistest.Main(m)
}

func init() {
	open := func(url func(testing.TB) string) func(testing.TB) taskstore.StorageBackend {
		return func(tb testing.TB) taskstore.StorageBackend {
			b, err := taskstore.OpenRedis(ctx, url(tb), &taskstore.RedisOptions{Prefix: uuid.NewString()})
			require.NoError(tb, err)
			tb.Cleanup(func() { _ = b.Close() })
			return b
		}
	}
	backends["Redis"] = open(redistest.SharedURL)
	backends["Cluster"] = open(func(tb testing.TB) string { return redistest.SharedCluster(tb).URL() })
}

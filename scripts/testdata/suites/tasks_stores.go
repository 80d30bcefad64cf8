// Test file of package tasks while `make suites` runs: its tests run on SQLite and
// PostgreSQL too. The module of tasks must not require either.

package tasks

import (
	"path/filepath"
	"testing"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"

	"github.com/taskstore/taskstore"
	"github.com/taskstore/taskstore/internal/pgtest"
	"github.com/taskstore/taskstore/pgstore"
	"github.com/taskstore/taskstore/sqlitestore"
)

func TestMain(m *testing.M) { pgtest.Main(m) }

func init() {
	backends = map[string]func(testing.TB) taskstore.StorageBackend{
		"SQLite": func(tb testing.TB) taskstore.StorageBackend {
			b, err := sqlitestore.Open(ctx, filepath.Join(tb.TempDir(), "tasks.db"), nil)
			require.NoError(tb, err)
			tb.Cleanup(func() { _ = b.Close() })
			return b
		},
		"PostgreSQL": func(tb testing.TB) taskstore.StorageBackend {
			opts := &pgstore.Options{Schema: "s" + uuid.NewString()}
			url := pgtest.Shared(tb).URL()
			require.NoError(tb, pgstore.Migrate(ctx, url, opts))
			b, err := pgstore.Open(ctx, url, opts)
			require.NoError(tb, err)
			tb.Cleanup(func() { _ = b.Close() })
			return b
		},
	}
}

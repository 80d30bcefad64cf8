// Test file of package mcptasks while `make suites` runs: the tests about more than one
// replica, and about the records left behind, run on SQLite and PostgreSQL too. The module of
// mcptasks must not require either.

package mcptasks_test

import (
	"context"
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
	stores = map[string]func(testing.TB) opener{
		"SQLite": func(tb testing.TB) opener {
			path := filepath.Join(tb.TempDir(), "tasks.db")
			return func() taskstore.StorageBackend {
				b, err := sqlitestore.Open(context.Background(), path, nil)
				require.NoError(tb, err)
				tb.Cleanup(func() { _ = b.Close() })
				return b
			}
		},
		"PostgreSQL": func(tb testing.TB) opener {
			opts := &pgstore.Options{Schema: "s" + uuid.NewString()}
			url := pgtest.Shared(tb).URL()
			require.NoError(tb, pgstore.Migrate(context.Background(), url, opts))
			return func() taskstore.StorageBackend {
				b, err := pgstore.Open(context.Background(), url, opts)
				require.NoError(tb, err)
				tb.Cleanup(func() { _ = b.Close() })
				return b
			}
		},
	}
}

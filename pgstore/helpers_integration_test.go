//go:build integration

package pgstore

import (
	"context"
	"crypto/rand"
	"strings"
	"sync"
	"testing"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/stretchr/testify/require"

	"github.com/taskstore/taskstore"
	"github.com/taskstore/taskstore/internal/pgtest"
)

func TestMain(m *testing.M) { pgtest.Main(m) }

var (
	ctx   = context.Background()
	key   = taskstore.Key{Owner: "owner", Task: "task"}
	hello = taskstore.Value{Data: []byte("hello")}
)

// newSchema makes a schema that no other test has, on the server of url, and returns its
// name.
func newSchema(tb testing.TB, url string) string {
	tb.Helper()
	name := "test_" + strings.ToLower(rand.Text())
	require.NoError(tb, Migrate(ctx, url, &Options{Schema: name}))
	return name
}

// open opens a backend that ends with the test. Its schema is its own unless opts say
// otherwise.
func open(tb testing.TB, url string, opts Options) *Backend {
	tb.Helper()
	if opts.Schema == "" {
		opts.Schema = newSchema(tb, url)
	}
	b, err := Open(ctx, url, &opts)
	require.NoError(tb, err)
	tb.Cleanup(func() { _ = b.Close() })
	return b
}

// admin returns connections of the superuser.
func admin(tb testing.TB, url string) *pgxpool.Pool {
	tb.Helper()
	pool, err := pgxpool.New(ctx, url)
	require.NoError(tb, err)
	tb.Cleanup(pool.Close)
	return pool
}

// exec runs SQL in which $S stands for the schema.
func exec(tb testing.TB, pool *pgxpool.Pool, schema, sql string, args ...any) {
	tb.Helper()
	_, err := pool.Exec(ctx, in(schema, sql), append([]any{pgx.QueryExecModeExec}, args...)...)
	require.NoError(tb, err)
}

// query returns the one value of SQL in which $S stands for the schema.
func query[T any](tb testing.TB, pool *pgxpool.Pool, schema, sql string, args ...any) (v T) {
	tb.Helper()
	require.NoError(tb, pool.QueryRow(ctx, in(schema, sql), append([]any{pgx.QueryExecModeExec}, args...)...).Scan(&v))
	return v
}

func in(schema, sql string) string {
	return strings.ReplaceAll(sql, "$S", pgx.Identifier{schema}.Sanitize())
}

// names are those of the connections of backends.
var names sync.Map // *Backend -> string

// adminOf returns connections as config has them.
func adminOf(tb testing.TB, config *pgxpool.Config) *pgxpool.Pool {
	tb.Helper()
	pool, err := pgxpool.NewWithConfig(ctx, config)
	require.NoError(tb, err)
	tb.Cleanup(pool.Close)
	return pool
}

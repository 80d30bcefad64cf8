package sqlitestore

import (
	"context"
	"database/sql"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/taskstore/taskstore"
)

// withMigrations has this library know other schemas for a test.
func withMigrations(t *testing.T, steps ...string) {
	before := migrations
	migrations = steps
	t.Cleanup(func() { migrations = before })
}

func openFile(t *testing.T, path string) *Backend {
	t.Helper()
	b, err := Open(t.Context(), path, nil)
	require.NoError(t, err)
	t.Cleanup(func() { _ = b.Close() })
	return b
}

var aKey = taskstore.Key{Owner: "owner", Task: "task"}

// fileWithRecord makes a file of the first schema.
func fileWithRecord(t *testing.T) (path string) {
	t.Helper()
	path = filepath.Join(t.TempDir(), "tasks.db")
	b := openFile(t, path)
	_, err := b.Put(t.Context(), aKey, taskstore.Value{Data: []byte("x")})
	require.NoError(t, err)
	require.NoError(t, b.Close())
	return path
}

func TestAnOlderSchemaIsMigrated(t *testing.T) {
	path := fileWithRecord(t)
	withMigrations(t, schemaV1, "CREATE TABLE second (x INTEGER) STRICT", "ALTER TABLE record ADD COLUMN third INTEGER")
	b := openFile(t, path)
	_, err := b.PutIfVersion(t.Context(), aKey, taskstore.Value{}, 1)
	require.NoError(t, err)
	l, err := layoutOf(t.Context(), b.read)
	require.NoError(t, err)
	assert.Equal(t, 3, l.version)
}

// A migration that fails leaves the file as it was, its first steps undone.
func TestAFailedMigrationIsRolledBack(t *testing.T) {
	path := fileWithRecord(t)
	before, err := os.ReadFile(path)
	require.NoError(t, err)
	withMigrations(t, schemaV1, "CREATE TABLE second (x INTEGER) STRICT", "CREATE TABLE record (x INTEGER)")
	_, err = Open(t.Context(), path, nil)
	var refused *taskstore.ConnectError
	require.ErrorAs(t, err, &refused)
	after, err := os.ReadFile(path)
	require.NoError(t, err)
	assert.Equal(t, before, after)
}

func TestANewerSchemaIsRefused(t *testing.T) {
	path := filepath.Join(t.TempDir(), "tasks.db")
	withMigrations(t, schemaV1, "CREATE TABLE second (x INTEGER) STRICT")
	b := openFile(t, path)
	require.NoError(t, b.Close())
	before, err := os.ReadFile(path)
	require.NoError(t, err)
	withMigrations(t, schemaV1)
	_, err = Open(t.Context(), path, nil)
	var refused *taskstore.ConnectError
	require.ErrorAs(t, err, &refused)
	assert.Contains(t, err.Error(), "with schema 2; this one supports schema 1: update this program")
	after, err := os.ReadFile(path)
	require.NoError(t, err)
	assert.Equal(t, before, after)
}

// A backend stops writing when a newer library migrates its file.
func TestAMigrationUnderAnOpenBackendStopsItsWrites(t *testing.T) {
	path := fileWithRecord(t)
	old := openFile(t, path)
	c, err := sql.Open("sqlite", path)
	require.NoError(t, err)
	defer c.Close()
	_, err = c.ExecContext(context.Background(), "PRAGMA user_version = 2")
	require.NoError(t, err)
	_, err = old.Put(t.Context(), aKey, taskstore.Value{Data: []byte("y")})
	var refused *FileError
	require.ErrorAs(t, err, &refused)
	r, err := old.Get(t.Context(), aKey)
	require.NoError(t, err)
	assert.Equal(t, "x", string(r.Data))
}

package sqlitestore_test

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/taskstore/taskstore"
	"github.com/taskstore/taskstore/sqlitestore"
)

// held returns the files of the directory that the process holds, open or mapped.
func held(t *testing.T, dir string) (held []string) {
	t.Helper()
	maps, err := os.ReadFile("/proc/self/maps")
	require.NoError(t, err)
	for line := range strings.Lines(string(maps)) {
		if strings.Contains(line, dir) {
			held = append(held, line)
		}
	}
	entries, err := os.ReadDir("/proc/self/fd")
	require.NoError(t, err)
	for _, e := range entries {
		if name, err := os.Readlink("/proc/self/fd/" + e.Name()); err == nil && strings.HasPrefix(name, dir) {
			held = append(held, name)
		}
	}
	return held
}

// Close lets go of all files, after any use of the backend, and so does an Open that fails.
func TestCloseClosesAllFiles(t *testing.T) {
	dir := t.TempDir()
	b := open(t, filepath.Join(dir, "tasks.db"), nil)
	for i := range 3 {
		_, err := b.Put(t.Context(), taskstore.Key{Owner: "o", Task: fmt.Sprint(i)}, taskstore.Value{})
		require.NoError(t, err)
	}
	_, err := b.Get(t.Context(), taskstore.Key{Owner: "o", Task: "none"})
	require.ErrorIs(t, err, taskstore.ErrNotFound)
	_, _, err = b.ListPage(t.Context(), taskstore.Key{Owner: "o"}, "", 1)
	require.NoError(t, err)
	_, err = b.Check(t.Context())
	require.NoError(t, err)
	_, err = b.CleanupExpired(t.Context())
	require.NoError(t, err)
	for range b.Watch(t.Context(), taskstore.Key{Owner: "o"}) {
		break
	}
	require.NotEmpty(t, held(t, dir))
	require.NoError(t, b.Close())
	assert.Empty(t, held(t, dir))

	db := look(t, filepath.Join(dir, "tasks.db"))
	_, err = db.Exec("PRAGMA user_version = 99")
	require.NoError(t, err)
	require.NoError(t, db.Close())
	_, err = sqlitestore.Open(t.Context(), filepath.Join(dir, "tasks.db"), nil)
	require.Error(t, err)
	assert.Empty(t, held(t, dir))
}

package sqlitestore_test

import (
	"context"
	"database/sql"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/taskstore/taskstore"
	"github.com/taskstore/taskstore/sqlitestore"
)

func TestOpenMakesAFileForItsOwnerOnly(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "a ?#%20", "b")
	path := filepath.Join(dir, "tasks.db")
	b := open(t, path, nil)
	_, err := b.Put(t.Context(), aKey, taskstore.Value{})
	require.NoError(t, err)
	entries, err := os.ReadDir(dir)
	require.NoError(t, err)
	var names []string
	for _, e := range entries {
		names = append(names, e.Name())
		info, err := e.Info()
		require.NoError(t, err)
		if runtime.GOOS != "windows" {
			assert.Equal(t, os.FileMode(0o600), info.Mode().Perm(), e.Name())
		}
	}
	assert.Equal(t, []string{"tasks.db", "tasks.db-queue", "tasks.db-shm", "tasks.db-turn", "tasks.db-wal"}, names)
	if info, err := os.Stat(dir); assert.NoError(t, err) && runtime.GOOS != "windows" {
		assert.Equal(t, os.FileMode(0o700), info.Mode().Perm())
	}
}

var aKey = taskstore.Key{Owner: "s3cr3t-owner", Collection: "s3cr3t-collection", Task: "s3cr3t-task"}

// The settings that the promises rest on.
func TestOpenSetsTheFileUp(t *testing.T) {
	path := filepath.Join(t.TempDir(), "tasks.db")
	open(t, path, nil)
	db := look(t, path)
	for pragma, want := range map[string]string{"journal_mode": "wal", "auto_vacuum": "2", "user_version": "1", "application_id": fmt.Sprint(0x7461736b)} {
		var got string
		require.NoError(t, db.QueryRow("PRAGMA "+pragma).Scan(&got))
		assert.Equal(t, want, got, pragma)
	}
	var loose int
	require.NoError(t, db.QueryRow("SELECT count(*) FROM pragma_table_list WHERE schema = 'main' AND name NOT LIKE 'sqlite_%' AND NOT strict").Scan(&loose))
	assert.Zero(t, loose, "tables that are not STRICT")
}

// Any number of openers at once make one file, with its settings.
func TestOpenersMeet(t *testing.T) {
	for range 10 {
		path := filepath.Join(t.TempDir(), "tasks.db")
		var all sync.WaitGroup
		for i := range 8 {
			all.Go(func() {
				b, err := sqlitestore.Open(t.Context(), path, nil)
				if !assert.NoError(t, err) {
					return
				}
				_, err = b.Put(t.Context(), taskstore.Key{Owner: "o", Task: fmt.Sprint(i)}, taskstore.Value{})
				assert.NoError(t, err)
				assert.NoError(t, b.Close())
			})
		}
		all.Wait()
		records, err := open(t, path, nil).ListByPrefix(t.Context(), taskstore.Key{Owner: "o"})
		require.NoError(t, err)
		assert.Len(t, records, 8)
		var vacuum int
		require.NoError(t, look(t, path).QueryRow("PRAGMA auto_vacuum").Scan(&vacuum))
		assert.Equal(t, 2, vacuum)
	}
}

func TestOpenByURL(t *testing.T) {
	t.Chdir(t.TempDir())
	path, err := filepath.Abs("tasks.db")
	require.NoError(t, err)
	require.NoError(t, open(t, path, nil).Close())
	urls := []string{"sqlite:tasks.db", "SQLite:" + path}
	if filepath.Separator == '/' {
		urls = append(urls, "sqlite://"+path)
	}
	for _, url := range urls {
		b, err := taskstore.Open(t.Context(), url)
		require.NoError(t, err, url)
		_, err = b.Put(t.Context(), aKey, taskstore.Value{})
		require.NoError(t, err)
		require.NoError(t, b.(*sqlitestore.Backend).Close())
	}
	r, err := open(t, path, nil).Get(t.Context(), aKey)
	require.NoError(t, err)
	assert.Equal(t, taskstore.Version(len(urls)), r.Version)
}

func TestOpenRefusesOtherPaths(t *testing.T) {
	for path, want := range map[string]string{
		"":                                   "taskstore.MemoryBackend",
		":memory:":                           "taskstore.MemoryBackend",
		"file::memory:?cache=sh":             "taskstore.MemoryBackend",
		"file:tasks.db":                      "give a path",
		"a\x00b":                             "zero byte",
		"tasks" + string(filepath.Separator): "it ends with a separator",
	} {
		_, err := sqlitestore.Open(t.Context(), path, nil)
		require.ErrorIs(t, err, taskstore.ErrInvalidArgument, path)
		assert.ErrorContains(t, err, want)
	}
	for url, want := range map[string]string{"sqlite:": "empty", "sqlite://host/path": "names a host", "sqlite:tasks.db?mode=ro": "options", "sqlite::memory:": "MemoryBackend"} {
		b, err := taskstore.Open(t.Context(), url)
		require.ErrorIs(t, err, taskstore.ErrInvalidArgument, url)
		assert.ErrorContains(t, err, want)
		assert.True(t, b == nil)
	}
}

// Open refuses a file that is no store of ours, and leaves the file and its directory as they
// were.
func TestOpenRefusesOtherFiles(t *testing.T) {
	foreign := func(t *testing.T, path string) {
		db, err := sql.Open("sqlite", path)
		require.NoError(t, err)
		_, err = db.Exec("CREATE TABLE s3cr3t (x); INSERT INTO s3cr3t VALUES ('s3cr3t')")
		require.NoError(t, err)
		require.NoError(t, db.Close())
	}
	content := func(text string) func(t *testing.T, path string) {
		return func(t *testing.T, path string) { require.NoError(t, os.WriteFile(path, []byte(text), 0o600)) }
	}
	for name, c := range map[string]struct {
		make func(t *testing.T, path string)
		want string
	}{
		"a short text":            {content("s3cr3t"), "it is not an SQLite database"},
		"a long text":             {content(strings.Repeat("s3cr3t\n", 10_000)), "it is not an SQLite database"},
		"another's database":      {foreign, "it is another program's database"},
		"a link to a device":      {func(t *testing.T, path string) { require.NoError(t, os.Symlink(os.DevNull, path)) }, "it is not a regular file"},
		"a link without a target": {func(t *testing.T, path string) { require.NoError(t, os.Symlink("s3cr3t", path)) }, "it is a link without a target"},
		"a directory":             {func(t *testing.T, path string) { require.NoError(t, os.Mkdir(path, 0o700)) }, "it is a directory"},
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			path := filepath.Join(dir, "tasks.db")
			c.make(t, path)
			before, _ := os.ReadFile(path)
			_, err := sqlitestore.Open(t.Context(), path, nil)
			var refused *taskstore.ConnectError
			require.ErrorAs(t, err, &refused)
			assert.Equal(t, "SQLite", refused.Store)
			assert.Equal(t, path, refused.Addr)
			assert.Contains(t, refused.Reason, c.want)
			assert.NotContains(t, err.Error(), "s3cr3t")
			after, _ := os.ReadFile(path)
			assert.Equal(t, before, after)
			entries, err := os.ReadDir(dir)
			require.NoError(t, err)
			assert.Len(t, entries, 1)
		})
	}
	t.Run("a file in the place of its directory", func(t *testing.T) {
		file := filepath.Join(t.TempDir(), "file")
		require.NoError(t, os.WriteFile(file, nil, 0o600))
		_, err := sqlitestore.Open(t.Context(), filepath.Join(file, "tasks.db"), nil)
		var refused *taskstore.ConnectError
		require.ErrorAs(t, err, &refused)
	})
}

// lockFile has another connection hold the lock of the file, and returns how to let go.
func lockFile(t *testing.T, path string) (unlock func()) {
	db := look(t, path)
	_, err := db.Exec("BEGIN IMMEDIATE")
	require.NoError(t, err)
	return func() {
		_, err := db.Exec("ROLLBACK")
		require.NoError(t, err)
	}
}

// While another program holds the lock reads go on, and writes wait as long as ctx lets
// them; those that it ends are not made.
func TestALockThatAnotherProgramHolds(t *testing.T) {
	path := filepath.Join(t.TempDir(), "tasks.db")
	b := open(t, path, nil)
	_, err := b.Put(t.Context(), aKey, taskstore.Value{})
	require.NoError(t, err)
	unlock := lockFile(t, path)

	ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
	defer cancel()
	_, err = b.Put(ctx, aKey, taskstore.Value{})
	require.ErrorIs(t, err, context.DeadlineExceeded)
	require.NotErrorIs(t, err, taskstore.ErrOutcomeUnknown)
	var failed *sqlitestore.FileError
	require.ErrorAs(t, err, &failed)
	assert.Contains(t, err.Error(), "another program holds the lock")

	ctx, cancel = context.WithTimeout(t.Context(), 100*time.Millisecond)
	defer cancel()
	_, err = sqlitestore.Open(ctx, path, nil)
	var refused *taskstore.ConnectError
	require.ErrorAs(t, err, &refused)
	require.ErrorIs(t, err, context.DeadlineExceeded)
	assert.Contains(t, err.Error(), "another program holds its lock")

	r, err := b.Get(t.Context(), aKey)
	require.NoError(t, err)
	assert.Equal(t, taskstore.Version(1), r.Version)
	time.AfterFunc(50*time.Millisecond, unlock)
	version, err := b.Put(t.Context(), aKey, taskstore.Value{})
	require.NoError(t, err)
	assert.Equal(t, taskstore.Version(2), version)
}

// A backend that waits for another program's lock can be closed.
func TestCloseDoesNotWaitForALock(t *testing.T) {
	path := filepath.Join(t.TempDir(), "tasks.db")
	b := open(t, path, nil)
	unlock := lockFile(t, path)
	defer unlock()
	failed := make(chan error, 1)
	go func() {
		_, err := b.Put(context.Background(), aKey, taskstore.Value{})
		failed <- err
	}()
	time.Sleep(20 * time.Millisecond) // so that it waits, mostly
	require.NoError(t, b.Close())
	require.ErrorIs(t, <-failed, taskstore.ErrClosed)
}

// Writes to a file that was removed would be gone with the process.
func TestAFileThatWasRemovedTakesNoWrites(t *testing.T) {
	path := filepath.Join(t.TempDir(), "tasks.db")
	b := open(t, path, nil)
	if err := os.Rename(path, path+"-away"); err != nil {
		t.Skip("a file in use cannot be moved here: ", err)
	}
	require.NoError(t, os.WriteFile(path, nil, 0o600))
	_, err := b.Put(t.Context(), aKey, taskstore.Value{})
	var failed *sqlitestore.FileError
	require.ErrorAs(t, err, &failed)
	require.ErrorAs(t, b.Ping(t.Context()), &failed)
	_, err = b.Check(t.Context())
	require.ErrorAs(t, err, &failed)
}

func TestThePathIsNotPrinted(t *testing.T) {
	b := open(t, filepath.Join(t.TempDir(), "s3cr3t.db"), nil)
	for _, format := range []string{"%v", "%+v", "%#v", "%s"} {
		assert.NotContains(t, fmt.Sprintf(format, b), "s3cr3t")
	}
}

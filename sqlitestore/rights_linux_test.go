package sqlitestore_test

import (
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"syscall"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"github.com/taskstore/taskstore"
	"github.com/taskstore/taskstore/sqlitestore"
)

// openAsNobody opens without the rights that root has over all files.
func openAsNobody(t *testing.T, path string) (err error) {
	t.Helper()
	done := make(chan struct{})
	go func() {
		defer close(done)
		if os.Geteuid() == 0 {
			runtime.LockOSThread() // without unlocking: the thread ends with this goroutine
			if err = unix.Setfsuid(65534); err != nil {
				return
			}
		}
		var b *sqlitestore.Backend
		if b, err = sqlitestore.Open(t.Context(), path, nil); err == nil {
			_ = b.Close()
		}
	}()
	<-done
	return err
}

// A file or a directory that may not be written is refused, not opened for reading.
func TestOpenRefusesReadOnlyFiles(t *testing.T) {
	for name, modes := range map[string]struct{ dir, file os.FileMode }{
		"a directory without the file": {0o555, 0},
		"a directory with the file":    {0o555, 0o666},
		"a file":                       {0o777, 0o444},
		"a secret file":                {0o777, 0o200},
	} {
		t.Run(name, func(t *testing.T) {
			base := t.TempDir()
			dir := filepath.Join(base, "dir")
			path := filepath.Join(dir, "tasks.db")
			if modes.file != 0 {
				require.NoError(t, open(t, path, nil).Close())
				for _, suffix := range []string{"-queue", "-turn"} {
					require.NoError(t, os.Remove(path+suffix))
				}
				require.NoError(t, os.Chmod(path, modes.file))
			} else {
				require.NoError(t, os.Mkdir(dir, 0o700))
			}
			before, _ := os.ReadFile(path)
			for up := base; up != os.TempDir() && up != "/"; up = filepath.Dir(up) {
				require.NoError(t, os.Chmod(up, 0o755))
			}
			require.NoError(t, os.Chmod(dir, modes.dir))
			var refused *taskstore.ConnectError
			require.ErrorAs(t, openAsNobody(t, path), &refused)
			assert.Contains(t, refused.Error(), "rights")
			require.NoError(t, os.Chmod(dir, 0o700))
			if os.Geteuid() == 0 {
				after, _ := os.ReadFile(path)
				assert.Equal(t, before, after)
			}
		})
	}
}

// On a full disk only the write that does not fit is refused, without effect. With space
// again everything goes on.
func TestAFullDisk(t *testing.T) {
	dir := t.TempDir()
	if err := syscall.Mount("tmpfs", dir, "tmpfs", 0, "size=2m"); err != nil {
		t.Skip("a small file system cannot be mounted here: ", err)
	}
	t.Cleanup(func() { assert.NoError(t, syscall.Unmount(dir, 0)) })
	path := filepath.Join(dir, "tasks.db")
	b := open(t, path, nil)
	kept := 0
	var err error
	for ; err == nil; kept++ {
		_, err = b.PutIfVersion(t.Context(), taskstore.Key{Owner: aKey.Owner, Task: fmt.Sprint(kept)}, taskstore.Value{Data: make([]byte, 50_000)}, 0)
	}
	kept--
	var full *sqlitestore.FileError
	require.ErrorAs(t, err, &full)
	assert.Contains(t, err.Error(), "no space left")
	assert.NotContains(t, err.Error(), "s3cr3t")
	require.NotErrorIs(t, err, taskstore.ErrOutcomeUnknown)
	require.NotErrorIs(t, err, taskstore.ErrCapacityExceeded)
	findings, err := b.Check(t.Context())
	assert.Contains(t, fmt.Sprint(findings), "MB are free on its disk", err)

	records, err := b.ListByPrefix(t.Context(), taskstore.Key{Owner: aKey.Owner})
	require.NoError(t, err)
	assert.Len(t, records, kept)
	require.NoError(t, syscall.Mount("tmpfs", dir, "tmpfs", syscall.MS_REMOUNT, "size=20m"))
	_, err = b.PutIfVersion(t.Context(), taskstore.Key{Owner: aKey.Owner, Task: fmt.Sprint(kept)}, taskstore.Value{Data: make([]byte, 50_000)}, 0)
	require.NoError(t, err)
	require.NoError(t, b.Close())
	records, err = open(t, path, nil).ListByPrefix(t.Context(), taskstore.Key{Owner: aKey.Owner})
	require.NoError(t, err)
	assert.Len(t, records, kept+1)
}

//go:build integration && linux

package pgstore

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/taskstore/taskstore"
	"github.com/taskstore/taskstore/internal/pgtest"
	"github.com/taskstore/taskstore/internal/testproc"
)

// With a full disk the server refuses the write that does not fit, at once, with a reason and
// without effect. With space again everything goes on.
func TestAFullDisk(t *testing.T) {
	dir := t.TempDir()
	if err := syscall.Mount("tmpfs", dir, "tmpfs", 0, "size=3m"); err != nil {
		t.Skip("a small file system cannot be mounted here: ", err)
	}
	t.Cleanup(func() { assert.NoError(t, syscall.Unmount(dir, 0)) })
	user, err := testproc.Unprivileged()
	require.NoError(t, err)
	require.NoError(t, user.Own(dir))
	for up := dir; up != os.TempDir() && up != "/"; up = filepath.Dir(up) {
		require.NoError(t, os.Chmod(up, 0o755))
	}
	s := pgtest.Start(t)
	root := admin(t, s.URL())
	schema := newSchema(t, s.URL())
	exec(t, root, "", "CREATE TABLESPACE small LOCATION '"+dir+"'")
	exec(t, root, schema, "ALTER TABLE $S.record SET TABLESPACE small; ALTER TABLE $S.record ALTER data SET STORAGE EXTERNAL")
	b := open(t, s.URL(), Options{Schema: schema})
	secret := taskstore.Key{Owner: "s3cret-owner"}
	v := taskstore.Value{Data: []byte(strings.Repeat("s3cret", 10_000))}
	write := func(i int) error {
		k := secret
		k.Task = fmt.Sprint("s3cret-", i)
		_, err := b.PutIfVersion(ctx, k, v, 0)
		return err
	}
	kept := 0
	for ; err == nil; kept++ {
		err = write(kept)
	}
	kept--
	require.ErrorIs(t, err, taskstore.ErrCapacityExceeded)
	require.NotErrorIs(t, err, taskstore.ErrOutcomeUnknown)
	assert.Contains(t, err.Error(), "disk is full")
	assert.NotContains(t, err.Error(), "s3cret")
	records, err := b.ListByPrefix(ctx, secret)
	require.NoError(t, err)
	assert.Len(t, records, kept)
	require.NoError(t, syscall.Mount("tmpfs", dir, "tmpfs", syscall.MS_REMOUNT, "size=30m"))
	require.NoError(t, write(kept))
	countsAreRight(t, root, schema)
}

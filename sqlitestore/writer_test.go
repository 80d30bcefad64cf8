package sqlitestore

import (
	"context"
	"database/sql"
	"fmt"
	"path/filepath"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/taskstore/taskstore"
)

func newFile(t *testing.T) *Backend { return openFile(t, filepath.Join(t.TempDir(), "tasks.db")) }

// together has the calls wait for the lock until all do, and returns their errors.
func together(t *testing.T, b *Backend, calls ...func() error) []error {
	t.Helper()
	db, err := sql.Open("sqlite", b.file.path)
	require.NoError(t, err)
	db.SetMaxOpenConns(1)
	defer db.Close()
	_, err = db.Exec("BEGIN IMMEDIATE")
	require.NoError(t, err)
	errs := make([]error, len(calls))
	var all sync.WaitGroup
	for i, call := range calls {
		all.Go(func() { errs[i] = call() })
	}
	require.Eventually(t, func() bool {
		b.w.mu.Lock()
		defer b.w.mu.Unlock()
		return len(b.w.pending) == len(calls)
	}, 10*time.Second, time.Millisecond)
	_, err = db.Exec("ROLLBACK")
	require.NoError(t, err)
	all.Wait()
	return errs
}

func task(i int) taskstore.Key { return taskstore.Key{Owner: "owner", Task: fmt.Sprint(i)} }

// Writes that wait at the same time share a transaction, and each has its own answer.
func TestWaitingWritesShareATransaction(t *testing.T) {
	b := newFile(t)
	var commits atomic.Int32
	wrote := b.w.wrote
	b.w.wrote = func() { commits.Add(1); wrote() }
	var calls []func() error
	for i := range 20 {
		calls = append(calls, func() error {
			_, err := b.PutIfVersion(t.Context(), task(i), taskstore.Value{}, taskstore.Version(i%2))
			return err
		})
	}
	for i, err := range together(t, b, calls...) {
		if i%2 == 0 {
			assert.NoError(t, err)
		} else {
			assert.ErrorIs(t, err, taskstore.ErrNotFound)
		}
	}
	assert.EqualValues(t, 1, commits.Load())
}

// A write that does not fit is refused; those of its transaction are made without it.
func TestAFullFileRefusesTheWriteThatDoesNotFit(t *testing.T) {
	b := newFile(t)
	_, err := b.w.conn.ExecContext(t.Context(), "PRAGMA max_page_count = 100")
	require.NoError(t, err)
	var calls []func() error
	for i := range 5 {
		data := make([]byte, 10)
		if i == 2 {
			data = make([]byte, 1<<20)
		}
		calls = append(calls, func() error {
			return b.PutBatch(t.Context(), []taskstore.Write{{Key: task(i)}, {Key: task(i + 10), Value: taskstore.Value{Data: data}}})
		})
	}
	for i, err := range together(t, b, calls...) {
		if i != 2 {
			assert.NoError(t, err)
			continue
		}
		var full *FileError
		require.ErrorAs(t, err, &full)
		assert.Contains(t, err.Error(), "no space left")
	}
	records, err := b.ListByPrefix(t.Context(), taskstore.Key{Owner: "owner"})
	require.NoError(t, err)
	assert.Len(t, records, 8)
}

// A ctx that ends while the transaction is under way leaves the outcome unknown.
func TestACtxThatEndsDuringTheTransaction(t *testing.T) {
	b := newFile(t)
	ctx, cancel := context.WithCancel(t.Context())
	returned := make(chan struct{})
	err := b.w.submit(ctx, 0, func(tx *tx) error {
		cancel()
		<-returned
		return nil
	})
	close(returned)
	require.ErrorIs(t, err, context.Canceled)
	require.ErrorIs(t, err, taskstore.ErrOutcomeUnknown)

}

// Each commit is synced, unless the caller has asked for less.
func TestCommitsAreSyncedByDefault(t *testing.T) {
	for normal, want := range map[bool]int{false: 2, true: 1} {
		b, err := Open(t.Context(), filepath.Join(t.TempDir(), "tasks.db"), &Options{SynchronousNormal: normal})
		require.NoError(t, err)
		defer b.Close()
		for _, q := range []query{b.w.conn, b.read, b.feed.db} { // each may write a checkpoint when it closes
			var level int
			require.NoError(t, q.QueryRowContext(t.Context(), "PRAGMA synchronous").Scan(&level))
			assert.Equal(t, want, level)
		}
	}
}

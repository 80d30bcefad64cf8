package sqlitestore

import (
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/taskstore/taskstore"
)

func (b *Backend) count(t *testing.T, what string) (n int) {
	t.Helper()
	require.NoError(t, b.read.QueryRowContext(t.Context(), what).Scan(&n))
	return n
}

// expired makes n records that have expired, of 3,000 bytes.
func expired(t *testing.T, b *Backend, n int) {
	t.Helper()
	for _, statement := range []string{
		`INSERT INTO scope VALUES (1, CAST('owner' AS BLOB), x'', ?1)`,
		`WITH RECURSIVE i(x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM i WHERE x < ?1)
			INSERT INTO record SELECT -x, 1, CAST(x AS BLOB), 1, 1, zeroblob(3000) FROM i`,
	} {
		_, err := b.w.conn.ExecContext(t.Context(), statement, n)
		require.NoError(t, err)
	}
}

// Writes reclaim expired records of anybody, some at a time, and leave no collection
// without records.
func TestWritesReclaim(t *testing.T) {
	b := newFile(t)
	expired(t, b, 10*reclaimPerWrite)
	for i := range 10 {
		_, err := b.Put(t.Context(), taskstore.Key{Owner: "other", Task: "t"}, taskstore.Value{})
		require.NoError(t, err)
		assert.Equal(t, (9-i)*reclaimPerWrite, b.count(t, "SELECT count(*) FROM record WHERE expires > 0"))
	}
	assert.Equal(t, 1, b.count(t, "SELECT count(*) FROM record"))
	assert.Equal(t, 1, b.count(t, "SELECT count(*) FROM scope"))
}

// Expired records of a collection make room in it at once, however many there are.
func TestExpiredRecordsMakeRoom(t *testing.T) {
	b := newFile(t)
	expired(t, b, 100)
	ctx := taskstore.WithRecordLimit(t.Context(), 100)
	require.NoError(t, b.PutBatch(ctx, []taskstore.Write{{Key: aKey}, {Key: taskstore.Key{Owner: aKey.Owner, Task: "another"}}}))
	_, err := b.PutIfVersion(taskstore.WithRecordLimit(t.Context(), 2), taskstore.Key{Owner: aKey.Owner, Task: "third"}, taskstore.Value{}, 0)
	require.ErrorIs(t, err, taskstore.ErrCapacityExceeded)
}

// CleanupExpired returns the number of records that it removed, and the file becomes shorter.
func TestCleanupGivesSpaceBack(t *testing.T) {
	b := newFile(t)
	expired(t, b, 1500)
	pages := b.count(t, "PRAGMA page_count")
	removed, err := b.CleanupExpired(t.Context())
	require.NoError(t, err)
	assert.Equal(t, 1500, removed)
	assert.Zero(t, b.count(t, "SELECT count(*) FROM record"))
	assert.Zero(t, b.count(t, "PRAGMA freelist_count"))
	assert.Less(t, b.count(t, "PRAGMA page_count"), pages/4)
}

// After deletes the file shrinks with the writes that follow, without a cleanup.
func TestWritesGiveSpaceBack(t *testing.T) {
	b := newFile(t)
	key := task(1)
	_, err := b.Put(t.Context(), key, taskstore.Value{Data: make([]byte, 4<<20)})
	require.NoError(t, err)
	pages := b.count(t, "PRAGMA page_count")
	for range 40 {
		_, err = b.Put(t.Context(), key, taskstore.Value{})
		require.NoError(t, err)
		_, err = b.Delete(t.Context(), key)
		require.NoError(t, err)
	}
	assert.LessOrEqual(t, b.count(t, "PRAGMA page_count"), pages/2)
	assert.LessOrEqual(t, b.count(t, "PRAGMA freelist_count"), sparePages)
}

// The list of changes stays short behind any number of writes.
func TestChangesAreTrimmed(t *testing.T) {
	b := newFile(t)
	_, err := b.w.conn.ExecContext(t.Context(), `WITH RECURSIVE i(x) AS (SELECT 2 UNION ALL SELECT x + 1 FROM i WHERE x < 10000)
		INSERT INTO change SELECT x, x'00', x'', x'00', 1 FROM i`)
	require.NoError(t, err)
	for range 2 * trimEvery {
		_, err := b.Put(t.Context(), aKey, taskstore.Value{})
		require.NoError(t, err)
	}
	assert.Less(t, b.count(t, "SELECT count(*) FROM change"), keptChanges+trimEvery)
}

package taskstore_test

import (
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/taskstore/taskstore"
)

// A backend of others walks with cursors that keep the contract of a Pager.
func TestCursorsAreOfOneKindAndPrefix(t *testing.T) {
	prefix := taskstore.Key{Owner: "s3cr3t", Collection: "c", Task: "a"}
	for _, position := range []uint64{1, 7, 1 << 53} {
		got, err := taskstore.DecodeCursor('X', prefix, taskstore.EncodeCursor('X', prefix, position))
		require.NoError(t, err)
		assert.Equal(t, position, got)
	}
	start, err := taskstore.DecodeCursor('X', prefix, "")
	require.NoError(t, err)
	assert.Zero(t, start)
	good := taskstore.EncodeCursor('X', prefix, 7)
	assert.NotContains(t, good, "s3cr3t")
	other := prefix
	other.Collection = "d"
	for name, c := range map[string]struct {
		kind   byte
		prefix taskstore.Key
		text   string
	}{
		"another kind":   {'Y', prefix, good},
		"another prefix": {'X', other, good},
		"cut":            {'X', prefix, good[:len(good)-1]},
		"rubbish":        {'X', prefix, "rubbish"},
		"position 0":     {'X', prefix, taskstore.EncodeCursor('X', prefix, 0)},
		"too far":        {'X', prefix, taskstore.EncodeCursor('X', prefix, 1<<53+1)},
	} {
		_, err := taskstore.DecodeCursor(c.kind, c.prefix, c.text)
		assert.ErrorIs(t, err, taskstore.ErrInvalidCursor, name)
	}
}

func TestAChangeIsOfATaskOrOfAll(t *testing.T) {
	prefix := taskstore.Key{Owner: "o", Collection: "c", Task: "a"}
	assert.Equal(t, taskstore.Change{Key: prefix, Resync: true}, taskstore.ChangeOf(prefix, "", 0))
	assert.Equal(t, taskstore.Change{Key: taskstore.Key{Owner: "o", Collection: "c", Task: "ab"}, Version: 3}, taskstore.ChangeOf(prefix, "ab", 3))
	assert.Equal(t, taskstore.Change{Key: taskstore.Key{Owner: "o", Collection: "c", Task: "ab"}}, taskstore.ChangeOf(prefix, "ab", 0))
}

package taskstore

import (
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func TestCursorReadsBack(t *testing.T) {
	prefix := Key{Owner: "o", Task: "t"}
	for _, position := range []uint64{1, 1 << 52, maxPosition} {
		got, err := decodeCursor(redisCursor, prefix, encodeCursor(redisCursor, prefix, position))
		require.NoError(t, err)
		assert.Equal(t, position, got)
	}
}

func TestCursorOfAnotherKindOrPrefixIsRefused(t *testing.T) {
	cursor := encodeCursor(redisCursor, Key{Owner: "ab", Task: "c"}, 7)
	for _, prefix := range []Key{{Owner: "a", Task: "bc"}, {Owner: "ab"}, {Owner: "abc"}} {
		_, err := decodeCursor(redisCursor, prefix, cursor)
		assert.ErrorIs(t, err, ErrInvalidCursor)
	}
	for _, position := range []uint64{0, maxPosition + 1, 1<<64 - 1} {
		_, err := decodeCursor(redisCursor, Key{Owner: "o"}, encodeCursor(redisCursor, Key{Owner: "o"}, position))
		assert.ErrorIs(t, err, ErrInvalidCursor)
	}
	_, err := decodeCursor(memoryCursor, Key{Owner: "ab", Task: "c"}, cursor)
	assert.ErrorIs(t, err, ErrInvalidCursor)
}

func FuzzCursor(f *testing.F) {
	f.Add(encodeCursor(redisCursor, Key{Owner: "o"}, 7))
	f.Add("x")
	f.Fuzz(func(t *testing.T, cursor string) {
		position, err := decodeCursor(redisCursor, Key{Owner: "o"}, cursor)
		if err == nil && cursor != "" && encodeCursor(redisCursor, Key{Owner: "o"}, position) != cursor {
			t.Fatalf("%q is accepted as another spelling of position %d", cursor, position)
		}
	})
}

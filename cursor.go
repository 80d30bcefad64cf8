package taskstore

import (
	"fmt"

	"github.com/taskstore/taskstore/internal/cursor"
)

// The kinds of cursor, one for each meaning of a position.
const (
	memoryCursor byte = 'm' // a sequence number
	redisCursor  byte = 'r' // a score, microseconds
)

// EncodeCursor returns the cursor behind position in a list of prefix, for implementations of
// [Pager]. A position is where a record is in the order of creation, from 1 to 2^53. kind is
// a letter for what positions of a backend mean: a cursor of another kind is refused. Lower
// case letters are for the backends of this project. The cursor holds no part of prefix.
func EncodeCursor(kind byte, prefix Key, position uint64) string {
	return cursor.Encode(kind, cursor.Prefix(prefix), position)
}

// DecodeCursor returns the position of a cursor that [EncodeCursor] made of the same kind and
// prefix, and 0 for the empty cursor, with which a walk starts. Any other gives an error that
// matches [ErrInvalidCursor].
func DecodeCursor(kind byte, prefix Key, text string) (position uint64, err error) {
	position, err = cursor.Decode(kind, cursor.Prefix(prefix), text)
	if err != nil {
		return 0, fmt.Errorf("%w: %w", ErrInvalidCursor, err)
	}
	return position, nil
}

package taskstore

import (
	"fmt"

	"github.com/taskstore/taskstore/internal/cursor"
	"github.com/taskstore/taskstore/internal/hub"
)

// scopeOf is the collection of key.
func scopeOf(key Key) hub.Scope { return hub.Scope{Owner: key.Owner, Collection: key.Collection} }

// changes returns a function that passes hints to yield as the changes of a watch on prefix.
func changes(prefix Key, yield func(Change, error) bool) func(hub.Hint, error) bool {
	return func(h hub.Hint, err error) bool {
		switch {
		case err != nil:
			return yield(Change{}, err)
		case h.Resync:
			return yield(Change{Key: prefix, Resync: true}, nil)
		}
		key := prefix
		key.Task = h.Task
		return yield(Change{Key: key, Version: Version(h.Version)}, nil)
	}
}

// The kinds of cursor, one for each meaning of a position.
const (
	memoryCursor byte = 'm' // a sequence number
	redisCursor  byte = 'r' // a score, microseconds
)

func encodeCursor(kind byte, prefix Key, position uint64) string {
	return cursor.Encode(kind, cursor.Prefix(prefix), position)
}

func decodeCursor(kind byte, prefix Key, text string) (position uint64, err error) {
	position, err = cursor.Decode(kind, cursor.Prefix(prefix), text)
	if err != nil {
		return 0, fmt.Errorf("%w: %w", ErrInvalidCursor, err)
	}
	return position, nil
}

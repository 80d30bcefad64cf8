package taskstore

import (
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"fmt"
)

// A cursor is where a walk stands: the position, in the order of creation, of
// the last record that was looked at. Its text binds it to the kind of backend
// that made it and to the prefix, so that one used elsewhere is refused rather
// than understood wrongly. It is not signed: it opens nothing that its owner
// could not list anyway.
//
//	kind (1 byte) | position (8 bytes) | digest of the prefix (8 bytes)
const cursorLength = 1 + 8 + 8

// maxPosition is more than any position will be, and a number that a sorted
// set's score holds exactly.
const maxPosition = 1 << 53

// The kinds of cursor, one for each meaning of a position.
const (
	memoryCursor byte = 'm' // a sequence number
	redisCursor  byte = 'r' // a score, microseconds
)

func encodeCursor(kind byte, prefix Key, position uint64) string {
	b := make([]byte, 0, cursorLength)
	b = append(b, kind)
	b = binary.BigEndian.AppendUint64(b, position)
	b = append(b, prefixDigest(prefix)...)
	return base64.RawURLEncoding.EncodeToString(b)
}

// decodeCursor returns the position of cursor, 0 for the empty one.
func decodeCursor(kind byte, prefix Key, cursor string) (position uint64, err error) {
	if cursor == "" {
		return 0, nil
	}
	b, err := base64.RawURLEncoding.DecodeString(cursor)
	if err != nil || len(b) != cursorLength || b[0] != kind ||
		base64.RawURLEncoding.EncodeToString(b) != cursor { // the decoder skips line ends
		return 0, fmt.Errorf("%w: it is not one that this backend returned", ErrInvalidCursor)
	}
	if string(b[9:]) != string(prefixDigest(prefix)) {
		return 0, fmt.Errorf("%w: it belongs to another prefix", ErrInvalidCursor)
	}
	position = binary.BigEndian.Uint64(b[1:])
	if position == 0 || position > maxPosition {
		return 0, fmt.Errorf("%w: its position is out of range", ErrInvalidCursor)
	}
	return position, nil
}

func prefixDigest(prefix Key) []byte {
	b := make([]byte, 0, 128)
	b = binary.BigEndian.AppendUint32(b, uint32(len(prefix.Owner)))
	b = append(b, prefix.Owner...)
	b = append(b, prefix.Task...)
	sum := sha256.Sum256(b)
	return sum[:8]
}

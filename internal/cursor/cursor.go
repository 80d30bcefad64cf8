// Package cursor encodes a position in a list as text: the next that ListPage returns.
package cursor

import (
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"errors"
)

// A Prefix selects the records of a list.
type Prefix struct{ Owner, Collection, Task string }

// A cursor holds the position, in the order of creation, of the last record that a walk
// looked at. Its text binds it to the kind of backend that made it and to the prefix, so
// that a backend refuses a foreign cursor instead of misreading it. It is not signed,
// because it gives access only to records that its owner can list anyway.
//
//	kind (1 byte) | position (8 bytes) | digest of the prefix (8 bytes)
const length = 1 + 8 + 8

// MaxPosition is above every position, and a number that a sorted set's score holds
// exactly.
const MaxPosition = 1 << 53

// The reasons for refusing a cursor.
var (
	errForeign = errors.New("this backend did not return it")
	errPrefix  = errors.New("it belongs to another prefix")
	errRange   = errors.New("its position is out of range")
)

// Encode returns the cursor of a position. kind is a letter for each meaning of positions.
func Encode(kind byte, p Prefix, position uint64) string {
	b := make([]byte, 0, length)
	b = append(b, kind)
	b = binary.BigEndian.AppendUint64(b, position)
	b = append(b, p.digest()...)
	return base64.RawURLEncoding.EncodeToString(b)
}

// Decode returns the position of cursor, 0 for the empty one. The error says why the cursor
// is refused.
func Decode(kind byte, p Prefix, cursor string) (position uint64, err error) {
	if cursor == "" {
		return 0, nil
	}
	b, err := base64.RawURLEncoding.DecodeString(cursor)
	if err != nil || len(b) != length || b[0] != kind ||
		base64.RawURLEncoding.EncodeToString(b) != cursor { // the decoder skips line ends
		return 0, errForeign
	}
	if string(b[9:]) != string(p.digest()) {
		return 0, errPrefix
	}
	position = binary.BigEndian.Uint64(b[1:])
	if position == 0 || position > MaxPosition {
		return 0, errRange
	}
	return position, nil
}

func (p Prefix) digest() []byte {
	b := make([]byte, 0, 128)
	for _, part := range []string{p.Owner, p.Collection} {
		b = binary.BigEndian.AppendUint32(b, uint32(len(part)))
		b = append(b, part...)
	}
	b = append(b, p.Task...)
	sum := sha256.Sum256(b)
	return sum[:8]
}

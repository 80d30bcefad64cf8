// Package cursor is the text of a position in a list: what ListPage returns as next.
package cursor

import (
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"errors"
)

// A Prefix is what is listed.
type Prefix struct{ Owner, Collection, Task string }

// A cursor is where a walk stands: the position, in the order of creation, of
// the last record that was looked at. Its text binds it to the kind of backend
// that made it and to the prefix, so that one used elsewhere is refused rather
// than understood wrongly. It is not signed: it opens nothing that its owner
// could not list anyway.
//
//	kind (1 byte) | position (8 bytes) | digest of the prefix (8 bytes)
const length = 1 + 8 + 8

// MaxPosition is more than any position will be, and a number that a sorted
// set's score holds exactly.
const MaxPosition = 1 << 53

// Reasons for which a cursor is refused.
var (
	errForeign = errors.New("it is not one that this backend returned")
	errPrefix  = errors.New("it belongs to another prefix")
	errRange   = errors.New("its position is out of range")
)

// Encode returns the cursor of a position, which is of that kind: a letter for
// each meaning of positions.
func Encode(kind byte, p Prefix, position uint64) string {
	b := make([]byte, 0, length)
	b = append(b, kind)
	b = binary.BigEndian.AppendUint64(b, position)
	b = append(b, p.digest()...)
	return base64.RawURLEncoding.EncodeToString(b)
}

// Decode returns the position of cursor, 0 for the empty one. The error is the reason
// for which the cursor is refused.
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

package pgstore

import (
	"encoding/binary"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgtype"
)

// A statement is SQL with the types of its arguments. It is not prepared on the server: it
// only calls a function, and each session caches the plans of the function.
type statement struct {
	text string
	oids []uint32
}

// functions has a statement for each function of the schema.
type functions struct{ put, write, delete, get, list, owners, poll, sweep, clock, channel, notify statement }

const (
	byteaOID  = pgtype.ByteaOID
	byteasOID = pgtype.ByteaArrayOID
	intOID    = pgtype.Int8OID
	intsOID   = pgtype.Int8ArrayOID
	uuidOID   = pgtype.UUIDOID
	uuidsOID  = pgtype.UUIDArrayOID
	boolOID   = pgtype.BoolOID
	textOID   = pgtype.TextOID
)

func newFunctions(schema string) functions {
	s := pgx.Identifier{schema}.Sanitize()
	return functions{
		put: statement{"SELECT * FROM " + s + ".put($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11)",
			[]uint32{byteaOID, byteaOID, byteaOID, byteaOID, intOID, intOID, intOID, uuidOID, byteaOID, intOID, boolOID}},
		write: statement{"SELECT * FROM " + s + ".write($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11)",
			[]uint32{byteaOID, byteasOID, byteasOID, byteasOID, intsOID, intsOID, intsOID, uuidsOID, byteaOID, intOID, boolOID}},
		delete: statement{"SELECT * FROM " + s + ".delete($1, $2, $3, $4, $5, $6)",
			[]uint32{byteaOID, byteaOID, byteaOID, uuidOID, intOID, boolOID}},
		get:     statement{"SELECT * FROM " + s + ".get($1, $2, $3)", []uint32{byteaOID, byteaOID, byteaOID}},
		list:    statement{"SELECT * FROM " + s + ".list($1, $2, $3, $4, $5, $6)", []uint32{byteaOID, byteaOID, byteaOID, intOID, intOID, intOID}},
		owners:  statement{"SELECT * FROM " + s + ".owners($1, $2)", []uint32{byteaOID, pgtype.Int4OID}},
		poll:    statement{"SELECT * FROM " + s + ".poll($1, $2)", []uint32{textOID, uuidsOID}},
		sweep:   statement{"SELECT * FROM " + s + ".sweep($1, $2)", []uint32{pgtype.Int4OID, textOID}},
		clock:   statement{"SELECT " + s + ".now_us()", nil},
		channel: statement{"SELECT 'taskstore_' || $1::regclass::oid", []uint32{textOID}},
		notify:  statement{"SELECT pg_notify('taskstore_' || $1::regclass::oid, '')", []uint32{textOID}},
	}
}

// arguments has the arguments of a statement in the binary format; nil is null.
type arguments [][]byte

// binaryFormat selects the binary format for all arguments and columns.
var binaryFormat = []int16{pgx.BinaryFormatCode}

func encodeInt(n int64) []byte { return binary.BigEndian.AppendUint64(nil, uint64(n)) }

func encodeBool(b bool) []byte {
	if b {
		return []byte{1}
	}
	return []byte{0}
}

// encodeArray encodes an array of elements of the type oid.
func encodeArray(oid uint32, elements [][]byte) []byte {
	size := 20
	for _, e := range elements {
		size += 4 + len(e)
	}
	a := make([]byte, 0, size)
	a = binary.BigEndian.AppendUint32(a, 1) // dimensions
	a = binary.BigEndian.AppendUint32(a, 1) // there may be nulls
	a = binary.BigEndian.AppendUint32(a, oid)
	a = binary.BigEndian.AppendUint32(a, uint32(len(elements)))
	a = binary.BigEndian.AppendUint32(a, 1) // the first index
	for _, e := range elements {
		if e == nil {
			a = binary.BigEndian.AppendUint32(a, ^uint32(0))
			continue
		}
		a = binary.BigEndian.AppendUint32(a, uint32(len(e)))
		a = append(a, e...)
	}
	return a
}

// decodeInt reads an integer of any width.
func decodeInt(b []byte) (n int64) {
	switch len(b) {
	case 4:
		return int64(int32(binary.BigEndian.Uint32(b)))
	case 8:
		return int64(binary.BigEndian.Uint64(b))
	}
	return 0
}

func decodeBool(b []byte) bool { return len(b) == 1 && b[0] == 1 }

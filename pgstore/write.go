package pgstore

import (
	"context"
	"crypto/sha256"
	"encoding/binary"
	"fmt"
	"math/rand/v2"

	"github.com/taskstore/taskstore"
)

// anyVersion and neverVersion are values of p_expected besides versions.
const (
	anyVersion   = -1
	neverVersion = -2 // no record has it
)

// Put implements [taskstore.StorageBackend]. If it is resent after a lost answer, it may be
// applied twice, see [Backend].
func (b *Backend) Put(ctx context.Context, key taskstore.Key, v taskstore.Value) (taskstore.Version, error) {
	return b.put(ctx, "put", key, v, taskstore.AnyVersion, anyVersion)
}

// PutIfVersion implements [taskstore.StorageBackend]. The server recognises it if it is
// resent after a lost answer, see [Backend].
func (b *Backend) PutIfVersion(ctx context.Context, key taskstore.Key, v taskstore.Value, expected taskstore.Version) (taskstore.Version, error) {
	return b.put(ctx, "put if version", key, v, expected, encodeExpected(expected))
}

func encodeExpected(v taskstore.Version) int64 {
	if v > taskstore.MaxVersion {
		return neverVersion
	}
	return int64(v)
}

func (b *Backend) put(ctx context.Context, verb string, key taskstore.Key, v taskstore.Value, expected taskstore.Version, coded int64) (taskstore.Version, error) {
	if err := b.usable(ctx); err != nil {
		return 0, err
	}
	if err := key.Validate(); err != nil {
		return 0, err
	}
	if err := v.Validate(b.opts.MaxDataBytes); err != nil {
		return 0, err
	}
	limit := taskstore.RecordLimit(ctx, b.opts.MaxRecordsPerOwner)
	args := arguments{[]byte(key.Owner), []byte(key.Collection), []byte(key.Task), dataOf(v), expiryOf(v),
		encodeInt(coded), limitOf(limit), watchOf(key), operationID(), nil, encodeBool(b.opts.Notify)}
	a, err := b.send(ctx, b.functions.put, args, 9)
	switch {
	case err != nil:
		return 0, b.failure(verb, err)
	case a.status != statusDone:
		return 0, a.refusal(key, expected, limit)
	}
	return taskstore.Version(a.number), nil
}

// PutBatch implements [taskstore.Batcher].
func (b *Backend) PutBatch(ctx context.Context, writes []taskstore.Write) error {
	if err := b.usable(ctx); err != nil {
		return err
	}
	if err := taskstore.ValidateBatch(writes, b.opts.MaxDataBytes); err != nil {
		return err
	}
	n, bytes := len(writes), 0
	for _, w := range writes {
		bytes += len(w.Data)
	}
	if bytes > maxBatchData {
		return fmt.Errorf("%w: the batch has %d bytes of data, a message to PostgreSQL takes %d", taskstore.ErrCapacityExceeded, bytes, maxBatchData)
	}
	collections, tasks, data, expires := make([][]byte, n), make([][]byte, n), make([][]byte, n), make([][]byte, n)
	expected, limits, watches := make([][]byte, n), make([][]byte, n), make([][]byte, n)
	for i, w := range writes {
		collections[i], tasks[i], data[i], expires[i] = []byte(w.Key.Collection), []byte(w.Key.Task), dataOf(w.Value), expiryOf(w.Value)
		version := encodeExpected(w.Expected)
		if w.Expected == taskstore.AnyVersion {
			version = anyVersion
		}
		expected[i], limits[i], watches[i] = encodeInt(version), limitOf(w.RecordLimit(ctx, b.opts.MaxRecordsPerOwner)), watchOf(w.Key)
	}
	args := arguments{[]byte(writes[0].Key.Owner), encodeArray(byteaOID, collections), encodeArray(byteaOID, tasks), encodeArray(byteaOID, data),
		encodeArray(intOID, expires), encodeArray(intOID, expected), encodeArray(intOID, limits), encodeArray(uuidOID, watches),
		operationID(), nil, encodeBool(b.opts.Notify)}
	a, err := b.send(ctx, b.functions.write, args, 9)
	switch {
	case err != nil:
		return b.failure("put batch", err)
	case a.status != statusDone:
		w := writes[a.index]
		return &taskstore.BatchError{Index: int(a.index), Err: a.refusal(w.Key, w.Expected, w.RecordLimit(ctx, b.opts.MaxRecordsPerOwner))}
	}
	return nil
}

// Delete implements [taskstore.StorageBackend]. If it is resent after a lost answer, it
// mostly cannot tell whether there was a record, see [Backend].
func (b *Backend) Delete(ctx context.Context, key taskstore.Key) (bool, error) {
	if err := b.usable(ctx); err != nil {
		return false, err
	}
	if err := key.Validate(); err != nil {
		return false, err
	}
	args := arguments{[]byte(key.Owner), []byte(key.Collection), []byte(key.Task), watchOf(key), nil, encodeBool(b.opts.Notify)}
	a, err := b.send(ctx, b.functions.delete, args, 4)
	if err != nil {
		return false, b.failure("delete", err)
	}
	return a.number > 0, nil
}

// refusal returns the caller's error for a write that the function refused.
func (a answer) refusal(key taskstore.Key, expected taskstore.Version, limit int) error {
	switch a.status {
	case statusConflict:
		return &taskstore.VersionConflictError{Key: key, Expected: expected, Actual: taskstore.Version(a.number)}
	case statusFull:
		return &taskstore.CapacityError{Limit: taskstore.LimitRecords, Max: uint64(limit), Asked: uint64(a.number) + 1}
	case statusOverflow:
		return &taskstore.CapacityError{Limit: taskstore.LimitVersions, Max: uint64(taskstore.MaxVersion), Asked: uint64(taskstore.MaxVersion) + 1}
	}
	return nil
}

// dataOf returns the data of a value, empty instead of null.
func dataOf(v taskstore.Value) []byte {
	if v.Data == nil {
		return []byte{}
	}
	return v.Data
}

func expiryOf(v taskstore.Value) []byte {
	if v.ExpiresAt.IsZero() {
		return nil
	}
	return encodeInt(v.ExpiresAt.UnixMilli())
}

func limitOf(n int) []byte {
	if n <= 0 {
		return nil
	}
	return encodeInt(int64(n))
}

// operationID returns 8 random bytes that identify a write. They need not be secret.
func operationID() []byte { return binary.NativeEndian.AppendUint64(nil, rand.Uint64()) }

// watchOf returns the digest by which watchers know a collection of an owner.
func watchOf(key taskstore.Key) []byte {
	h := sha256.New()
	_ = binary.Write(h, binary.BigEndian, uint32(len(key.Owner)))
	h.Write([]byte(key.Owner))
	h.Write([]byte(key.Collection))
	return h.Sum(nil)[:16]
}

package taskstore

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"slices"
	"time"
)

// undoTimeout bounds how long PutBatch takes to undo a batch, whose ctx may be done.
const undoTimeout = 5 * time.Second

// PutBatch makes the writes by the [Batcher] of b. Where b has none it reads all records,
// refuses what it finds wrong as a Batcher does, and makes the writes one after the
// other, which promises less:
//
//   - The first write is made last, behind all others in their order. A reader that has
//     seen it sees the others too, or what came later. Before that a reader may see some
//     of the others, also those of a batch that is refused in the end.
//   - A process that ends in between leaves some of the others without the first. So let
//     the first write be the one that gives the others a meaning: a reader ignores a
//     record whose first one is not there, and a retry of the batch, which creates it,
//     writes the others with AnyVersion.
//   - Of two batches that meet in a record both may be refused.
//   - A write that is refused or fails after others have been made has PutBatch undo
//     them, the latest first, for up to 5 seconds, also when ctx is done. A record that
//     the batch created is removed; any other holds again what it held, under a greater
//     version, and as a new record of version 1 where the batch had removed it. A record
//     that another caller has written since stays as that one left it.
//   - Limits are those of the writes as they are made: a create beyond [Write.RecordLimit]
//     is refused by b. The first write makes no room for the others, since it comes last.
//
// An error that matches [ErrOutcomeUnknown] then says that records may be left as the
// batch made them: a write whose own outcome is unknown stays as it is, and so do all
// others where that is the first one; or what was made could not be undone. The cause is
// wrapped too, so look for ErrOutcomeUnknown before any other.
func PutBatch(ctx context.Context, b StorageBackend, writes []Write) error {
	if batcher, ok := As[Batcher](b); ok {
		return batcher.PutBatch(ctx, writes)
	}
	if err := ctx.Err(); err != nil {
		return err
	}
	if err := ValidateBatch(writes, 0); err != nil {
		return err
	}
	steps := make([]batchStep, len(writes))
	for i, w := range writes {
		steps[i] = batchStep{b: b, Write: w}
		if err := steps[i].read(ctx); err != nil {
			return &BatchError{Index: i, Err: err}
		}
	}
	for made := range steps {
		i := (made + 1) % len(steps)
		err := steps[i].make(ctx)
		if err == nil {
			continue
		}
		if i > 0 || !errors.Is(err, ErrOutcomeUnknown) {
			err = undo(ctx, steps[1:1+made], err)
		}
		return &BatchError{Index: i, Err: err}
	}
	return nil
}

// A batchStep is a write of a batch that is made write by write.
type batchStep struct {
	b StorageBackend
	Write
	before Record  // what it replaces; Version 0: no record
	made   Version // what PutIfVersion returned
}

// read keeps what is there, and returns the error of a write that cannot succeed.
func (s *batchStep) read(ctx context.Context) error {
	var err error
	s.before, err = s.b.Get(ctx, s.Key)
	if err != nil && !errors.Is(err, ErrNotFound) {
		return err
	}
	switch actual := s.before.Version; {
	case s.Expected != AnyVersion && s.Expected != actual:
		return &VersionConflictError{Key: s.Key, Expected: s.Expected, Actual: actual}
	case actual == MaxVersion:
		return &CapacityError{Limit: LimitVersions, Max: uint64(MaxVersion), Asked: uint64(MaxVersion) + 1}
	}
	return nil
}

// make makes the write in the place of what was read, so that it can be undone.
func (s *batchStep) make(ctx context.Context) (err error) {
	limited := ctx
	if s.MaxRecords != 0 {
		limited = WithRecordLimit(ctx, s.MaxRecords)
	}
	for {
		s.made, err = s.b.PutIfVersion(limited, s.Key, s.Value, s.before.Version)
		if s.Expected != AnyVersion || !errors.Is(err, ErrVersionConflict) || errors.Is(err, ErrOutcomeUnknown) {
			return err
		}
		// Another caller was faster. AnyVersion takes what that one wrote.
		if err := s.read(ctx); err != nil {
			return err
		}
	}
}

// undo takes back the steps, the latest first, and returns the error of a batch that
// failed for err.
func undo(ctx context.Context, steps []batchStep, err error) error {
	ctx, cancel := context.WithTimeout(WithRecordLimit(context.WithoutCancel(ctx), 0), undoTimeout)
	defer cancel()
	var left error
	for _, s := range slices.Backward(steps) {
		if e := s.undo(ctx); e != nil {
			left = errors.Join(left, e)
		}
	}
	if left == nil {
		return err
	}
	return fmt.Errorf("%w: the batch failed (%w) and could not be undone: %w", ErrOutcomeUnknown, err, left)
}

// undo puts back what was there before, unless another caller has written since.
func (s *batchStep) undo(ctx context.Context) error {
	now, err := s.b.Get(ctx, s.Key)
	gone := errors.Is(err, ErrNotFound)
	if err != nil && !gone {
		return err
	}
	if gone {
		// The batch removed it, or it has expired since; or another caller deleted it.
		if s.before.Version == 0 || s.ExpiresAt.IsZero() {
			return nil
		}
		clock, err := Now(ctx, s.b)
		if err != nil {
			return err
		}
		if clock.Before(s.ExpiresAt) {
			return nil
		}
	} else if now.Version != s.made || !bytes.Equal(now.Data, s.Data) || now.expiryMillis() != s.expiryMillis() {
		return nil
	}
	back := s.before.Value
	if s.before.Version == 0 {
		back = Value{ExpiresAt: time.UnixMilli(1)} // removes it
	}
	_, err = s.b.PutIfVersion(ctx, s.Key, back, now.Version)
	if errors.Is(err, ErrVersionConflict) && !errors.Is(err, ErrOutcomeUnknown) {
		return nil
	}
	return err
}

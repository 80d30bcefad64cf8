package taskstore

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"slices"
	"time"
)

// undoTimeout is the time limit for PutBatch to undo a batch, whose ctx may be done.
const undoTimeout = 5 * time.Second

// PutBatch makes the writes by the [Batcher] of b. If b has no Batcher, it reads all
// records, refuses faulty writes as a Batcher does, and makes the writes one after the
// other, which promises less:
//
//   - The first write is made last, after all others in their order. A reader that has
//     seen it sees the others too, or later states. Before that a reader may see some
//     of the others, even of a batch that is refused in the end.
//   - A process that ends in between leaves some of the others without the first. So let
//     the first write be the one that gives the others a meaning: a reader ignores a
//     record whose first one is absent, and a retry of the batch, which creates it,
//     writes the others with AnyVersion.
//   - If two batches share a record, both may be refused.
//   - If a write is refused or fails after others have been made, PutBatch undoes them,
//     the latest first, for up to 5 seconds, even when ctx is done. It removes a record
//     that the batch created. It restores the content of any other, under a greater
//     version, or as a new record of version 1 if the batch had removed it. It leaves a
//     record that another caller has written since.
//   - Limits apply to the writes as they are made: b refuses a create beyond
//     [Write.RecordLimit]. The first write makes no room for the others, since it comes
//     last.
//
// An error that matches [ErrOutcomeUnknown] then says that records may be left as the
// batch made them: a write whose own outcome is unknown is not undone, and if it is the
// first one, the others are not either; or the undo failed. The error wraps the cause
// too, so check for ErrOutcomeUnknown before any other.
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

// A batchStep is one write of a batch that is made write by write.
type batchStep struct {
	b StorageBackend
	Write
	before Record  // the record that it replaces; Version 0: no record
	made   Version // the result of PutIfVersion
}

// read keeps the present record, and returns the error of a write that cannot succeed.
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

// make makes the write on the record that was read, so that it can be undone.
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
		// Another caller was faster. AnyVersion overwrites that caller's record.
		if err := s.read(ctx); err != nil {
			return err
		}
	}
}

// undo reverts the steps, the latest first, and returns the error of a batch that
// failed with err.
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
	return fmt.Errorf("%w: the batch failed (%w), and its rollback failed: %w", ErrOutcomeUnknown, err, left)
}

// undo restores the earlier record, unless another caller has written since.
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

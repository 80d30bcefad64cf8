package tasks

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"time"

	"github.com/taskstore/taskstore"
)

const (
	keyPrefix = "k/"
	keyFormat = 1
)

// A keyRecord maps an idempotency key to the task that it made. It is written
// before the task, so of all callers one chooses the id, and each of the others
// finds the task or makes it under that id, where again one wins.
//
// No id is used again once there was a task of it: versions begin anew with a
// record, so a stale writer could not be told from the new task's. That is what
// made and until are for. Once either says that there may have been a task, and
// there is none now, the key goes to a fresh id.
type keyRecord struct {
	id      string
	request string // hash of the request
	// made is the CreatedAt of the task. Zero: it is not known that there was one.
	made time.Time
	// until is when a task that one of the callers made, and nobody has marked, would
	// have expired at the earliest. Zero: never, and where made is set.
	until time.Time
}

func (k keyRecord) encode() []byte {
	var w objectWriter
	w.open()
	w.uint("format", keyFormat)
	w.string("id", k.id)
	w.string("request", k.request)
	if !k.made.IsZero() {
		w.int("made_at", k.made.UnixMilli())
	} else if !k.until.IsZero() {
		w.int("until", k.until.UnixMilli())
	}
	w.close()
	return w.buf
}

func decodeKey(data []byte) (k keyRecord, err error) {
	if err := checkFormat(data, keyFormat); err != nil {
		return keyRecord{}, err
	}
	err = splitObject(data, func(name string, value json.RawMessage) (err error) {
		switch name {
		case "format":
		case "id":
			k.id, err = jsonString(value)
		case "request":
			k.request, err = jsonString(value)
		case "made_at":
			k.made, err = decodeTime(value)
		case "until":
			k.until, err = decodeTime(value)
		default:
			err = errUnknownName
		}
		return err
	})
	switch {
	case err != nil:
	case !validID(k.id) || len(k.request) != len(hash("")):
		err = errors.New("no id or no request")
	case !k.made.IsZero() && !k.until.IsZero():
		err = errors.New("made_at and until")
	}
	if err != nil {
		return keyRecord{}, corrupt(err)
	}
	return k, nil
}

// standsFor reports whether k is the key record of r, and not of an earlier task.
func (k keyRecord) standsFor(r *record) bool {
	return k.id == r.ID && (k.made.IsZero() || k.made.Equal(r.CreatedAt))
}

// used reports whether there may have been a task of k's id that is gone at now.
func (k keyRecord) used(now time.Time) bool {
	return !k.made.IsZero() || !k.until.IsZero() && now.After(k.until)
}

func idempotencyKey(r *record) taskstore.Key {
	return taskstore.Key{Owner: userPrefix + r.Owner, Task: keyPrefix + r.key}
}

// keyExpiry returns when r's key record is to expire: not before the task could.
// When the task ends and its expiry is known, endKey brings that down to it.
func (s *Store) keyExpiry(r *record) time.Time {
	if r.ExpiresAt.IsZero() {
		return time.Time{}
	}
	return r.ExpiresAt.Add(s.opts.Retention)
}

// claimKey finds the task of r's idempotency key. Where there is none it gives r
// the id that the key stands for from now on, and returns the key record that it
// wrote to say so. It writes one in any case: with that, whoever claimed the key
// before can no longer take it back.
func (s *Store) claimKey(ctx context.Context, r *record) (existing *record, claim taskstore.Record, err error) {
	mine := keyRecord{id: r.ID, request: hash(string(r.Request)), until: r.ExpiresAt}
	var unknown, conflict error
	lost := 0
	fail := func(err error) (*record, taskstore.Record, error) { return nil, taskstore.Record{}, then(unknown, err) }
	for attempt := range maxAttempts {
		if err := backoff(ctx, max(attempt-1, 0)); err != nil {
			return fail(err)
		}
		r.ID = mine.id
		k, next := mine, taskstore.Record{Key: idempotencyKey(r), Value: taskstore.Value{ExpiresAt: s.keyExpiry(r)}}
		if attempt > 0 { // as a rule there is none
			raw, err := s.backend.Get(ctx, next.Key)
			switch {
			case err == nil && unknown != nil && bytes.Equal(raw.Data, mine.encode()) && raw.ExpiresAt.Equal(next.ExpiresAt):
				return nil, raw, nil // the claim whose answer got lost
			case err == nil:
				var half bool
				if existing, k, half, err = s.meetKey(ctx, r, raw, mine); err != nil {
					return fail(err)
				} else if existing != nil {
					return existing, taskstore.Record{}, nil
				}
				if next.Version = raw.Version; half {
					next.ExpiresAt = later(next.ExpiresAt, raw.ExpiresAt)
				}
				r.ID = k.id
			case !errors.Is(err, taskstore.ErrNotFound):
				return fail(err)
			}
		}
		next.Data = k.encode()
		version, err := s.backend.PutIfVersion(ctx, next.Key, next.Value, next.Version)
		switch {
		case err == nil:
			next.Version = version
			return nil, next, nil
		case errors.Is(err, taskstore.ErrOutcomeUnknown):
			if unknown, lost = err, lost+1; lost == maxUnknown {
				return nil, taskstore.Record{}, err
			}
		case errors.Is(err, taskstore.ErrVersionConflict):
			conflict = err
		default:
			return fail(limited(LimitTasks, err))
		}
	}
	return fail(&ContentionError{Attempts: maxAttempts, Err: conflict})
}

// meetKey returns the task that the key record raw stands for, or the key record
// that is to take its place: mine, or, of a Create that is half done, the same for
// both callers.
func (s *Store) meetKey(ctx context.Context, r *record, raw taskstore.Record, mine keyRecord) (existing *record, next keyRecord, half bool, err error) {
	fail := func(err error) (*record, keyRecord, bool, error) { return nil, keyRecord{}, false, err }
	theirs, err := decodeKey(raw.Data)
	if err != nil {
		return fail(err)
	}
	existing, err = s.read(ctx, taskstore.Key{Owner: raw.Key.Owner, Task: taskPrefix + theirs.id})
	switch {
	case err == nil && theirs.request != mine.request:
		return fail(ErrIdempotencyMismatch)
	case err == nil:
		if theirs.made.IsZero() {
			existing.key = r.key
			_, _ = s.holdKey(ctx, existing, raw, s.keyExpiry(existing))
		}
		return existing, keyRecord{}, false, nil
	case !errors.Is(err, ErrNotFound):
		return fail(err)
	}
	now, err := s.now(ctx)
	switch {
	case err != nil:
		return fail(err)
	case theirs.used(now) && theirs.id == mine.id:
		return fail(errTakenBack) // somebody else made a task of it, which is gone
	case theirs.used(now):
		return nil, mine, false, nil
	case theirs.request != mine.request:
		return fail(ErrIdempotencyMismatch)
	case theirs.until.IsZero() || !mine.until.IsZero() && mine.until.Before(theirs.until):
		theirs.until = mine.until // the earlier of the two; zero is never
	}
	return nil, theirs, true, nil
}

// holdKey has r's key record say that r was made, and exist at least until until.
// raw is the record as far as it is known. It returns the record as it is then;
// the zero one if the key does not stand for r, or no longer.
func (s *Store) holdKey(ctx context.Context, r *record, raw taskstore.Record, until time.Time) (taskstore.Record, error) {
	var unknown, conflict error
	lost := 0
	for attempt := range maxAttempts {
		if err := backoff(ctx, max(attempt-1, 0)); err != nil {
			return taskstore.Record{}, then(unknown, err)
		}
		if attempt > 0 || raw.Version == 0 {
			var err error
			raw, err = s.backend.Get(ctx, idempotencyKey(r))
			if errors.Is(err, taskstore.ErrNotFound) {
				return taskstore.Record{}, nil
			} else if err != nil {
				return taskstore.Record{}, then(unknown, err)
			}
		}
		k, err := decodeKey(raw.Data)
		if err != nil || !k.standsFor(r) {
			return taskstore.Record{}, nil // what cannot be read must not keep a task from ending
		}
		next := taskstore.Value{Data: raw.Data, ExpiresAt: later(raw.ExpiresAt, until)}
		if !k.made.IsZero() && next.ExpiresAt.Equal(raw.ExpiresAt) {
			return raw, nil
		}
		k.made = r.CreatedAt
		next.Data = k.encode()
		version, err := s.backend.PutIfVersion(ctx, raw.Key, next, raw.Version)
		switch {
		case err == nil:
			return taskstore.Record{Key: raw.Key, Version: version, Value: next}, nil
		case errors.Is(err, taskstore.ErrOutcomeUnknown):
			if unknown, lost = err, lost+1; lost == maxUnknown {
				return taskstore.Record{}, err
			}
		case errors.Is(err, taskstore.ErrVersionConflict):
			conflict = err
		default:
			return taskstore.Record{}, then(unknown, err)
		}
	}
	return taskstore.Record{}, then(unknown, &ContentionError{Attempts: maxAttempts, Err: conflict})
}

// endKey has the key record of a task that has ended expire with it. raw is the
// record as far as it is known. Where it fails the record expires later and stands
// for nothing until then.
func (s *Store) endKey(ctx context.Context, r *record, raw taskstore.Record) {
	for range maxUnknown {
		if raw.Version == 0 {
			var err error
			if raw, err = s.backend.Get(ctx, idempotencyKey(r)); err != nil {
				return
			}
		}
		k, err := decodeKey(raw.Data)
		if err != nil || !k.standsFor(r) {
			return
		}
		k.made = r.CreatedAt
		_, err = s.backend.PutIfVersion(ctx, raw.Key, taskstore.Value{Data: k.encode(), ExpiresAt: r.ExpiresAt}, raw.Version)
		if !errors.Is(err, taskstore.ErrVersionConflict) && !errors.Is(err, taskstore.ErrOutcomeUnknown) {
			return
		}
		raw = taskstore.Record{}
	}
}

// forgetKey removes the key record raw of a task that was deleted. One that was
// written since may be another task's.
func (s *Store) forgetKey(ctx context.Context, raw taskstore.Record) {
	if now, err := s.now(ctx); err == nil {
		_ = s.drop(ctx, raw, now)
	}
}

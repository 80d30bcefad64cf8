package tasks

import (
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
type keyRecord struct {
	id      string
	request string // hash of the request
}

func (k keyRecord) encode() []byte {
	var w objectWriter
	w.open()
	w.uint("format", keyFormat)
	w.string("id", k.id)
	w.string("request", k.request)
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
		default:
			err = errUnknownName
		}
		return err
	})
	if err == nil && (!validID(k.id) || len(k.request) != len(hash(""))) {
		err = errors.New("no id or no request")
	}
	if err != nil {
		return keyRecord{}, corrupt(err)
	}
	return k, nil
}

func idempotencyKey(r *record) taskstore.Key {
	return taskstore.Key{Owner: userPrefix + r.Owner, Task: keyPrefix + r.key}
}

// keyExpiry returns when r's key record is to expire: not before the task could.
// When the task ends and its expiry is known, followKey brings that down to it.
func (s *Store) keyExpiry(r *record) time.Time {
	if at := r.expiresAt(); !at.IsZero() {
		return at.Add(s.opts.Retention)
	}
	return time.Time{}
}

// claimKey finds the task of r's idempotency key. Where there is none it gives r
// the id that the key stands for from now on.
func (s *Store) claimKey(ctx context.Context, r *record) (existing *record, err error) {
	key := idempotencyKey(r)
	mine := keyRecord{id: r.ID, request: hash(string(r.Request))}
	value := taskstore.Value{Data: mine.encode(), ExpiresAt: s.keyExpiry(r)}
	for attempt := 0; ; attempt++ {
		_, err := s.backend.PutIfVersion(ctx, key, value, 0)
		if err == nil {
			return nil, nil
		}
		if !errors.Is(err, taskstore.ErrVersionConflict) && !errors.Is(err, taskstore.ErrOutcomeUnknown) {
			return nil, err
		}
		raw, readErr := s.backend.Get(ctx, key)
		if errors.Is(readErr, taskstore.ErrNotFound) && attempt+1 < maxUnknown {
			continue // it expired just now, or the write was not applied
		}
		if readErr != nil {
			return nil, err
		}
		theirs, err := decodeKey(raw.Data)
		if err != nil {
			return nil, err
		}
		if theirs.request != mine.request {
			return nil, ErrIdempotencyMismatch
		}
		r.ID = theirs.id
		existing, err := s.read(ctx, taskstore.Key{Owner: key.Owner, Task: taskPrefix + r.ID})
		if !errors.Is(err, ErrNotFound) {
			return existing, err
		}
		err = s.keepKey(ctx, raw, s.keyExpiry(r))
		if err == nil || attempt+1 == maxUnknown || !errors.Is(err, taskstore.ErrVersionConflict) && !errors.Is(err, taskstore.ErrOutcomeUnknown) {
			return nil, err
		}
	}
}

// keepKey has the key record raw exist at least until until.
func (s *Store) keepKey(ctx context.Context, raw taskstore.Record, until time.Time) error {
	if raw.ExpiresAt.IsZero() || !until.IsZero() && !raw.ExpiresAt.Before(until) {
		return nil
	}
	_, err := s.backend.PutIfVersion(ctx, raw.Key, taskstore.Value{Data: raw.Data, ExpiresAt: until}, raw.Version)
	return err
}

// followKey has the key record of a task whose expiry changed follow it; when
// the task has ended, exactly. It is best effort: the record would expire later
// by itself, and until then stand for a task that is gone, to be made again.
func (s *Store) followKey(ctx context.Context, r *record) {
	key := idempotencyKey(r)
	raw, err := s.backend.Get(ctx, key)
	if err != nil {
		return
	}
	if k, err := decodeKey(raw.Data); err != nil || k.id != r.ID {
		return
	}
	until := s.keyExpiry(r)
	if r.Status.Terminal() {
		until = r.expiresAt()
	}
	_, _ = s.backend.PutIfVersion(ctx, key, taskstore.Value{Data: raw.Data, ExpiresAt: until}, raw.Version)
}

// forgetKey removes r's key record, if it still stands for r.
func (s *Store) forgetKey(ctx context.Context, r *record) error {
	key := idempotencyKey(r)
	raw, err := s.backend.Get(ctx, key)
	if errors.Is(err, taskstore.ErrNotFound) {
		return nil
	}
	if err != nil {
		return err
	}
	if k, err := decodeKey(raw.Data); err == nil && k.id == r.ID {
		_, err = s.backend.Delete(ctx, key)
		return err
	}
	return nil
}

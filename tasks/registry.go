package tasks

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"time"

	"github.com/taskstore/taskstore"
)

// The registry has an entry for every resumable task that has not ended, so that
// any replica finds the ones whose runner is gone; no backend lists all owners.
// It is spread over sixteen backend owners, which no user's owner can be.

const (
	registryPrefix = "r:"
	buckets        = "0123456789abcdef"
	entryFormat    = 1
	// entryGrace is how long an entry may be there before its task.
	entryGrace = 5 * time.Minute
)

type registryEntry struct {
	owner, id string
	createdAt time.Time
}

func (e registryEntry) encode() []byte {
	var w objectWriter
	w.open()
	w.uint("format", entryFormat)
	w.string("owner", base64.StdEncoding.EncodeToString([]byte(e.owner))) // any bytes
	w.string("id", e.id)
	w.int("created_at", e.createdAt.UnixMilli())
	w.close()
	return w.buf
}

func decodeEntry(data []byte) (e registryEntry, err error) {
	if err := checkFormat(data, entryFormat); err != nil {
		return registryEntry{}, err
	}
	err = splitObject(data, func(name string, value json.RawMessage) (err error) {
		switch name {
		case "format":
		case "owner":
			var owner []byte
			owner, err = jsonBase64(value)
			e.owner = string(owner)
		case "id":
			e.id, err = jsonString(value)
		case "created_at":
			e.createdAt, err = decodeTime(value)
		default:
			err = errUnknownName
		}
		return err
	})
	if err == nil && (checkOwner(e.owner) != nil || !validID(e.id) || e.createdAt.IsZero()) {
		err = errors.New("no owner, id or created_at")
	}
	if err != nil {
		return registryEntry{}, corrupt(err)
	}
	return e, nil
}

// entryKey names the entry of a task. An id has one length, so no two pairs of
// owner and id have one name; an owner may be too long to be in it.
func entryKey(owner, id string) taskstore.Key {
	task := id + "/" + hash(owner)
	return taskstore.Key{Owner: registryPrefix + hash(task)[:1], Task: task}
}

// register writes the entry of t and returns it. It lives as long as the task
// would; one that is there and lives longer keeps that.
func (s *Store) register(ctx context.Context, t *Task, now time.Time) (taskstore.Record, error) {
	key := entryKey(t.Owner, t.ID)
	data := registryEntry{owner: t.Owner, id: t.ID, createdAt: now}.encode()
	var unknown, conflict error
	lost := 0
	for attempt := range maxAttempts {
		if err := backoff(ctx, attempt); err != nil {
			return taskstore.Record{}, then(unknown, err)
		}
		next := taskstore.Record{Key: key, Value: taskstore.Value{Data: data, ExpiresAt: t.expiresAt()}}
		if attempt > 0 || t.Version != 0 { // a new task has none, as a rule
			there, err := s.backend.Get(ctx, key)
			if err == nil {
				next.ExpiresAt = later(next.ExpiresAt, there.ExpiresAt)
				if unknown != nil && bytes.Equal(there.Data, data) && there.ExpiresAt.Equal(next.ExpiresAt) {
					return there, nil // the one whose answer got lost
				}
				next.Version = there.Version
			} else if !errors.Is(err, taskstore.ErrNotFound) {
				return taskstore.Record{}, then(unknown, err)
			}
		}
		version, err := s.backend.PutIfVersion(ctx, key, next.Value, next.Version)
		switch {
		case err == nil:
			next.Version = version
			return next, nil
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

// later returns the later of two expiries, of which the zero one is never.
func later(a, b time.Time) time.Time {
	if a.IsZero() || b.IsZero() {
		return time.Time{}
	}
	if a.Before(b) {
		return b
	}
	return a
}

// unregister removes the entry of a task. Where that fails Orphans will.
func (s *Store) unregister(ctx context.Context, owner, id string) {
	_, _ = s.backend.Delete(ctx, entryKey(owner, id))
}

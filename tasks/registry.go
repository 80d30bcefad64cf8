package tasks

import (
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

// register writes the entry of t. It lives as long as the task would.
func (s *Store) register(ctx context.Context, t *Task, now time.Time) error {
	e := registryEntry{owner: t.Owner, id: t.ID, createdAt: now}
	value := taskstore.Value{Data: e.encode(), ExpiresAt: t.expiresAt()}
	for attempt := 1; ; attempt++ {
		_, err := s.backend.Put(ctx, entryKey(t.Owner, t.ID), value)
		// Writing the same again does no harm, so a lost answer is no matter.
		if !errors.Is(err, taskstore.ErrOutcomeUnknown) || attempt == maxUnknown {
			return err
		}
	}
}

// unregister removes the entry of a task. Where that fails Orphans will.
func (s *Store) unregister(ctx context.Context, owner, id string) {
	_, _ = s.backend.Delete(ctx, entryKey(owner, id))
}

// dropEntry removes an entry as it was read, not one that was written since: a
// write that is already past removes, and with a version only that one.
func (s *Store) dropEntry(ctx context.Context, raw taskstore.Record, now time.Time) {
	past := taskstore.Value{ExpiresAt: now.Add(-time.Hour)}
	_, _ = s.backend.PutIfVersion(ctx, raw.Key, past, raw.Version)
}

package tasks

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"sync"
	"time"

	"github.com/taskstore/taskstore"
)

const (
	entryFormat = 1
	// entryGrace is how long an entry may be there before its task.
	entryGrace = 5 * time.Minute
)

// An entry is a small record that stands for a task that has not ended. There are
// two places for it: the owner's active tasks, where they are counted, and the
// registry, where those that can be run again are found. It is written before the
// task or along with it, lives as long, and is removed after the task's end. So
// one may be left that nobody needs, and whoever meets it removes it.
type entry struct {
	owner, id string
	service   string
	createdAt time.Time // of the entry
}

func (e entry) encode() []byte {
	var w objectWriter
	w.open()
	w.uint("format", entryFormat)
	w.string("owner", base64.StdEncoding.EncodeToString([]byte(e.owner))) // any bytes
	w.string("id", e.id)
	if e.service != "" {
		w.string("service", e.service)
	}
	w.int("created_at", e.createdAt.UnixMilli())
	w.close()
	return w.buf
}

func decodeEntry(data []byte) (e entry, err error) {
	if err := checkFormat(data, entryFormat); err != nil {
		return entry{}, err
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
		case "service":
			e.service, err = jsonName(value)
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
		return entry{}, corrupt(err)
	}
	return e, nil
}

// entryKeys returns where t has entries.
func (s *Store) entryKeys(t *Task) (keys []taskstore.Key) {
	if s.opts.MaxActive >= 0 {
		keys = append(keys, activeKey(t.Owner, t.ID))
	}
	if t.Resumable {
		keys = append(keys, registryKey(t.Owner, t.ID))
	}
	return keys
}

// enter writes the entries of t, which is new or is going to live longer, and
// returns those that it has written, also where it fails.
func (s *Store) enter(ctx context.Context, t *Task, now time.Time) (written []taskstore.Record, err error) {
	keys := s.entryKeys(t)
	records, errs := make([]taskstore.Record, len(keys)), make([]error, len(keys))
	atOnce(keys, func(i int, key taskstore.Key) {
		if t.Version == 0 && key == activeKey(t.Owner, t.ID) {
			records[i], errs[i] = s.admit(ctx, key, t, now)
		} else { // one owner's limit is none for the registry, nor is it one for a task that is there
			records[i], errs[i] = s.writeEntry(taskstore.WithRecordLimit(ctx, 0), key, t, now)
		}
	})
	for i, r := range records {
		if r.Version != 0 {
			written = append(written, r)
		}
		if err == nil {
			err = errs[i]
		}
	}
	return written, err
}

// leave removes the entries of t, which has ended or is gone. It is best effort.
func (s *Store) leave(ctx context.Context, t *Task) {
	atOnce(s.entryKeys(t), func(_ int, key taskstore.Key) { _, _ = s.backend.Delete(ctx, key) })
}

// atOnce calls f for each of keys and waits for all of them.
func atOnce(keys []taskstore.Key, f func(i int, key taskstore.Key)) {
	var others sync.WaitGroup
	for i, key := range keys {
		if i == len(keys)-1 {
			f(i, key)
		} else {
			others.Go(func() { f(i, key) })
		}
	}
	others.Wait()
}

// writeEntry writes the entry of t under key and returns it. It lives as long as
// the task would; one that is there and lives longer keeps that. One that is
// there is written in any case: with that, whoever wrote it before can no longer
// withdraw it.
func (s *Store) writeEntry(ctx context.Context, key taskstore.Key, t *Task, now time.Time) (taskstore.Record, error) {
	data := entry{owner: t.Owner, id: t.ID, service: t.Service, createdAt: now}.encode()
	var unknown, conflict error
	lost := 0
	for attempt := range maxAttempts {
		if err := backoff(ctx, attempt); err != nil {
			return taskstore.Record{}, then(unknown, err)
		}
		next := taskstore.Record{Key: key, Value: taskstore.Value{Data: data, ExpiresAt: t.ExpiresAt}}
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
			return taskstore.Record{}, then(unknown, limited(LimitActive, err))
		}
	}
	return taskstore.Record{}, then(unknown, &ContentionError{Attempts: maxAttempts, Err: conflict})
}

// taskOf returns the task of e, the entry in raw, and whether it waits for a runner.
// An entry that is not needed any more it removes. A task that it cannot read it
// leaves alone.
func (s *Store) taskOf(ctx context.Context, raw taskstore.Record, e entry) (t Task, waits bool, err error) {
	now, err := s.now(ctx)
	if err != nil {
		return Task{}, false, err
	}
	t, err = s.Get(ctx, e.owner, e.id)
	switch {
	case cannotRead(err):
		return Task{}, false, nil
	case errors.Is(err, ErrNotFound):
		if now.Sub(e.createdAt) > entryGrace { // otherwise it may be about to be created
			_ = s.drop(ctx, raw, now)
		}
		return Task{}, false, nil
	case err != nil:
		return Task{}, false, err
	case t.Status.Terminal():
		_ = s.drop(ctx, raw, now)
	}
	return t, s.waits(&t, now), nil
}

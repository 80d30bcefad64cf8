package tasks

import (
	"cmp"
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/google/uuid"

	"github.com/taskstore/taskstore"
)

// MaxOwnerLength is the greatest length of an owner, in bytes.
const MaxOwnerLength = taskstore.MaxKeyLength - len(userPrefix)

// A Store keeps tasks on a backend. It holds no state of its own and no call of it
// leaves a goroutine; any number of stores, in any number of processes, share what
// is on one backend. Its methods may be called by any number of goroutines at once.
//
// These rules hold for every method:
//
//   - An owner that is empty or longer than [MaxOwnerLength] gives an error that
//     matches [ErrInvalidOwner].
//   - An id that the owner has no task for, or that is no id, gives one that
//     matches [ErrNotFound]. So does somebody else's task.
//   - A call that fails does nothing of what it was to do, unless its error matches
//     [taskstore.ErrOutcomeUnknown]. That is left only where reading again does
//     not tell whether the write was applied. An orphan that a call meets is
//     settled all the same.
//   - A ctx that is done gives an error that matches ctx.Err().
//   - A record that a newer version wrote gives an error that matches [ErrFormat],
//     one that is damaged [taskstore.ErrCorrupt].
type Store struct {
	backend taskstore.StorageBackend
	opts    Options
}

// New returns a store on backend, which stays the caller's. Nil opts mean the
// defaults. It talks to no server. An option that makes no sense gives an error
// that matches [ErrInvalid].
func New(backend taskstore.StorageBackend, opts *Options) (*Store, error) {
	if v := reflect.ValueOf(backend); !v.IsValid() || v.Kind() == reflect.Pointer && v.IsNil() {
		return nil, &InvalidError{Argument: "backend", Reason: "it is nil"}
	}
	if opts == nil {
		opts = &Options{}
	}
	resolved, err := opts.resolve()
	if err != nil {
		return nil, err
	}
	return &Store{backend: backend, opts: resolved}, nil
}

// Options returns the options with the defaults put in.
func (s *Store) Options() Options { return s.opts }

// Get returns the task. An orphan is settled first, so it returns what any other
// replica would return. It is one call of the backend, unless it has to settle.
func (s *Store) Get(ctx context.Context, owner, id string) (Task, error) {
	key, err := taskKey(owner, id)
	if err != nil {
		return Task{}, err
	}
	r, err := s.read(ctx, key)
	if err != nil {
		return Task{}, err
	}
	return s.settled(ctx, r)
}

// List returns the owner's tasks in order of creation, oldest first, a page of at
// most limit at a time. An empty cursor starts; next continues; an empty next
// ends the walk, and nothing else does. Orphans are settled. A task that lives
// through the whole walk is returned exactly once.
//
// A task that cannot be read, since it is damaged or a newer version wrote it, is
// left out. The error then matches [taskstore.ErrCorrupt] or [ErrFormat], and page
// and next are what they would be without that task: go on with next to list the
// rest. Where the backend has no [taskstore.Pager] only the first page says so. A
// [taskstore.CorruptError] without a task says that none of the owner's can be listed.
// With any other error there is neither page nor next.
//
// A limit below 1 gives an error that matches [ErrInvalid], a malformed cursor one
// that matches [taskstore.ErrInvalidCursor].
func (s *Store) List(ctx context.Context, owner, cursor string, limit int) (page []Task, next string, err error) {
	if err := checkOwner(owner); err != nil {
		return nil, "", err
	}
	if limit < 1 {
		return nil, "", &InvalidError{Argument: "limit", Reason: "it must be 1 or more"}
	}
	prefix := tasksKey(owner)
	var records []*record
	var unreadable error
	if pager, ok := taskstore.As[taskstore.Pager](s.backend); ok {
		var raw []taskstore.Record
		raw, next, err = pager.ListPage(ctx, prefix, cursor, limit)
		records, unreadable, err = readable(raw, err)
	} else {
		records, next, unreadable, err = s.listAll(ctx, prefix, cursor, limit)
	}
	if err != nil {
		return nil, "", err
	}
	page = make([]Task, 0, len(records))
	for _, r := range records {
		t, err := s.settled(ctx, r)
		switch {
		case err == nil:
			page = append(page, t)
		case errors.Is(err, ErrNotFound): // gone since it was listed
		case cannotRead(err): // since then, too
			unreadable = errors.Join(unreadable, err)
		default:
			return nil, "", err
		}
	}
	return page, next, unreadable
}

// cannotRead reports whether err is about one record that this version cannot read.
func cannotRead(err error) bool {
	return errors.Is(err, ErrFormat) || errors.Is(err, taskstore.ErrCorrupt)
}

// listAll makes pages on a backend that has none. The order is that of CreatedAt,
// and a cursor the place in it where the page before ended.
func (s *Store) listAll(ctx context.Context, prefix taskstore.Key, cursor string, limit int) (records []*record, next string, unreadable, err error) {
	place := func(r *record) string { return strconv.FormatInt(r.CreatedAt.UnixMilli(), 10) + " " + r.ID }
	after, err := base64.RawURLEncoding.DecodeString(cursor)
	ms, id, ok := strings.Cut(string(after), " ")
	at, numErr := strconv.ParseInt(ms, 10, 64)
	if cursor != "" && (err != nil || !ok || numErr != nil || !validID(id)) {
		return nil, "", nil, taskstore.ErrInvalidCursor
	}
	raw, err := s.backend.ListByPrefix(ctx, prefix)
	if records, unreadable, err = readable(raw, err); err != nil {
		return nil, "", nil, err
	}
	if cursor != "" {
		unreadable = nil // the first page has said so
	}
	order := func(r *record, at int64, id string) int {
		return cmp.Or(cmp.Compare(r.CreatedAt.UnixMilli(), at), cmp.Compare(r.ID, id))
	}
	slices.SortFunc(records, func(a, b *record) int { return order(a, b.CreatedAt.UnixMilli(), b.ID) })
	records = slices.DeleteFunc(records, func(r *record) bool { return cursor != "" && order(r, at, id) <= 0 })
	if len(records) <= limit {
		return records, "", unreadable, nil
	}
	return records[:limit], base64.RawURLEncoding.EncodeToString([]byte(place(records[limit-1]))), unreadable, nil
}

// now returns the backend's time in whole milliseconds.
func (s *Store) now(ctx context.Context) (time.Time, error) {
	now, err := taskstore.Now(ctx, s.backend)
	return time.UnixMilli(now.UnixMilli()).UTC(), err
}

// read returns the record of key as it is stored.
func (s *Store) read(ctx context.Context, key taskstore.Key) (*record, error) {
	raw, err := s.backend.Get(ctx, key)
	if errors.Is(err, taskstore.ErrNotFound) {
		return nil, ErrNotFound
	}
	if err != nil {
		return nil, err
	}
	return recordOf(raw)
}

// recordOf decodes what a backend returned; the bytes are the caller's own.
func recordOf(raw taskstore.Record) (*record, error) {
	r, err := decode(raw.Data)
	if err != nil {
		var damaged *taskstore.CorruptError
		if errors.As(err, &damaged) {
			damaged.Key = raw.Key
		}
		return nil, err
	}
	r.Owner, r.ID = named(raw.Key)
	r.Version = raw.Version
	r.ExpiresAt = raw.ExpiresAt
	return r, nil
}

// readable returns what can be read of what a backend listed, and what is wrong with
// the rest, unless the list failed.
func readable(raw []taskstore.Record, failed error) (records []*record, unreadable, err error) {
	if failed != nil && !errors.Is(failed, taskstore.ErrCorrupt) {
		return nil, nil, failed
	}
	records, unreadable = fromBackend(raw)
	return records, errors.Join(failed, unreadable), nil
}

// fromBackend returns what can be read of raw, and what is wrong with the rest.
func fromBackend(raw []taskstore.Record) (records []*record, unreadable error) {
	records = make([]*record, 0, len(raw))
	var errs []error
	for i := range raw {
		r, err := recordOf(raw[i])
		if err != nil {
			errs = append(errs, err)
			continue
		}
		records = append(records, r)
	}
	return records, errors.Join(errs...)
}

func checkOwner(owner string) error {
	if owner == "" {
		return &InvalidError{Argument: argumentOwner, Reason: "it is empty"}
	}
	if len(owner) > MaxOwnerLength {
		return &InvalidError{Argument: argumentOwner, Reason: "it is longer than " + strconv.Itoa(MaxOwnerLength) + " bytes"}
	}
	return nil
}

// validID reports whether id has the one form that Create gives.
func validID(id string) bool {
	if len(id) != 36 {
		return false
	}
	u, err := uuid.Parse(id)
	return err == nil && u.Version() == 4 && u.String() == id
}

// payload checks raw JSON that came from outside and returns what to keep of it.
func payload(argument string, raw json.RawMessage) (json.RawMessage, error) {
	checked, err := checkJSON(raw)
	if err != nil {
		return nil, &InvalidError{Argument: argument, Reason: err.Error()}
	}
	return checked, nil
}

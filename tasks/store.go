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

// A Store keeps tasks on a backend. It holds no state of its own, and its methods leave
// no goroutines behind. Any number of stores, in any number of processes, share the
// tasks of one backend. Its methods may be called by any number of goroutines at once.
//
// These rules hold for every method:
//
//   - An owner that is empty or longer than [MaxOwnerLength] gives an error that
//     matches [ErrInvalidOwner].
//   - If the owner has no task of that id, or the id is malformed, the error matches
//     [ErrNotFound]. The same holds for a task of another owner.
//   - A call that fails has changed nothing, unless its error matches
//     [taskstore.ErrOutcomeUnknown]: a second read could not tell whether the write was
//     applied. An orphan that a call meets is settled all the same.
//   - A ctx that is done gives an error that matches ctx.Err().
//   - For a record that a newer version wrote the error matches [ErrFormat], for a
//     damaged one [taskstore.ErrCorrupt].
type Store struct {
	backend taskstore.StorageBackend
	opts    Options
}

// New returns a store on backend; the caller still has to close the backend. Nil opts
// mean the defaults. New does not talk to a server. For an unusable option the error
// matches [ErrInvalid].
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

// Options returns the options with the defaults filled in.
func (s *Store) Options() Options { return s.opts }

// Get returns the task. It settles an orphan first, so every replica returns the same
// state. It is one call of the backend, unless it has to settle.
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

// List returns the owner's tasks in order of creation, oldest first, at most limit per
// page. An empty cursor starts the walk; next continues it; only an empty next ends it.
// Orphans are settled. A task that exists during the whole walk is returned exactly
// once.
//
// A task that is damaged, or that a newer version wrote, is left out. The error then
// matches [taskstore.ErrCorrupt] or [ErrFormat], and page and next are valid: go on
// with next to list the rest. On a backend that is no [taskstore.Pager] only the first
// page reports it. A [taskstore.CorruptError] without a task says that the owner's
// tasks cannot be listed at all. With any other error page and next are empty.
//
// For a limit below 1 the error matches [ErrInvalid], for a malformed cursor
// [taskstore.ErrInvalidCursor].
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

// listAll makes the pages for a backend that is no Pager, in order of CreatedAt. A
// cursor names the last task of the page before.
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
		unreadable = nil // the first page reported it
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

// recordOf decodes a record from the backend; the bytes are the caller's own.
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
	r.sign()
	return r, nil
}

// readable decodes the records of a backend's list and joins the errors of the others,
// unless the list itself failed.
func readable(raw []taskstore.Record, failed error) (records []*record, unreadable, err error) {
	if failed != nil && !errors.Is(failed, taskstore.ErrCorrupt) {
		return nil, nil, failed
	}
	records, unreadable = fromBackend(raw)
	return records, errors.Join(failed, unreadable), nil
}

// fromBackend decodes the records that it can and joins the errors of the others.
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

// validID reports whether id has the one form that Create generates.
func validID(id string) bool {
	if len(id) != 36 {
		return false
	}
	u, err := uuid.Parse(id)
	return err == nil && u.Version() == 4 && u.String() == id
}

// payload checks raw JSON from outside and returns the part of it to keep.
func payload(argument string, raw json.RawMessage) (json.RawMessage, error) {
	checked, err := checkJSON(raw)
	if err != nil {
		return nil, &InvalidError{Argument: argument, Reason: err.Error()}
	}
	return checked, nil
}

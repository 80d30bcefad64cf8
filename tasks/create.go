package tasks

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"time"
	"unicode/utf8"

	"github.com/google/uuid"

	"github.com/taskstore/taskstore"
)

// CreateParams are what a task starts with. The zero value is fine: a task that
// nobody runs yet.
type CreateParams struct {
	// Request is what the task came from, enough to run it again. Nil: none.
	Request json.RawMessage
	// StatusMessage is the first one. Empty: none.
	StatusMessage string
	// TTL is how long the task exists while it has not ended. 0:
	// [Options.DefaultTTL]. What is beyond [Options.MaxTTL] is cut to it; negative
	// asks for as much as it allows.
	TTL time.Duration
	// PollInterval is how often a client should ask. 0: [Options.PollInterval].
	PollInterval time.Duration
	// IdempotencyKey makes Create return the task that an earlier call with the same
	// owner, key and Request made, as long as that exists. Any string; empty: none.
	IdempotencyKey string
	// Holder names who runs the task from the start and so gets the lease; see
	// [Store.RunOf]. At most 256 bytes of UTF-8. Empty: nobody, and no lease.
	Holder string
	// Resumable says that the task may be run again when its runner is lost.
	Resumable bool
}

const maxHolderBytes = 256

// Create makes a working task, which every replica sees when Create has
// returned. It is one call of the backend; Resumable makes it one more, an
// IdempotencyKey two.
//
// With an IdempotencyKey that the owner used before, and the same Request byte
// for byte, it returns that task as it is now, and created is false: the caller
// must not run it. With another Request the error matches
// [ErrIdempotencyMismatch]. Where a process died between the writes that this
// takes, a later call finishes them, and is the one that created the task. The
// key is free again when the task is deleted or has expired; what it makes then
// has an id of its own.
//
// Where Create fails with anything but [taskstore.ErrOutcomeUnknown] it takes back
// what it has written beside the task, which may take a second more when ctx is
// done. Only where that fails too does a record stay, until it expires.
func (s *Store) Create(ctx context.Context, owner string, p CreateParams) (t Task, created bool, err error) {
	if err := checkOwner(owner); err != nil {
		return Task{}, false, err
	}
	for range maxUnknown {
		now, err := s.now(ctx)
		if err != nil {
			return Task{}, false, err
		}
		r, err := s.newRecord(owner, p, now)
		if err != nil {
			return Task{}, false, err
		}
		existing, err := s.place(ctx, r, now)
		switch {
		case errors.Is(err, errTakenBack):
			continue
		case err != nil:
			return Task{}, false, err
		case existing != nil:
			t, err := s.settled(ctx, existing)
			return t, false, err
		}
		return r.Task.clone(), true, nil
	}
	return Task{}, false, &ContentionError{Attempts: maxUnknown, Err: &taskstore.VersionConflictError{}}
}

// errTakenBack says that a task was made and removed again, since its key had
// gone to another.
var errTakenBack = errors.New("tasks: the idempotency key went to another task")

// place stores r, a new task, and what is kept beside it. Where its key has a
// task already, that is returned.
func (s *Store) place(ctx context.Context, r *record, now time.Time) (existing *record, err error) {
	var key, entry taskstore.Record // as this call wrote them
	if r.key != "" {
		existing, key, err = s.claimKey(ctx, r)
		if err != nil || existing != nil {
			return existing, err
		}
	}
	if r.Resumable {
		// Before the task, so that there is none that nobody would find.
		if entry, err = s.register(ctx, &r.Task, now); err != nil {
			s.withdraw(ctx, now, key, entry)
			return nil, err
		}
	}
	other, err := s.insert(ctx, r)
	switch {
	case errors.Is(err, taskstore.ErrOutcomeUnknown):
		return nil, err
	case err != nil:
		s.withdraw(ctx, now, key, entry)
		return nil, err
	case other != nil && r.key == "": // two equal random ids
		return nil, &taskstore.VersionConflictError{Actual: other.Version}
	case other != nil: // whoever had claimed the key as well
		_, _ = s.holdKey(ctx, other, key, s.keyExpiry(other))
		return other, nil
	case r.key == "":
		return nil, nil
	}
	held, err := s.holdKey(ctx, r, key, s.keyExpiry(r))
	if err != nil || held.Version != 0 {
		return nil, nil // the task is made; a mark that is missing the next change of its expiry makes up for
	}
	// The key is gone or another task's. Nobody was told of this one yet; one that
	// somebody has found and changed all the same stays.
	task := taskstore.Record{Key: taskstore.Key{Owner: userPrefix + r.Owner, Task: taskPrefix + r.ID}, Version: r.Version}
	if s.drop(ctx, task, now) != nil {
		return nil, nil
	}
	if r.Resumable {
		s.unregister(ctx, r.Owner, r.ID)
	}
	return nil, errTakenBack
}

// undoTime is how long a Create that fails may outlast its ctx.
const undoTime = time.Second

// withdraw removes what a Create wrote beside a task that it did not make, as far
// as nobody else has written it since: who did counts on it.
func (s *Store) withdraw(ctx context.Context, now time.Time, key, entry taskstore.Record) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), undoTime)
	defer cancel()
	if key.Version != 0 && s.drop(ctx, key, now) != nil {
		return // whoever has the key now may have the entry too
	}
	if entry.Version != 0 {
		_ = s.drop(ctx, entry, now)
	}
}

// drop removes a record as it was read or written, not one that was written
// since: a write that is already past removes, and with a version only that one.
func (s *Store) drop(ctx context.Context, raw taskstore.Record, now time.Time) error {
	past := taskstore.Value{ExpiresAt: now.Add(-time.Hour)}
	_, err := s.backend.PutIfVersion(ctx, raw.Key, past, raw.Version)
	return err
}

// newRecord makes the first state of a task.
func (s *Store) newRecord(owner string, p CreateParams, now time.Time) (*record, error) {
	id, err := uuid.NewRandom()
	if err != nil {
		return nil, err
	}
	r := &record{
		write: rand.Text(),
		Task: Task{
			ID: id.String(), Owner: owner, Status: Working, StatusMessage: validText(p.StatusMessage),
			CreatedAt: now, UpdatedAt: now, TTL: s.opts.ttl(p.TTL), PollInterval: s.opts.PollInterval,
			Resumable: p.Resumable, Revision: 1,
		},
	}
	if p.IdempotencyKey != "" {
		r.key = hash(p.IdempotencyKey)
	}
	if p.TTL == 0 {
		r.TTL = s.opts.ttl(s.opts.DefaultTTL)
	}
	if p.PollInterval < 0 {
		return nil, &InvalidError{Argument: "PollInterval", Reason: "it is negative"}
	} else if p.PollInterval > 0 {
		r.PollInterval = wholeMillis(p.PollInterval)
	}
	if len(p.Request) > 0 {
		if err := within(LimitRequest, s.opts.MaxRequestBytes, len(p.Request)); err != nil {
			return nil, err
		}
		if r.Request, err = payload("Request", p.Request); err != nil {
			return nil, err
		}
	}
	if err := within(LimitStatusMessage, s.opts.MaxStatusMessageBytes, len(r.StatusMessage)); err != nil {
		return nil, err
	}
	if p.Holder != "" {
		if err := checkHolder(p.Holder); err != nil {
			return nil, err
		}
		r.Lease = Lease{Holder: p.Holder, Token: 1, ExpiresAt: now.Add(s.opts.Lease)}
	}
	return r, nil
}

func checkHolder(holder string) error {
	if holder == "" || len(holder) > maxHolderBytes || !utf8.ValidString(holder) {
		return &InvalidError{Argument: "holder", Reason: "it must be UTF-8, of 1 to 256 bytes"}
	}
	return nil
}

// maxUnknown is how many times in a row a write is tried whose answers get lost.
const maxUnknown = 4

// insert stores r, a new task. Where there is another one under its id, that is
// returned and nothing stored.
func (s *Store) insert(ctx context.Context, r *record) (other *record, err error) {
	key := taskstore.Key{Owner: userPrefix + r.Owner, Task: taskPrefix + r.ID}
	value := taskstore.Value{Data: r.encode(), ExpiresAt: r.expiresAt()}
	var unknown error // a lost answer: that write may be applied yet
	for attempt := 0; ; attempt++ {
		version, err := s.backend.PutIfVersion(ctx, key, value, 0)
		if err == nil {
			r.Version = version
			return nil, nil
		}
		if errors.Is(err, taskstore.ErrOutcomeUnknown) {
			unknown = err
		} else if !errors.Is(err, taskstore.ErrVersionConflict) {
			return nil, then(unknown, err)
		}
		there, readErr := s.read(ctx, key)
		switch {
		case readErr == nil && there.write == r.write: // the one whose answer got lost
			r.Version = there.Version
			r.Task = there.Task
			return nil, nil
		case readErr == nil:
			return there, nil
		case !errors.Is(readErr, ErrNotFound):
			return nil, then(unknown, readErr)
		case attempt+1 == maxUnknown:
			return nil, then(unknown, err)
		}
	}
}

// then returns err; where the outcome of an earlier write is unknown, with that.
func then(unknown, err error) error {
	if unknown == nil || errors.Is(err, taskstore.ErrOutcomeUnknown) {
		return err
	}
	return fmt.Errorf("%w; then: %w", unknown, err)
}

// hash returns the SHA-256 of s in hex: a name of fixed length for anything.
func hash(s string) string {
	sum := sha256.Sum256([]byte(s))
	return hex.EncodeToString(sum[:])
}

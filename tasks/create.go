package tasks

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
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
// returned. It is one call of the backend; Resumable and IdempotencyKey make it
// one more each.
//
// With an IdempotencyKey that the owner used before, and the same Request byte
// for byte, it returns that task as it is now, and created is false: the caller
// must not run it. With another Request the error matches
// [ErrIdempotencyMismatch]. Where a process died between the two writes that this
// takes, a later call finishes them, and is the one that created the task. The
// key is free again when the task is deleted, or soon after it has expired.
func (s *Store) Create(ctx context.Context, owner string, p CreateParams) (t Task, created bool, err error) {
	if err := checkOwner(owner); err != nil {
		return Task{}, false, err
	}
	now, err := s.now(ctx)
	if err != nil {
		return Task{}, false, err
	}
	r, err := s.newRecord(owner, p, now)
	if err != nil {
		return Task{}, false, err
	}
	if p.IdempotencyKey != "" {
		r.key = hash(p.IdempotencyKey)
		existing, err := s.claimKey(ctx, r)
		if err != nil || existing != nil {
			return s.existing(ctx, existing, err)
		}
	}
	if r.Resumable {
		// Before the task, so that there is none that nobody would find.
		if err := s.register(ctx, &r.Task, now); err != nil {
			return Task{}, false, err
		}
	}
	other, err := s.insert(ctx, r)
	switch {
	case err != nil:
		return Task{}, false, err
	case other == nil:
		return r.Task.clone(), true, nil
	case r.key == "":
		return Task{}, false, &taskstore.VersionConflictError{Actual: other.Version} // two equal random ids
	}
	return s.existing(ctx, other, nil)
}

// existing makes Create's results of a task that was there before.
func (s *Store) existing(ctx context.Context, r *record, err error) (Task, bool, error) {
	if err != nil {
		return Task{}, false, err
	}
	t, err := s.settled(ctx, r)
	return t, false, err
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
	for attempt := 0; ; attempt++ {
		version, err := s.backend.PutIfVersion(ctx, key, value, 0)
		if err == nil {
			r.Version = version
			return nil, nil
		}
		if !errors.Is(err, taskstore.ErrVersionConflict) && !errors.Is(err, taskstore.ErrOutcomeUnknown) {
			return nil, err
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
			if errors.Is(err, taskstore.ErrOutcomeUnknown) {
				return nil, err
			}
			return nil, readErr
		case attempt+1 == maxUnknown:
			return nil, err
		}
	}
}

// hash returns the SHA-256 of s in hex: a name of fixed length for anything.
func hash(s string) string {
	sum := sha256.Sum256([]byte(s))
	return hex.EncodeToString(sum[:])
}

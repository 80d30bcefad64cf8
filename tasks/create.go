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

// CreateParams describe a new task. The zero value is fine: a task without a runner.
type CreateParams struct {
	// Request is the input of the task, enough to run it again. Nil: no request.
	Request json.RawMessage
	// StatusMessage is the first status message. Empty: no message.
	StatusMessage string
	// TTL is how long clients may count on the task while it has not ended. 0:
	// [Options.DefaultTTL]. A TTL beyond [Options.MaxTTL] is cut to it; negative asks
	// for as much as it allows.
	TTL time.Duration
	// PollInterval is how often a client should ask. 0: [Options.PollInterval].
	PollInterval time.Duration
	// IdempotencyKey makes Create return the task that an earlier call with the same
	// owner, key and Request made, as long as that task exists. Any string; empty: no
	// key.
	IdempotencyKey string
	// Holder names the runner that has the task, and its lease, from the start; see
	// [Store.RunOf]. At most 256 bytes of UTF-8. Empty: no runner and no lease.
	Holder string
	// Resumable says that another runner may take the task when its runner is lost.
	Resumable bool
	// Service names the program that may run the task again, if several programs have
	// their tasks in one store: see [Store.Orphans]. At most 256 bytes of UTF-8. Empty:
	// the task names no service.
	Service string
	// Trace names the call that creates the task, and its first run if there is a
	// Holder. Zero: neither is traced.
	Trace Trace
}

// maxNameBytes is the longest holder, the longest service and the longest part of a Trace.
const maxNameBytes = 256

// Create creates a working task, which every replica sees when Create has returned. It
// is one write of the backend; for a Resumable task it is two. If the owner has as many
// tasks as [Options] allow, the error is a [*LimitError].
//
// With an IdempotencyKey that the owner used before, and the same Request byte for
// byte, Create returns the existing task as it is now, and created is false: the caller
// must not run it. With another Request the error matches [ErrIdempotencyMismatch].
// When the task is deleted or has expired, its key is free again and makes a task with
// a new id.
//
// If Create fails with an error other than [taskstore.ErrOutcomeUnknown], no record of
// the task exists. Create then removes the registry entry of a Resumable task, which
// may take a second more when ctx is done.
func (s *Store) Create(ctx context.Context, owner string, p CreateParams) (t Task, created bool, err error) {
	if o := s.opts.Observer; o != nil {
		defer func() { o.createEnds(ctx, t, created, err) }()
	}
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
		if err != nil {
			return Task{}, false, err
		}
		if existing == nil {
			return r.Task.clone(), true, nil
		}
		if t, err := s.settled(ctx, existing); !errors.Is(err, ErrNotFound) { // otherwise it is gone by now
			return t, false, err
		}
	}
	return Task{}, false, &ContentionError{Attempts: maxUnknown, Err: &taskstore.VersionConflictError{}}
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
			ID: id.String(), Owner: owner, Status: Working, StatusMessage: s.statusMessage(p.StatusMessage),
			CreatedAt: now, UpdatedAt: now, TTL: s.opts.ttl(p.TTL), PollInterval: s.opts.PollInterval,
			Resumable: p.Resumable, Service: p.Service, Trace: p.Trace, Revision: 1,
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
	if len(p.Service) > maxNameBytes || !utf8.ValidString(p.Service) {
		return nil, &InvalidError{Argument: "Service", Reason: "it must be UTF-8, of at most 256 bytes"}
	}
	if err := checkTrace(p.Trace); err != nil {
		return nil, err
	}
	if p.Holder != "" {
		if err := checkHolder(p.Holder); err != nil {
			return nil, err
		}
		r.Lease = Lease{Holder: p.Holder, Token: 1, ExpiresAt: now.Add(s.opts.Lease)}
	}
	r.ExpiresAt = s.expiry(nil, r, now)
	return r, nil
}

func checkHolder(holder string) error {
	if holder == "" || len(holder) > maxNameBytes || !utf8.ValidString(holder) {
		return &InvalidError{Argument: "holder", Reason: "it must be UTF-8, of 1 to 256 bytes"}
	}
	return nil
}

func checkTrace(t Trace) error {
	for _, part := range []string{t.Call, t.Run} {
		if len(part) > maxNameBytes || !utf8.ValidString(part) {
			return &InvalidError{Argument: "Trace", Reason: "its parts must be UTF-8, of at most 256 bytes"}
		}
	}
	return nil
}

// hash returns the SHA-256 of s in hex, a name of fixed length.
func hash[T string | json.RawMessage](s T) string {
	sum := sha256.Sum256([]byte(s))
	return hex.EncodeToString(sum[:])
}

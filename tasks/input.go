package tasks

import (
	"context"
	"encoding/json"
	"slices"
	"time"
	"unicode/utf8"
)

// RequireInput makes a working task wait for answers to requests, by key. Its runner
// gives up the lease: the task is parked, and the caller that brings the last answer
// goes on with it. A detached task keeps its lease, and its worker learns of the
// answers: see [Run.Ask]. A new round begins: the answers of earlier rounds are
// dropped.
//
// At least one request is needed. Each key must be UTF-8, not empty and new in the life
// of the task (otherwise [ErrInputKeyReused], see [Task.InputKeys]). The limits are
// MaxInputRequests, MaxInputKeyBytes, MaxInputKeys and MaxInputBytes. On a task that
// waits already the error matches [ErrTransition]. If a cancel was requested, the task
// is cancelled instead and returned so, without an error.
func (s *Store) RequireInput(ctx context.Context, owner, id string, requests map[string]json.RawMessage) (Task, error) {
	return s.change(ctx, owner, id, change{step: s.requireInput(requests)})
}

func (s *Store) requireInput(requests map[string]json.RawMessage) step {
	return func(now time.Time, t *record) error {
		if t.Status != Working {
			return &TransitionError{From: t.Status, To: InputRequired}
		}
		if len(requests) == 0 {
			return &InvalidError{Argument: "requests", Reason: "it is empty"}
		}
		if err := within(LimitInputRequests, s.opts.MaxInputRequests, len(requests)); err != nil {
			return err
		}
		if err := within(LimitInputKeys, s.opts.MaxInputKeys, len(t.InputKeys)+len(requests)); err != nil {
			return err
		}
		checked := make(map[string]json.RawMessage, len(requests))
		keys := slices.Clone(t.InputKeys)
		for key, request := range requests {
			if key == "" || !utf8.ValidString(key) {
				return &InvalidError{Argument: "requests", Reason: "a key is empty or not UTF-8"}
			}
			if err := within(LimitInputKey, s.opts.MaxInputKeyBytes, len(key)); err != nil {
				return err
			}
			if _, used := slices.BinarySearch(t.InputKeys, key); used {
				return &InputKeyError{Key: key}
			}
			value, err := payload("requests", request)
			if err != nil {
				return err
			}
			checked[key] = slices.Clone(value)
			keys = append(keys, key)
		}
		if err := within(LimitInput, s.opts.MaxInputBytes, inputBytes(checked)); err != nil {
			return err
		}
		slices.Sort(keys)
		t.Status = InputRequired
		t.InputRequests, t.InputResponses, t.InputKeys = checked, nil, keys
		if t.Lease.Detached {
			t.Lease.IdleSince = now
		} else {
			t.Lease = Lease{Token: t.Lease.Token}
		}
		return nil
	}
}

// ProvideInput answers questions, by key, and returns the task. It ignores keys without
// a waiting question and their values: late, repeated and invented answers do no harm,
// and a task that has ended is returned as it is. Answers to some questions leave the
// others waiting.
//
// With the last answer the task is Working again and, unless it is detached, has no
// runner: call Acquire to go on with it. A task that was under a lease before is
// offered for [Options.Lease]; after that it is an orphan, since the caller that
// brought the last answer must have died. For an answer that is not JSON the error
// matches [ErrInvalid]; for answers beyond MaxInputBytes it matches [ErrLimit].
//
// accept, if not nil, lets the caller refuse answers that it could not go on with. It
// is called if at least one answer is for a waiting question, with the task as it was
// before the answers. It decides within the compare-and-swap: so it may be called again
// on a newer state, and should only compute. Its error leaves the task unchanged and is
// returned as it is.
func (s *Store) ProvideInput(ctx context.Context, owner, id string, responses map[string]json.RawMessage, accept func(Task) error) (Task, error) {
	return s.change(ctx, owner, id, change{tolerant: true, step: func(_ time.Time, t *record) error {
		ask := accept // once, before the first answer is taken
		for key, response := range responses {
			if _, waits := t.InputRequests[key]; !waits {
				continue
			}
			if ask != nil {
				if err := ask(t.Task.clone()); err != nil {
					return err
				}
				ask = nil
			}
			value, err := payload("responses", response)
			if err != nil {
				return err
			}
			if t.InputResponses == nil {
				t.InputResponses = make(map[string]json.RawMessage, len(responses))
			}
			t.InputResponses[key] = slices.Clone(value)
			delete(t.InputRequests, key)
			if err := within(LimitInput, s.opts.MaxInputBytes, inputBytes(t.InputResponses)); err != nil {
				return err
			}
		}
		if t.Status == InputRequired && len(t.InputRequests) == 0 {
			t.Status, t.InputRequests = Working, nil // finish offers it
		}
		return nil
	}})
}

// offer returns the lease of a task that a runner is to acquire soon. A task that was
// not leased before does not wait for a runner.
func (s *Store) offer(t *record, now time.Time) Lease {
	l := Lease{Token: t.Lease.Token}
	if l.Token != 0 {
		l.ExpiresAt = now.Add(s.opts.Lease)
	}
	return l
}

func inputBytes(inputs map[string]json.RawMessage) int {
	n := 0
	for key, value := range inputs {
		n += len(key) + len(value)
	}
	return n
}

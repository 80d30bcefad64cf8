package tasks

import (
	"math"
	"slices"
	"time"
)

// finish checks the step from cur to next and sets the fields that follow from it.
func (s *Store) finish(cur, next *record, now time.Time) error {
	if next.CancelRequested && (next.Lease.Holder == "" || next.Status == InputRequired) && !next.Status.Terminal() {
		next.Status = Cancelled // the task has no runner to see the request
	}
	if next.Status != cur.Status {
		if !cur.Status.leadsTo(next.Status) {
			return &TransitionError{From: cur.Status, To: next.Status}
		}
		if next.Status != InputRequired {
			next.InputRequests = nil
		}
		if cur.Status == InputRequired && next.Status == Working { // answered or taken back
			if next.Lease.Detached {
				next.Lease = s.goesOn(next.Lease, now)
			} else {
				next.Lease = s.offer(next, now) // a runner is to go on
			}
		}
	}
	if err := s.checkContent(cur, next); err != nil {
		return err
	}
	if next.Status.Terminal() {
		if next.StatusMessage == cur.StatusMessage {
			next.StatusMessage = "" // it told of the progress; a message of the ending step stays
		}
		next.Progress = Progress{}
		next.InputResponses, next.State = nil, nil
		next.Lease = Lease{Token: next.Lease.Token}
		lived := max(now.Sub(next.CreatedAt), 0)
		next.TTL = (lived + min(s.opts.Retention, math.MaxInt64-lived)).Truncate(time.Millisecond)
	}
	if err := checkConsistent(&next.Task); err != nil {
		return &InvalidError{Argument: "change", Reason: err.Error()}
	}
	if !sameVisible(&cur.Task, &next.Task) {
		next.Revision++
		if now.After(next.UpdatedAt) {
			next.UpdatedAt = now
		}
	}
	next.ExpiresAt = s.expiry(cur, next, now)
	return nil
}

// checkContent checks only the values that a step has put into next: a limit that was
// lowered must not keep older tasks from ending.
func (s *Store) checkContent(cur, next *record) (err error) {
	if next.StatusMessage != cur.StatusMessage {
		next.StatusMessage = s.statusMessage(next.StatusMessage)
	}
	if p := next.Progress; p.Current < 0 || p.Total < 0 {
		return &InvalidError{Argument: "Progress", Reason: "it is negative"}
	}
	if len(next.State) != 0 && !slices.Equal(next.State, cur.State) {
		if err := within(LimitState, s.opts.MaxStateBytes, len(next.State)); err != nil {
			return err
		}
	}
	if next.Trace != cur.Trace {
		if err := checkTrace(next.Trace); err != nil {
			return err
		}
	}
	if next.TTL != cur.TTL {
		if next.TTL < 0 {
			return &InvalidError{Argument: "TTL", Reason: "it is negative"}
		}
		if next.TTL == 0 {
			next.TTL = -1
		}
		next.TTL = s.opts.ttl(next.TTL)
	}
	if next.PollInterval != cur.PollInterval {
		if next.PollInterval <= 0 {
			return &InvalidError{Argument: "PollInterval", Reason: "it must be positive"}
		}
		next.PollInterval = wholeMillis(next.PollInterval)
	}
	if next.Result != nil {
		if err := within(LimitResult, s.opts.MaxResultBytes, len(next.Result)); err != nil {
			return err
		}
		if next.Result, err = payload("Result", next.Result); err != nil {
			return err
		}
	}
	if e := next.Error; e != nil {
		e.Message = validText(e.Message)
		if err := within(LimitResult, s.opts.MaxResultBytes, len(e.Message)+len(e.Data)); err != nil {
			return err
		}
		if len(e.Data) == 0 {
			e.Data = nil
		} else if e.Data, err = payload("Error.Data", e.Data); err != nil {
			return err
		}
	}
	return nil
}

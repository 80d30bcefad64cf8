package tasks

import (
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/taskstore/taskstore"
)

// decode reads only records that encode could have written: every name is known,
// spelled exactly and occurs once, every value has its one form, and the state is
// possible. The result shares memory with data.
func decode(data []byte) (*record, error) {
	var room [fewMembers]member
	given, err := openObject(data, recordFormat, room[:0])
	if err != nil {
		return nil, err
	}
	r := &record{}
	for _, m := range given {
		if err := r.decodeField(string(m.name), m.value); err != nil {
			if _, known := recordFields[string(m.name)]; !known {
				return nil, corrupt(err)
			}
			return nil, corrupt(fmt.Errorf("%s: %w", m.name, err))
		}
	}
	for name, required := range recordFields {
		if required && !given.has(name) {
			return nil, corrupt(errors.New("it has no " + name))
		}
	}
	if err := r.check(given); err != nil {
		return nil, corrupt(err)
	}
	return r, nil
}

// openObject returns the members of a stored object, appended to into. It first checks
// only that data is an object with a format from 1 to most, so that a newer format may
// change all the rest.
func openObject(data []byte, most uint64, into members) (members, error) {
	all, err := splitObject(data, into)
	if err != nil {
		return nil, corrupt(err)
	}
	var format uint64
	for _, m := range all {
		if string(m.name) == "format" {
			if format, err = jsonUint(m.value); err != nil {
				return nil, corrupt(err)
			}
		}
	}
	switch {
	case format == 0:
		return nil, corrupt(errors.New("it has no format"))
	case format > most:
		return nil, &FormatError{Format: format, Max: most}
	}
	return all, nil
}

// corrupt reports a record that this library did not write in this form.
func corrupt(reason error) error { return &taskstore.CorruptError{Reason: reason.Error()} }

// recordFields lists the names of a record, and says which are required.
var recordFields = map[string]bool{
	"format": true, "write": true, "key": false, "status": true, "message": false, "progress": false,
	"created_at": true, "updated_at": true, "ttl_ms": false, "poll_ms": true, "revision": true,
	"request": false, "input_requests": false, "input_responses": false, "input_keys": false,
	"result": false, "error": false, "cancel_requested": false, "resumable": false,
	"lost_runs": false, "service": false, "lease": false, "state": false, "trace": false,
}

var errUnknownName = errors.New("it has a name that this version does not know")

func (r *record) decodeField(name string, value json.RawMessage) (err error) {
	switch name {
	case "format": // checked before
	case "write":
		r.write, err = jsonString(value)
	case "key":
		r.key, err = jsonString(value)
	case "status":
		var s string
		s, err = jsonString(value)
		r.Status = Status(s)
	case "message":
		r.StatusMessage, err = jsonString(value)
	case "progress":
		r.Progress, err = decodeProgress(value)
	case "created_at":
		r.CreatedAt, err = decodeTime(value)
	case "updated_at":
		r.UpdatedAt, err = decodeTime(value)
	case "ttl_ms":
		r.TTL, err = decodeDuration(value)
	case "poll_ms":
		r.PollInterval, err = decodeDuration(value)
	case "revision":
		r.Revision, err = jsonUint(value)
	case "request":
		r.Request = value
	case "input_requests":
		r.InputRequests, err = decodeInputs(value)
	case "input_responses":
		r.InputResponses, err = decodeInputs(value)
	case "input_keys":
		r.InputKeys, err = decodeStrings(value)
	case "result":
		r.Result = value
	case "error":
		r.Error, err = decodeError(value)
	case "cancel_requested":
		r.CancelRequested, err = jsonTrue(value)
	case "resumable":
		r.Resumable, err = jsonTrue(value)
	case "lost_runs":
		if r.LostRuns, err = jsonUint(value); err == nil && r.LostRuns == 0 {
			err = errNumber
		}
	case "service":
		r.Service, err = jsonName(value)
	case "lease":
		r.Lease, err = decodeLease(value)
	case "state":
		r.State, err = jsonBase64(value)
	case "trace":
		r.Trace, err = decodeTrace(value)
	default:
		err = errUnknownName
	}
	return err
}

func decodeInputs(raw json.RawMessage) (map[string]json.RawMessage, error) {
	var room [fewMembers]member
	given, err := splitObject(raw, room[:0])
	if err == nil && len(given) == 0 {
		err = errEmpty
	}
	inputs := make(map[string]json.RawMessage, len(given))
	for _, m := range given {
		inputs[string(m.name)] = m.value
	}
	return inputs, err
}

func decodeStrings(raw json.RawMessage) ([]string, error) {
	values, err := splitArray(raw)
	all := make([]string, len(values))
	for i, value := range values {
		if err == nil {
			all[i], err = jsonString(value)
		}
	}
	return all, err
}

func decodeProgress(raw json.RawMessage) (Progress, error) {
	var room [fewMembers]member
	given, err := splitObject(raw, room[:0])
	var p Progress
	for _, m := range given {
		if err != nil {
			break
		}
		switch string(m.name) {
		case "current":
			p.Current, err = jsonInt(m.value)
		case "total":
			if p.Total, err = jsonInt(m.value); err == nil && p.Total == 0 {
				err = errNumber
			}
		default:
			err = errUnknownName
		}
	}
	if err == nil && (!given.has("current") || p == (Progress{}) || p.Current < 0 || p.Total < 0) {
		err = errors.New("current is missing, or a number is negative")
	}
	return p, err
}

func decodeTrace(raw json.RawMessage) (Trace, error) {
	var room [fewMembers]member
	given, err := splitObject(raw, room[:0])
	if err == nil && len(given) == 0 {
		err = errEmpty
	}
	var t Trace
	for _, m := range given {
		if err != nil {
			break
		}
		switch string(m.name) {
		case "call":
			t.Call, err = jsonName(m.value)
		case "run":
			t.Run, err = jsonName(m.value)
		default:
			err = errUnknownName
		}
	}
	return t, err
}

func decodeError(raw json.RawMessage) (*Error, error) {
	var room [fewMembers]member
	given, err := splitObject(raw, room[:0])
	e := &Error{}
	for _, m := range given {
		if err != nil {
			break
		}
		switch string(m.name) {
		case "code":
			e.Code, err = jsonInt(m.value)
		case "message":
			e.Message, err = jsonString(m.value)
		case "data":
			e.Data = m.value
		default:
			err = errUnknownName
		}
	}
	if err == nil && (!given.has("code") || !given.has("message")) {
		err = errors.New("no code or no message")
	}
	return e, err
}

func decodeLease(raw json.RawMessage) (Lease, error) {
	var room [fewMembers]member
	given, err := splitObject(raw, room[:0])
	var l Lease
	for _, m := range given {
		if err != nil {
			break
		}
		switch string(m.name) {
		case "holder":
			l.Holder, err = jsonName(m.value)
		case "token":
			l.Token, err = jsonUint(m.value)
		case "expires_at":
			l.ExpiresAt, err = decodeTime(m.value)
		case "idle_since":
			l.IdleSince, err = decodeTime(m.value)
		case "detached":
			l.Detached, err = jsonTrue(m.value)
		default:
			err = errUnknownName
		}
	}
	if err == nil && (l.Token == 0 || l.Holder != "" && l.ExpiresAt.IsZero()) {
		err = errors.New("no token or no expires_at")
	}
	if err == nil && l.Detached && l.Holder == "" {
		err = errors.New("detached: without a holder")
	}
	return l, err
}

// The range of stored numbers: a backend takes instants up to the year 9999.
const (
	maxMillis         = 253402300799999
	maxDurationMillis = int64(1<<63-1) / int64(time.Millisecond)
)

func decodeTime(raw json.RawMessage) (time.Time, error) {
	ms, err := jsonInt(raw)
	if err != nil || ms <= 0 || ms > maxMillis {
		return time.Time{}, errNumber
	}
	return time.UnixMilli(ms).UTC(), nil
}

func decodeDuration(raw json.RawMessage) (time.Duration, error) {
	ms, err := jsonInt(raw)
	if err != nil || ms <= 0 || ms > maxDurationMillis {
		return 0, errNumber
	}
	return time.Duration(ms) * time.Millisecond, nil
}

// check refuses values that contradict each other. given holds the names in the record.
func (r *record) check(given members) error {
	_, known := transitions[r.Status]
	terminal := r.Status.Terminal()
	switch {
	case !known:
		return errors.New("status: not a known one")
	case r.write == "" || given.has("key") && r.key == "":
		return errors.New("write or key: empty")
	case given.has("message") && r.StatusMessage == "":
		return errors.New("message: empty")
	case r.Revision == 0:
		return errors.New("revision: 0")
	case given.has("input_keys") && len(r.InputKeys) == 0:
		return errors.New("input_keys: empty")
	case terminal && r.Lease != (Lease{Token: r.Lease.Token}):
		return errors.New("lease: held after the end")
	case !r.Lease.IdleSince.IsZero() && r.Lease.ExpiresAt.IsZero() && !r.Resumable:
		return errors.New("idle_since: released, and not resumable")
	case r.Status == Working && !r.Lease.IdleSince.IsZero() && !r.Lease.ExpiresAt.IsZero() && !r.Lease.over(r.Lease.IdleSince):
		return errors.New("idle_since: within the lease")
	case r.Lease.Detached && r.Resumable:
		return errors.New("detached: and resumable")
	case r.Lease.Detached && r.Status == InputRequired && r.Lease.IdleSince.IsZero():
		return errors.New("idle_since: missing, although detached work waits for input")
	case r.CancelRequested && !terminal && (r.Lease.Holder == "" || r.Status == InputRequired):
		return errors.New("cancel_requested: without a runner")
	case terminal && given.has("progress"):
		return errors.New("progress: left after the end")
	case terminal && (given.has("state") || given.has("input_responses")):
		return errors.New("state or input_responses: left after the end")
	}
	if err := checkConsistent(&r.Task); err != nil {
		return err
	}
	for i, key := range r.InputKeys {
		if i > 0 && r.InputKeys[i-1] >= key {
			return errors.New("input_keys: not sorted")
		}
	}
	for _, inputs := range []map[string]json.RawMessage{r.InputRequests, r.InputResponses} {
		for key := range inputs {
			if _, asked := slices.BinarySearch(r.InputKeys, key); !asked {
				return errors.New("input_keys: one is missing")
			}
		}
	}
	return nil
}

// checkConsistent refuses a status without the fields that belong to it, and the
// reverse.
func checkConsistent(t *Task) error {
	switch {
	case (t.Status == Completed) != (t.Result != nil):
		return errors.New("a task has a result if and only if it is completed")
	case (t.Status == Failed) != (t.Error != nil):
		return errors.New("a task has an error if and only if it failed")
	case (t.Status == InputRequired) != (len(t.InputRequests) > 0):
		return errors.New("a task has input requests if and only if it requires input")
	case t.Status == InputRequired && !t.Lease.Detached && t.Lease != (Lease{Token: t.Lease.Token}):
		return errors.New("a task that requires input has no lease")
	}
	return nil
}

package tasks

import (
	"encoding/base64"
	"encoding/json"
	"maps"
	"slices"
	"strings"
	"unicode/utf8"
)

// recordFormat is the format that this version writes, and the newest that it reads.
const recordFormat = 1

// A record is a task as it is stored, with the fields that callers do not see.
//
//	format           1
//	write            names the write that made this state
//	key              hash of the idempotency key, if there is one
//	status           as on the wire
//	message          StatusMessage
//	progress         {current, total}
//	created_at       Unix milliseconds; updated_at too
//	ttl_ms, poll_ms  ttl_ms is left out if the task is without end
//	revision
//	request, result, input_requests, input_responses
//	input_keys       sorted
//	error            {code, message, data}
//	cancel_requested, resumable
//	lost_runs
//	service
//	lease            {holder, token, expires_at, idle_since, detached}
//	state            base64
//	trace            {call, run}
//
// Zero values are left out. The backend keeps owner, id and expiry beside the record,
// so they are not in it: two places could contradict each other.
type record struct {
	Task
	write string
	// settledNow is not stored: the state was made by settling the task.
	settledNow bool
}

// clone returns a copy that shares no memory with r.
func (r *record) clone() *record {
	return &record{Task: r.Task.clone(), write: r.write}
}

// encode returns the bytes to store.
func (r *record) encode() []byte {
	size := len(r.Request) + len(r.Result) + base64.StdEncoding.EncodedLen(len(r.State))
	w := objectWriter{buf: make([]byte, 0, size+512)}
	w.open()
	w.uint("format", recordFormat)
	w.string("write", r.write)
	if r.key != "" {
		w.string("key", r.key)
	}
	w.string("status", string(r.Status))
	if r.StatusMessage != "" {
		w.string("message", r.StatusMessage)
	}
	if r.Progress != (Progress{}) {
		w.name("progress")
		w.open()
		w.int("current", r.Progress.Current)
		if r.Progress.Total != 0 {
			w.int("total", r.Progress.Total)
		}
		w.close()
	}
	w.int("created_at", r.CreatedAt.UnixMilli())
	w.int("updated_at", r.UpdatedAt.UnixMilli())
	if r.TTL != 0 {
		w.int("ttl_ms", r.TTL.Milliseconds())
	}
	w.int("poll_ms", r.PollInterval.Milliseconds())
	w.uint("revision", r.Revision)
	if r.Request != nil {
		w.raw("request", r.Request)
	}
	writeInputs(&w, "input_requests", r.InputRequests)
	writeInputs(&w, "input_responses", r.InputResponses)
	if len(r.InputKeys) > 0 {
		w.name("input_keys")
		for i, key := range r.InputKeys {
			w.buf = append(w.buf, "[,"[min(i, 1)])
			w.buf = appendJSONString(w.buf, key)
		}
		w.buf = append(w.buf, ']')
	}
	if r.Result != nil {
		w.raw("result", r.Result)
	}
	if r.Error != nil {
		w.name("error")
		w.open()
		w.int("code", r.Error.Code)
		w.string("message", r.Error.Message)
		if r.Error.Data != nil {
			w.raw("data", r.Error.Data)
		}
		w.close()
	}
	if r.CancelRequested {
		w.raw("cancel_requested", json.RawMessage("true"))
	}
	if r.Resumable {
		w.raw("resumable", json.RawMessage("true"))
	}
	if r.LostRuns != 0 {
		w.uint("lost_runs", r.LostRuns)
	}
	if r.Service != "" {
		w.string("service", r.Service)
	}
	if r.Lease.Token != 0 {
		w.name("lease")
		w.open()
		if r.Lease.Holder != "" {
			w.string("holder", r.Lease.Holder)
		}
		w.uint("token", r.Lease.Token)
		if !r.Lease.ExpiresAt.IsZero() {
			w.int("expires_at", r.Lease.ExpiresAt.UnixMilli())
		}
		if !r.Lease.IdleSince.IsZero() {
			w.int("idle_since", r.Lease.IdleSince.UnixMilli())
		}
		if r.Lease.Detached {
			w.raw("detached", json.RawMessage("true"))
		}
		w.close()
	}
	if len(r.State) > 0 {
		w.string("state", base64.StdEncoding.EncodeToString(r.State))
	}
	if r.Trace != (Trace{}) {
		w.name("trace")
		w.open()
		if r.Trace.Call != "" {
			w.string("call", r.Trace.Call)
		}
		if r.Trace.Run != "" {
			w.string("run", r.Trace.Run)
		}
		w.close()
	}
	w.close()
	return w.buf
}

func writeInputs(w *objectWriter, name string, inputs map[string]json.RawMessage) {
	if len(inputs) == 0 {
		return
	}
	w.name(name)
	w.open()
	for _, key := range slices.Sorted(maps.Keys(inputs)) {
		w.raw(key, inputs[key])
	}
	w.close()
}

// statusMessage returns m as it is kept: valid UTF-8, and cut at a rune to the limit.
// It is for people, so a longer one is no error.
func (s *Store) statusMessage(m string) string {
	m = validText(m)
	most := s.opts.MaxStatusMessageBytes
	if most < 0 || len(m) <= most {
		return m
	}
	for !utf8.RuneStart(m[most]) {
		most--
	}
	return m[:most]
}

// validText replaces bytes that are not UTF-8, which JSON cannot carry.
func validText(s string) string { return strings.ToValidUTF8(s, "\uFFFD") }

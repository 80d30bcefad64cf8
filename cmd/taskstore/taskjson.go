package main

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"time"
	"unicode/utf8"

	"github.com/taskstore/taskstore/tasks"
)

// A taskView is a task as the command shows it. Its JSON is stable: names are added, and
// none is renamed, removed or given another meaning.
type taskView struct {
	ID              string     `json:"id"`
	Owner           string     `json:"owner"`
	OwnerBase64     string     `json:"owner_base64,omitempty"` // where Owner is not UTF-8
	Status          string     `json:"status"`
	StatusMessage   string     `json:"status_message,omitempty"`
	Tool            string     `json:"tool,omitempty"`
	Service         string     `json:"service,omitempty"`
	Orphan          bool       `json:"orphan"`
	CancelRequested bool       `json:"cancel_requested"`
	Resumable       bool       `json:"resumable"`
	CreatedAt       time.Time  `json:"created_at"`
	UpdatedAt       time.Time  `json:"updated_at"`
	ExpiresAt       *time.Time `json:"expires_at,omitempty"`
	TTLMillis       int64      `json:"ttl_ms"`
	PollMillis      int64      `json:"poll_interval_ms"`
	Lease           *leaseView `json:"lease,omitempty"`
	ErrorCode       *int64     `json:"error_code,omitempty"`
	Questions       int        `json:"questions"`
	Revision        uint64     `json:"revision"`
	Version         uint64     `json:"version"`
	Bytes           bytesView  `json:"bytes"`
	*payloadView
}

// A leaseView tells who runs a task.
type leaseView struct {
	Holder    string     `json:"holder,omitempty"`
	Token     uint64     `json:"token"` // how often it was taken over, the first time included
	ExpiresAt *time.Time `json:"expires_at,omitempty"`
	IdleSince *time.Time `json:"idle_since,omitempty"`
}

// bytesView are sizes.
type bytesView struct {
	Record  int `json:"record"`
	Request int `json:"request"`
	Result  int `json:"result"`
	State   int `json:"state"`
}

// A payloadView is what a client sent and gets; it is shown when it is asked for.
type payloadView struct {
	Request        json.RawMessage            `json:"request,omitempty"`
	Result         json.RawMessage            `json:"result,omitempty"`
	Error          *errorView                 `json:"error,omitempty"`
	InputRequests  map[string]json.RawMessage `json:"input_requests,omitempty"`
	InputResponses map[string]json.RawMessage `json:"input_responses,omitempty"`
}

type errorView struct {
	Code    int64           `json:"code"`
	Message string          `json:"message"`
	Data    json.RawMessage `json:"data,omitempty"`
}

// viewOf returns t as it is at now.
func viewOf(t tasks.Stored, now time.Time, payload bool) taskView {
	v := taskView{
		ID: t.ID, Owner: t.Owner, Status: string(t.Status), StatusMessage: t.StatusMessage, Tool: toolOf(t.Task), Service: t.Service,
		Orphan: isOrphan(t.Task, now), CancelRequested: t.CancelRequested, Resumable: t.Resumable,
		CreatedAt: t.CreatedAt, UpdatedAt: t.UpdatedAt, ExpiresAt: instant(t.ExpiresAt),
		TTLMillis: t.TTL.Milliseconds(), PollMillis: t.PollInterval.Milliseconds(),
		Questions: len(t.InputRequests), Revision: t.Revision, Version: uint64(t.Version),
		Bytes: bytesView{Record: t.Bytes, Request: len(t.Request), Result: len(t.Result), State: len(t.State)},
	}
	if !utf8.ValidString(t.Owner) {
		v.OwnerBase64 = base64.StdEncoding.EncodeToString([]byte(t.Owner))
	}
	if t.Lease != (tasks.Lease{}) {
		v.Lease = &leaseView{Holder: t.Lease.Holder, Token: t.Lease.Token, ExpiresAt: instant(t.Lease.ExpiresAt), IdleSince: instant(t.Lease.IdleSince)}
	}
	if t.Error != nil {
		v.ErrorCode = &t.Error.Code
	}
	if payload {
		v.payloadView = &payloadView{Request: t.Request, Result: t.Result, InputRequests: t.InputRequests, InputResponses: t.InputResponses}
		if t.Error != nil {
			v.Error = &errorView{Code: t.Error.Code, Message: t.Error.Message, Data: t.Error.Data}
		}
	}
	return v
}

func instant(t time.Time) *time.Time {
	if t.IsZero() {
		return nil
	}
	return &t
}

// isOrphan reports whether nobody is known to work on a task that somebody should work on.
func isOrphan(t tasks.Task, now time.Time) bool {
	return t.Status == tasks.Working &&
		(!t.Lease.ExpiresAt.IsZero() && now.After(t.Lease.ExpiresAt) || !t.Lease.IdleSince.IsZero())
}

// toolOf returns the name of the tool that was called, as mcptasks stores it; "": the
// request has none.
func toolOf(t tasks.Task) string {
	var call struct {
		Name string `json:"name"`
	}
	if json.Unmarshal(t.Request, &call) != nil {
		return ""
	}
	return call.Name
}

// encode returns v as JSON on one line, or on several, that a terminal can be shown.
func encode(v any, indent string) ([]byte, error) {
	var w bytes.Buffer
	e := json.NewEncoder(&w)
	e.SetEscapeHTML(false)
	e.SetIndent("", indent)
	if err := e.Encode(v); err != nil {
		return nil, err
	}
	return safeJSON(w.Bytes()), nil
}

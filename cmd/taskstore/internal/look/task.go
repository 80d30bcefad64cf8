// Package look is how the command sees a store: a task in its stable form, the owners, one
// task by its id, and errors with what to do.
package look

import (
	"encoding/base64"
	"encoding/json"
	"time"
	"unicode/utf8"

	"github.com/taskstore/taskstore/tasks"
)

// A Task is a task as the command shows it. Its JSON is stable: names are added, and
// none is renamed, removed or given another meaning.
type Task struct {
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
	Lease           *Lease     `json:"lease,omitempty"`
	ErrorCode       *int64     `json:"error_code,omitempty"`
	Questions       int        `json:"questions"`
	Revision        uint64     `json:"revision"`
	Version         uint64     `json:"version"`
	Bytes           Bytes      `json:"bytes"`
	*Payload
}

// A Lease tells who runs a task.
type Lease struct {
	Holder    string     `json:"holder,omitempty"`
	Token     uint64     `json:"token"` // how often it was taken over, the first time included
	ExpiresAt *time.Time `json:"expires_at,omitempty"`
	IdleSince *time.Time `json:"idle_since,omitempty"`
}

// Bytes are sizes.
type Bytes struct {
	Record  int `json:"record"`
	Request int `json:"request"`
	Result  int `json:"result"`
	State   int `json:"state"`
}

// A Payload is what a client sent and gets; it is shown when it is asked for.
type Payload struct {
	Request        json.RawMessage            `json:"request,omitempty"`
	Result         json.RawMessage            `json:"result,omitempty"`
	Error          *Error                     `json:"error,omitempty"`
	InputRequests  map[string]json.RawMessage `json:"input_requests,omitempty"`
	InputResponses map[string]json.RawMessage `json:"input_responses,omitempty"`
}

type Error struct {
	Code    int64           `json:"code"`
	Message string          `json:"message"`
	Data    json.RawMessage `json:"data,omitempty"`
}

// TaskOf returns t as it is at now.
func TaskOf(t tasks.Stored, now time.Time, payload bool) Task {
	v := Task{
		ID: t.ID, Owner: t.Owner, Status: string(t.Status), StatusMessage: t.StatusMessage, Tool: ToolOf(t.Task), Service: t.Service,
		Orphan: IsOrphan(t.Task, now), CancelRequested: t.CancelRequested, Resumable: t.Resumable,
		CreatedAt: t.CreatedAt, UpdatedAt: t.UpdatedAt, ExpiresAt: instant(t.ExpiresAt),
		TTLMillis: t.TTL.Milliseconds(), PollMillis: t.PollInterval.Milliseconds(),
		Questions: len(t.InputRequests), Revision: t.Revision, Version: uint64(t.Version),
		Bytes: Bytes{Record: t.Bytes, Request: len(t.Request), Result: len(t.Result), State: len(t.State)},
	}
	if !utf8.ValidString(t.Owner) {
		v.OwnerBase64 = base64.StdEncoding.EncodeToString([]byte(t.Owner))
	}
	if t.Lease != (tasks.Lease{}) {
		v.Lease = &Lease{Holder: t.Lease.Holder, Token: t.Lease.Token, ExpiresAt: instant(t.Lease.ExpiresAt), IdleSince: instant(t.Lease.IdleSince)}
	}
	if t.Error != nil {
		v.ErrorCode = &t.Error.Code
	}
	if payload {
		v.Payload = &Payload{Request: t.Request, Result: t.Result, InputRequests: t.InputRequests, InputResponses: t.InputResponses}
		if t.Error != nil {
			v.Error = &Error{Code: t.Error.Code, Message: t.Error.Message, Data: t.Error.Data}
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

// IsOrphan reports whether nobody is known to work on a task that somebody should work on.
func IsOrphan(t tasks.Task, now time.Time) bool {
	return t.Status == tasks.Working &&
		(!t.Lease.ExpiresAt.IsZero() && now.After(t.Lease.ExpiresAt) || !t.Lease.IdleSince.IsZero())
}

// ToolOf returns the name of the tool that was called, as mcptasks stores the call, or as
// its earlier versions did; "": the request is no call of a tool.
func ToolOf(t tasks.Task) string {
	var call struct {
		Method string `json:"method"`
		Name   string `json:"name"`
		Params struct {
			Name string `json:"name"`
		} `json:"params"`
	}
	switch {
	case json.Unmarshal(t.Request, &call) != nil:
		return ""
	case call.Method == "tools/call":
		return call.Params.Name
	case call.Method == "":
		return call.Name
	}
	return ""
}

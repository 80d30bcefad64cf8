package mcptasks

import (
	"encoding/base64"
	"encoding/json"
	"strings"
	"time"

	"github.com/modelcontextprotocol/go-sdk/jsonrpc"
	"github.com/modelcontextprotocol/go-sdk/mcp"

	"github.com/taskstore/taskstore/tasks"
)

// ExtensionID identifies the extension in capabilities.
const ExtensionID = "io.modelcontextprotocol/tasks"

const (
	methodCall       = "tools/call"
	methodDiscover   = "server/discover"
	methodInitialize = "initialize"
	methodList       = "tools/list"
	methodListen     = "subscriptions/listen"
	methodGet        = "tasks/get"
	methodUpdate     = "tasks/update"
	methodElicit     = "elicitation/create"
	methodCancel     = "tasks/cancel"

	notificationTasks    = "notifications/tasks"
	notificationProgress = "notifications/progress"
	notificationLog      = "notifications/message"
	notificationAck      = "notifications/subscriptions/acknowledged"

	// firstVersion is the first protocol version that has extensions.
	firstVersion = "2026-07-28"

	headerMethod  = "Mcp-Method"
	headerName    = "Mcp-Name"
	headerVersion = "Mcp-Protocol-Version"
)

// taskFields are a task on the wire: the extension's Task, and with the fields of its
// status its DetailedTask.
type taskFields struct {
	TaskID         string                     `json:"taskId"`
	Status         tasks.Status               `json:"status"`
	StatusMessage  string                     `json:"statusMessage,omitempty"`
	CreatedAt      string                     `json:"createdAt"`
	LastUpdatedAt  string                     `json:"lastUpdatedAt"`
	TTLMs          *int64                     `json:"ttlMs"` // null: unlimited
	PollIntervalMs int64                      `json:"pollIntervalMs"`
	InputRequests  map[string]json.RawMessage `json:"inputRequests,omitempty"`
	Result         json.RawMessage            `json:"result,omitempty"`
	Error          *errorFields               `json:"error,omitempty"`
}

type errorFields struct {
	Code    int64           `json:"code"`
	Message string          `json:"message"`
	Data    json.RawMessage `json:"data,omitempty"`
}

// A taskResult answers tools/call ("task") and tasks/get ("complete").
type taskResult struct {
	mcp.ResultBase
	ResultType string `json:"resultType"`
	taskFields
}

// An ack answers tasks/update and tasks/cancel.
type ack struct {
	mcp.ResultBase
	ResultType string `json:"resultType"`
}

// taskParams are the parameters of the three methods. They are decoded later, so that
// malformed ones get a proper error.
type taskParams struct {
	mcp.ParamsBase
	TaskID         json.RawMessage `json:"taskId,omitempty"`
	InputResponses json.RawMessage `json:"inputResponses,omitempty"`
}

// wireTime is ISO 8601 in UTC, always with milliseconds.
func wireTime(t time.Time) string { return t.UTC().Format("2006-01-02T15:04:05.000Z") }

// toWire returns the Task of t.
func toWire(t *tasks.Task) taskFields {
	f := taskFields{
		TaskID:         wireID(t.Owner, t.ID),
		Status:         t.Status,
		StatusMessage:  t.StatusMessage,
		CreatedAt:      wireTime(t.CreatedAt),
		LastUpdatedAt:  wireTime(t.UpdatedAt),
		PollIntervalMs: t.PollInterval.Milliseconds(),
	}
	if t.TTL > 0 {
		ms := t.TTL.Milliseconds()
		f.TTLMs = &ms
	}
	if t.Error != nil && f.StatusMessage == "" {
		f.StatusMessage = t.Error.Message // says why
	}
	return f
}

// toWireDetailed returns the DetailedTask of t.
func toWireDetailed(t *tasks.Task) taskFields {
	f := toWire(t)
	switch t.Status {
	case tasks.InputRequired:
		f.InputRequests = t.InputRequests
	case tasks.Completed:
		f.Result = t.Result
	case tasks.Failed:
		f.Error = &errorFields{Code: t.Error.Code, Message: t.Error.Message, Data: t.Error.Data}
	}
	return f
}

// headerValue returns s as the value of a header: the protocol encodes a string that
// cannot be one by itself.
func headerValue(s string) string {
	plain := s == strings.TrimSpace(s) && !strings.HasPrefix(s, "=?base64?")
	for _, c := range []byte(s) {
		plain = plain && c >= 0x20 && c <= 0x7e
	}
	if plain {
		return s
	}
	return "=?base64?" + base64.StdEncoding.EncodeToString([]byte(s)) + "?="
}

// decodeHeaderValue reverses headerValue, and returns empty for a damaged value.
func decodeHeaderValue(s string) string {
	encoded, ok := strings.CutPrefix(s, "=?base64?")
	if !ok {
		return s
	}
	if encoded, ok = strings.CutSuffix(encoded, "?="); !ok {
		return s
	}
	decoded, err := base64.StdEncoding.DecodeString(encoded)
	if err != nil {
		return ""
	}
	return string(decoded)
}

// mustMarshal is for values that always marshal: they were decoded before.
func mustMarshal(v any) json.RawMessage {
	b, err := json.Marshal(v)
	if err != nil {
		panic(err)
	}
	return b
}

// subscriptionID returns the id of the request that a notification belongs to.
func subscriptionID(params json.RawMessage) jsonrpc.ID {
	var p struct {
		Meta map[string]any `json:"_meta"`
	}
	_ = json.Unmarshal(params, &p)
	id, _ := jsonrpc.MakeID(p.Meta[mcp.MetaKeySubscriptionID])
	return id
}

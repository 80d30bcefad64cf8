package mcptasks

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"strconv"

	"github.com/modelcontextprotocol/go-sdk/jsonrpc"
)

// Handler is the edge of an HTTP server: put it around the SDK's handler, which
// must be Stateless, and within what authenticates requests. It answers a request
// whose Mcp-Name header is not the task's id with status 400, and makes
// subscriptions/listen push notifications/tasks: first each task as it is, then
// every change, wherever the task runs. Without it clients have to poll.
//
// Only requests that say by Mcp-Method that they are about tasks or subscriptions
// are looked at; all others go through as they are.
func (t *Tasks) Handler(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		method := r.Header.Get(headerMethod)
		about := method == methodGet || method == methodUpdate || method == methodCancel || method == methodListen
		if r.Method != http.MethodPost || !about || r.Header.Get(headerVersion) < firstVersion {
			next.ServeHTTP(w, r)
			return
		}
		body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, t.opts.MaxRequestBytes))
		if err != nil {
			status := http.StatusBadRequest
			if tooBig := (*http.MaxBytesError)(nil); errors.As(err, &tooBig) {
				status = http.StatusRequestEntityTooLarge
			}
			http.Error(w, http.StatusText(status), status)
			return
		}
		var message map[string]json.RawMessage
		if json.Unmarshal(body, &message) != nil || message["id"] == nil {
			serveBody(next, w, r, body) // the SDK says what is wrong
			return
		}
		if method == methodListen {
			t.serveListen(next, w, r, message, body)
			return
		}
		var params struct {
			TaskID string `json:"taskId"`
		}
		if json.Unmarshal(message["params"], &params) == nil && params.TaskID != "" {
			if err := checkName(r.Header, params.TaskID); err != nil {
				refuse(w, message["id"], err)
				return
			}
		}
		serveBody(next, w, r, body)
	})
}

// serveBody has next serve r with another body.
func serveBody(next http.Handler, w http.ResponseWriter, r *http.Request, body []byte) {
	r = r.Clone(r.Context())
	r.Body = io.NopCloser(bytes.NewReader(body))
	r.ContentLength = int64(len(body))
	r.Header.Set("Content-Length", strconv.Itoa(len(body)))
	next.ServeHTTP(w, r)
}

// refuse answers with a JSON-RPC error and status 400.
func refuse(w http.ResponseWriter, id json.RawMessage, err error) {
	var wire *jsonrpc.Error
	if !errors.As(err, &wire) {
		wire = internalError("internal error")
	}
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(http.StatusBadRequest)
	_, _ = w.Write(mustMarshal(map[string]any{
		"jsonrpc": "2.0", "id": id, "error": errorFields{Code: wire.Code, Message: wire.Message, Data: wire.Data},
	}))
}

func (t *Tasks) serveListen(next http.Handler, w http.ResponseWriter, r *http.Request, message map[string]json.RawMessage, body []byte) {
	l, params, err := t.newListen(message["id"], message["params"])
	if err != nil {
		refuse(w, message["id"], err)
		return
	}
	if l == nil {
		serveBody(next, w, r, body)
		return
	}
	defer t.drop(l)
	events := &eventWriter{ResponseWriter: w, listen: l}
	l.push = func(_ context.Context, params json.RawMessage) error {
		return events.event(mustMarshal(map[string]any{"jsonrpc": "2.0", "method": notificationTasks, "params": params}))
	}
	message["params"] = params
	// Nothing can be written to w when this has returned. A handler of the SDK may
	// be a moment behind its client.
	defer events.close()
	serveBody(next, events, r, mustMarshal(message))
}

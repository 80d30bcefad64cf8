package mcptasks

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"strconv"
	"time"

	"github.com/modelcontextprotocol/go-sdk/jsonrpc"
)

// Handler is the part of an HTTP server that tasks need beside the SDK: put it around the
// SDK's handler, which must be Stateless, and inside the handler that authenticates
// requests. [Tasks.HTTPHandler] is the SDK's handlers and this in one; use Handler to
// route requests to handlers of the SDK yourself. It
//
//   - makes subscriptions/listen push notifications/tasks: first each task as it is,
//     then every change, on any replica. Without it clients have to poll;
//   - keeps such streams open: proxies are told not to buffer them, a comment goes
//     out after 15 seconds without an event, and [http.Server].WriteTimeout does not
//     apply: a write that a client does not take for 30 seconds ends the stream. If the
//     ResponseWriter cannot flush, as that of [http.TimeoutHandler], the answer is
//     status 500 with an error that says so;
//   - answers with status 503 and Retry-After, in seconds, if the JSON-RPC error
//     is -32603 with "retryable": true in its data: the store cannot be reached, or
//     the server shuts down. A client should make the same request again after
//     retryAfterMs of the data, which is all that other transports have; a task that
//     it knows of goes on meanwhile;
//   - answers with status 400 if the Mcp-Name header is not the task's id.
//
// All else goes through as it is.
func (t *Tasks) Handler(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Method != http.MethodPost || r.Header.Get(headerVersion) < firstVersion {
			next.ServeHTTP(w, r)
			return
		}
		answers := &answerWriter{ResponseWriter: w, tasks: t, request: r}
		if r.Header.Get(headerMethod) == methodListen {
			t.serveListen(next, answers, r)
			return
		}
		next.ServeHTTP(answers, r)
	})
}

// serveListen serves a subscriptions/listen.
func (t *Tasks) serveListen(next http.Handler, w *answerWriter, r *http.Request) {
	body, err := io.ReadAll(http.MaxBytesReader(w.ResponseWriter, r.Body, t.opts.MaxRequestBytes))
	if err != nil {
		status := http.StatusBadRequest
		if tooBig := (*http.MaxBytesError)(nil); errors.As(err, &tooBig) {
			status = http.StatusRequestEntityTooLarge
		}
		http.Error(w, http.StatusText(status), status)
		return
	}
	m, err := jsonrpc.DecodeMessage(body)
	req, ok := m.(*jsonrpc.Request)
	if err != nil || !ok || req.Method != methodListen || !req.IsCall() {
		serveBody(next, w, r, body) // the SDK answers with the error
		return
	}
	if !canFlush(w.ResponseWriter) {
		t.log.cannotFlush()
		refuse(w, http.StatusInternalServerError, req.ID,
			internalError("this server cannot stream: its ResponseWriter cannot flush; poll with tasks/get"))
		return
	}
	s, changed, refusal := t.subscribe(req)
	if refusal != nil {
		refuse(w, http.StatusBadRequest, req.ID, refusal)
		return
	}
	events := newEventWriter(w, s, t.keepAlive)
	// Once this has returned, w gets no more writes.
	defer events.close()
	if s == nil {
		serveBody(next, events, r, body)
		return
	}
	defer t.subscriptions.close(s)
	s.push = func(_ context.Context, params json.RawMessage) error {
		return events.event(mustMarshal(map[string]any{"jsonrpc": "2.0", "method": notificationTasks, "params": params}))
	}
	if body, err = jsonrpc.EncodeMessage(changed); err != nil {
		refuse(w, http.StatusBadRequest, req.ID, internalError("internal error"))
		return
	}
	serveBody(next, events, r, body)
}

// serveBody has next serve r with another body.
func serveBody(next http.Handler, w http.ResponseWriter, r *http.Request, body []byte) {
	r = r.Clone(r.Context())
	r.Body = io.NopCloser(bytes.NewReader(body))
	r.ContentLength = int64(len(body))
	r.Header.Set("Content-Length", strconv.Itoa(len(body)))
	next.ServeHTTP(w, r)
}

// refuse answers with a JSON-RPC error and the status, or with 503 if the error says when
// to ask again.
func refuse(w http.ResponseWriter, status int, id jsonrpc.ID, refusal *jsonrpc.Error) {
	answer, err := jsonrpc.EncodeMessage(&jsonrpc.Response{ID: id, Error: refusal})
	if err != nil {
		http.Error(w, refusal.Message, status)
		return
	}
	w.Header().Set("Content-Type", "application/json")
	if wait, ok := retryAfterOf(refusal); ok {
		w.Header().Set("Retry-After", wait)
		status = http.StatusServiceUnavailable
	}
	w.WriteHeader(status)
	_, _ = w.Write(answer)
}

// canFlush reports whether writes to w can be sent at once.
func canFlush(w http.ResponseWriter) bool {
	for {
		switch writer := w.(type) {
		case http.Flusher, interface{ FlushError() error }:
			return true
		case interface{ Unwrap() http.ResponseWriter }:
			w = writer.Unwrap()
		default:
			return false
		}
	}
}

// keepAlive is how often a stream says that it lives. Proxies close one that is
// silent, most of them after a minute.
const keepAlive = 15 * time.Second

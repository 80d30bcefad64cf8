package mcptasks

import (
	"bytes"
	"encoding/json"
	"net/http"
	"strings"
	"sync"
)

// An eventWriter passes server-sent events on, whole, so that others can be sent
// between them, and completes the acknowledgement among them. What is not events
// it passes on as it is.
type eventWriter struct {
	http.ResponseWriter
	listen *listen

	mu      sync.Mutex
	started bool
	events  bool // the response is a stream of events
	closed  bool
	buf     []byte // of an event that is not whole yet
}

func (w *eventWriter) WriteHeader(status int) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.start(status)
	w.ResponseWriter.WriteHeader(status)
}

// start is called before the first byte is written.
func (w *eventWriter) start(status int) {
	if !w.started {
		w.started = true
		w.events = status == http.StatusOK && strings.HasPrefix(w.Header().Get("Content-Type"), "text/event-stream")
	}
}

func (w *eventWriter) Write(p []byte) (int, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.closed {
		return 0, http.ErrHandlerTimeout
	}
	w.start(http.StatusOK)
	if !w.events {
		return w.ResponseWriter.Write(p)
	}
	w.buf = append(w.buf, p...)
	for {
		end := bytes.Index(w.buf, []byte("\n\n"))
		if end < 0 {
			return len(p), nil
		}
		event := w.buf[:end+2]
		completed, isAck := w.complete(event)
		if _, err := w.ResponseWriter.Write(completed); err != nil {
			return 0, err
		}
		if isAck {
			// Its receiver must have it before the first push can be late.
			_ = http.NewResponseController(w.ResponseWriter).Flush()
			w.listen.sent()
		}
		w.buf = w.buf[end+2:]
	}
}

// complete returns the event, with the tasks if it is the acknowledgement.
func (w *eventWriter) complete(event []byte) (_ []byte, isAck bool) {
	var out bytes.Buffer
	for line := range bytes.Lines(event) {
		data, ok := bytes.CutPrefix(line, []byte("data: "))
		var message map[string]json.RawMessage
		if !ok || !bytes.Contains(data, []byte(notificationAck)) || json.Unmarshal(data, &message) != nil ||
			string(message["method"]) != `"`+notificationAck+`"` {
			out.Write(line)
			continue
		}
		isAck = true
		message["params"] = w.listen.acknowledge(message["params"])
		out.WriteString("data: ")
		out.Write(mustMarshal(message))
		out.WriteByte('\n')
	}
	return out.Bytes(), isAck
}

// event sends an event of our own.
func (w *eventWriter) event(data []byte) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.closed {
		return http.ErrHandlerTimeout
	}
	if _, err := w.ResponseWriter.Write([]byte("event: message\ndata: " + string(data) + "\n\n")); err != nil {
		return err
	}
	return http.NewResponseController(w.ResponseWriter).Flush()
}

// FlushError is how an [http.ResponseController] flushes.
func (w *eventWriter) FlushError() error {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.closed {
		return http.ErrHandlerTimeout
	}
	return http.NewResponseController(w.ResponseWriter).Flush()
}

// Unwrap is how an [http.ResponseController] finds the rest.
func (w *eventWriter) Unwrap() http.ResponseWriter { return w.ResponseWriter }

// close ends all writing, also by goroutines that have not noticed yet.
func (w *eventWriter) close() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.closed = true
}

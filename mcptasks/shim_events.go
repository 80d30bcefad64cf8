package mcptasks

import (
	"bytes"
	"encoding/json"
	"net/http"
	"sync"
	"time"
)

// takesAtMost is how long a client may take to accept an event or comment. It is
// longer than keepAlive, so that each write renews it.
const takesAtMost = 30 * time.Second

// An eventWriter is a stream of server-sent events that stays open: it passes events on,
// whole, so that others can be sent between them, completes the acknowledgement among
// them, and sends a comment if no event is sent for a while. It lifts the server's
// deadline for writing, which is for ordinary answers. It passes other responses on
// unchanged.
type eventWriter struct {
	http.ResponseWriter
	control   *http.ResponseController
	s         *subscription // nil: no tasks
	keepAlive time.Duration

	mu      sync.Mutex
	started bool
	events  bool // the response is a stream of events
	acked   bool
	closed  bool
	buf     []byte      // of an event that is not whole yet
	idle    *time.Timer // sends the next comment
}

// newEventWriter returns a stream on w for the subscription, if there is one. The
// caller must close it.
func newEventWriter(w http.ResponseWriter, s *subscription, keepAlive time.Duration) *eventWriter {
	e := &eventWriter{ResponseWriter: w, control: http.NewResponseController(w), s: s, keepAlive: keepAlive}
	// Over HTTP/2 the deadline ends the stream when it passes, over HTTP/1 at the next
	// write. A writer without deadlines has no deadline to lift.
	_ = e.control.SetWriteDeadline(time.Time{})
	return e
}

func (w *eventWriter) WriteHeader(status int) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.closed {
		return
	}
	w.start(status)
	w.ResponseWriter.WriteHeader(status)
}

// start is called before the first byte is written.
func (w *eventWriter) start(status int) {
	if !w.started {
		w.started = true
		w.events = status == http.StatusOK && isEvents(w.Header())
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
		event, isAck := w.complete(w.buf[:end+2])
		if err := w.send(event); err != nil {
			return 0, err
		}
		if isAck {
			w.s.sent()
		}
		w.buf = w.buf[end+2:]
	}
}

// complete returns the event, with the tasks if it is the acknowledgement.
func (w *eventWriter) complete(event []byte) (_ []byte, isAck bool) {
	if w.s == nil || w.acked {
		return event, false
	}
	var out bytes.Buffer
	for line := range bytes.Lines(event) {
		data, ok := bytes.CutPrefix(line, []byte("data:"))
		var message map[string]json.RawMessage
		var method string
		if !ok || json.Unmarshal(data, &message) != nil ||
			json.Unmarshal(message["method"], &method) != nil || method != notificationAck {
			out.Write(line)
			continue
		}
		w.acked = true
		message["params"] = w.s.acknowledge(message["params"])
		out.WriteString("data: ")
		out.Write(mustMarshal(message))
		out.WriteByte('\n')
	}
	return out.Bytes(), w.acked
}

// event sends an event of our own.
func (w *eventWriter) event(data []byte) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.send([]byte("event: message\ndata: " + string(data) + "\n\n"))
}

// comment sends a line that readers skip, so that the stream is not silent.
func (w *eventWriter) comment() {
	w.mu.Lock()
	defer w.mu.Unlock()
	_ = w.send([]byte(": keep-alive\n\n"))
}

// send writes whole events or comments, and has them reach the client at once. It
// is called under mu.
func (w *eventWriter) send(p []byte) error {
	if w.closed {
		return http.ErrHandlerTimeout
	}
	_ = w.control.SetWriteDeadline(time.Now().Add(takesAtMost))
	if _, err := w.ResponseWriter.Write(p); err != nil {
		return err
	}
	if err := w.control.Flush(); err != nil {
		return err
	}
	if w.idle == nil {
		w.idle = time.AfterFunc(w.keepAlive, w.comment)
	}
	w.idle.Reset(w.keepAlive)
	return nil
}

// FlushError is how an [http.ResponseController] flushes. Events are flushed as
// they are written.
func (w *eventWriter) FlushError() error {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.closed {
		return http.ErrHandlerTimeout
	}
	if w.events {
		return nil
	}
	return w.control.Flush()
}

// Flush is FlushError, for handlers that ask for an [http.Flusher].
func (w *eventWriter) Flush() { _ = w.FlushError() }

// Unwrap is how an [http.ResponseController] finds the rest.
func (w *eventWriter) Unwrap() http.ResponseWriter { return w.ResponseWriter }

// close ends all writing, also by goroutines that have not noticed yet.
func (w *eventWriter) close() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.closed = true
	if w.idle != nil {
		w.idle.Stop()
	}
}

package ui

import (
	"encoding/json"
	"fmt"
	"net/http"
	"time"
)

const (
	// heartbeat is the interval of heartbeats, by which both ends notice a lost connection.
	heartbeat = 15 * time.Second
	// stalled is the write timeout after which a browser counts as gone.
	stalled = 10 * time.Second
	// breath is the pause between two events.
	breath = 100 * time.Millisecond
)

// A stream sends server-sent events.
type stream struct {
	w   http.ResponseWriter
	to  *http.ResponseController
	err error // the first one
}

// stream starts a stream, or refuses the request. If ok, the caller must call end.
func (s *server) stream(w http.ResponseWriter) (out *stream, end func(), ok bool) {
	select {
	case s.streams <- struct{}{}:
	default:
		refuse(w, http.StatusServiceUnavailable, "too many pages are open")
		return nil, nil, false
	}
	w.Header().Set("Content-Type", "text/event-stream")
	w.Header().Set("X-Accel-Buffering", "no")
	w.WriteHeader(http.StatusOK)
	out = &stream{w: w, to: http.NewResponseController(w)}
	out.write(": open\n\n")
	if out.err != nil { // the browser has left
		<-s.streams
		return nil, nil, false
	}
	return out, func() { <-s.streams }, true
}

// send sends v as JSON on one line.
func (o *stream) send(event string, v any) {
	text, err := json.Marshal(v)
	if err != nil {
		o.err = err
		return
	}
	o.write(fmt.Sprintf("event: %s\ndata: %s\n\n", event, text))
}

// problem sends an error of the store.
func (o *stream) problem(text string) { o.send("problem", map[string]string{"error": text}) }

// beat shows that the stream is alive.
func (o *stream) beat() { o.write(": \n\n") }

func (o *stream) write(text string) {
	if o.err != nil {
		return
	}
	if o.err = o.to.SetWriteDeadline(time.Now().Add(stalled)); o.err != nil {
		return
	}
	if _, o.err = o.w.Write([]byte(text)); o.err == nil {
		o.err = o.to.Flush()
	}
}

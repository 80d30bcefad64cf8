package mcptasks

import (
	"bytes"
	"encoding/json"
	"net/http"
	"strconv"
	"strings"

	"github.com/modelcontextprotocol/go-sdk/jsonrpc"
	"github.com/modelcontextprotocol/go-sdk/mcp"
)

// An answerWriter gives an error of this package its status over HTTP. The SDK has no
// status for such an error: it sends it with status 200, as an event or as JSON. The
// writer looks at the first write, which is the whole error, and passes all others on.
type answerWriter struct {
	http.ResponseWriter
	tasks   *Tasks
	request *http.Request

	status  int // 0: not sent yet
	written bool
	refused bool // the answer is written; further writes are dropped
}

func (w *answerWriter) WriteHeader(status int) {
	w.start(status)
	w.ResponseWriter.WriteHeader(status)
}

func (w *answerWriter) Write(p []byte) (int, error) {
	if !w.written {
		w.written = true
		w.refused = w.refuse(p)
	}
	if w.refused {
		return len(p), nil
	}
	w.start(http.StatusOK)
	return w.ResponseWriter.Write(p)
}

// refuse answers in the place of a response, if that is an error with a status of
// its own.
func (w *answerWriter) refuse(response []byte) bool {
	id, e := errorIn(response)
	if e == nil {
		return false
	}
	if w.status != 0 {
		if e.Code == mcp.CodeUnsupportedProtocolVersion && w.request.Header.Get(headerVersion) == firstVersion {
			w.tasks.warnTooOld()
		}
		return false
	}
	if _, again := retryAfterOf(e); !again && e.Code != mcp.CodeHeaderMismatch {
		return false
	}
	refuse(w.ResponseWriter, http.StatusBadRequest, id, e)
	return true
}

// start is called before the first byte is sent.
func (w *answerWriter) start(status int) {
	if w.status != 0 {
		return
	}
	w.status = status
	if isEvents(w.Header()) {
		w.Header().Set("X-Accel-Buffering", "no")
	}
}

// Flush sends all that was written, for handlers that ask for an [http.Flusher].
func (w *answerWriter) Flush() { _ = w.FlushError() }

// FlushError is how an [http.ResponseController] flushes.
func (w *answerWriter) FlushError() error {
	w.start(http.StatusOK)
	return http.NewResponseController(w.ResponseWriter).Flush()
}

// Unwrap is how an [http.ResponseController] finds the rest.
func (w *answerWriter) Unwrap() http.ResponseWriter { return w.ResponseWriter }

// isEvents reports whether a response is a stream of events.
func isEvents(h http.Header) bool {
	kind, _, _ := strings.Cut(h.Get("Content-Type"), ";")
	return strings.EqualFold(strings.TrimSpace(kind), "text/event-stream")
}

// errorIn returns the error that a whole response is, an event or JSON; nil if it is
// another response.
func errorIn(response []byte) (jsonrpc.ID, *jsonrpc.Error) {
	if !bytes.Contains(response, []byte(`"error"`)) {
		return jsonrpc.ID{}, nil
	}
	var data []byte
	for line := range bytes.Lines(response) {
		if d, ok := bytes.CutPrefix(line, []byte("data:")); ok {
			data = append(data, d...)
		}
	}
	if data == nil {
		data = response
	}
	m, err := jsonrpc.DecodeMessage(data)
	answer, ok := m.(*jsonrpc.Response)
	if err != nil || !ok {
		return jsonrpc.ID{}, nil
	}
	e, _ := answer.Error.(*jsonrpc.Error)
	return answer.ID, e
}

// retryAfterOf returns the value of the Retry-After header for an error that says
// when to ask again.
func retryAfterOf(e *jsonrpc.Error) (seconds string, ok bool) {
	var data struct {
		Retryable    bool    `json:"retryable"`
		RetryAfterMs float64 `json:"retryAfterMs"`
	}
	if e.Code != jsonrpc.CodeInternalError || json.Unmarshal(e.Data, &data) != nil || !data.Retryable {
		return "", false
	}
	return strconv.Itoa(max(1, int((min(data.RetryAfterMs, 1e9)+999)/1000))), true
}

package mcptasks_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/modelcontextprotocol/go-sdk/mcp"

	"github.com/taskstore/taskstore"
	"github.com/taskstore/taskstore/mcptasks"
	"github.com/taskstore/taskstore/tasks"
)

// aboutTask are the requests that need the store.
func aboutTask(id string) []question {
	return append(questions(id)[:5:5], question{"tools/call", map[string]any{"name": "ask", "arguments": map[string]any{}}})
}

// While the store fails every request is answered "not now", in a form that a
// client, or an HTTP library, can tell from "no"; when it is back, all is well.
func TestAFailingStoreIsNotNowAndNotNo(t *testing.T) {
	for name, failure := range map[string]error{
		"no connection":   errors.New("dial tcp 10.0.0.1:6379: connect: connection refused"),
		"too slow":        fmt.Errorf("redis: %w", context.DeadlineExceeded),
		"unknown outcome": fmt.Errorf("EOF: %w", taskstore.ErrOutcomeUnknown),
		"contention":      &tasks.ContentionError{Attempts: 9, Err: taskstore.ErrVersionConflict},
		"loading":         errors.New("LOADING Redis is loading the dataset in memory"),
		"read only":       errors.New("READONLY You can't write against a read only replica."),
		"closed":          taskstore.ErrClosed,
	} {
		t.Run(name, func(t *testing.T) {
			for _, asJSON := range []bool{false, true} {
				store := &failing{StorageBackend: memory()}
				r := start(t, store, nil, asking)
				r.serve(r.tasks.Handler(mcp.NewStreamableHTTPHandler(func(*http.Request) *mcp.Server { return r.mcp },
					&mcp.StreamableHTTPOptions{Stateless: true, JSONResponse: asJSON})))
				c := r.as("")
				id := c.create("ask", nil)
				c.until(id, "input_required")
				store.fail(failure)
				for _, q := range aboutTask(id) {
					got, header := c.doHeader(q.method, q.params)
					if got.HTTP != http.StatusServiceUnavailable || header.Get("Retry-After") != "1" ||
						header.Get("Content-Type") != "application/json" {
						t.Errorf("%s: %v with %v", q.method, got, header)
					}
					if got.Error == nil || got.Error.Code != -32603 || got.Error.Message != "temporarily unavailable, ask again" ||
						got.Error.Data["retryable"] != true || got.Error.Data["retryAfterMs"] != float64(1000) {
						t.Errorf("%s: %v", q.method, got)
					}
				}
				store.fail(nil)
				if got := c.update(id, map[string]any{"confirm": accept(nil)}); got.HTTP != http.StatusOK || got.Error != nil {
					t.Errorf("when the store is back: %v", got)
				}
				c.until(id, "completed")
			}
		})
	}
}

// A full backend may have room soon, so the error is retryable, unlike that of a record
// beyond the backend's limits.
func TestAFullBackendIsNotNow(t *testing.T) {
	store := &failing{StorageBackend: memory()}
	c := start(t, store, nil, asking).as("alice")
	id := c.create("ask", nil)
	c.until(id, "input_required")
	store.fail(fmt.Errorf("%w: the server is out of memory", taskstore.ErrCapacityExceeded))
	for _, q := range aboutTask(id) {
		if got := c.do(q.method, q.params); got.HTTP != http.StatusServiceUnavailable || got.Error.Data["retryable"] != true {
			t.Errorf("%s: %v", q.method, got)
		}
	}
	store.fail(nil)
	if got := c.update(id, map[string]any{"confirm": accept(nil)}); got.Error != nil {
		t.Errorf("when there is room: %v", got)
	}
	c.until(id, "completed")
}

// A store that fails is not now over a transport without HTTP statuses too.
func TestAFailingStoreIsNotNowOverAStream(t *testing.T) {
	store := &failing{StorageBackend: memory()}
	r := start(t, store, nil, asking)
	c := r.as("")
	id := c.create("ask", nil)
	c.until(id, "input_required")
	s := r.stream()
	store.fail(errors.New("connection refused"))
	for i, q := range aboutTask(id) {
		s.request(c, i+1, q.method, q.params)
		e := s.next()
		var got reply
		if err := json.Unmarshal(e.Raw, &got); err != nil || got.Error == nil || got.Error.Code != -32603 || got.Error.Data["retryable"] != true {
			t.Errorf("%s: %s", q.method, e.Raw)
		}
	}
}

// A request that cannot succeed later gets a plain error.
func TestADefiniteNoIsNotRetryable(t *testing.T) {
	opts := fast()
	opts.Tasks.MaxActive = 1
	store := &failing{StorageBackend: memory()}
	r := start(t, store, opts, func(tasks *mcptasks.Tasks, server *mcp.Server) {
		asking(tasks, server)
		add(tasks, server, "strict", confirm, &mcptasks.ToolOptions{Required: true})
	})
	c := r.as("alice")
	id := c.create("ask", nil)
	definite := func(what string, got reply, header http.Header, status, code int) {
		t.Helper()
		if got.HTTP != status || got.Error == nil || got.Error.Code != code || got.Error.Data["retryable"] != nil || header.Get("Retry-After") != "" {
			t.Errorf("%s: %v with %v", what, got, header)
		}
	}
	got, header := c.doHeader("tools/call", map[string]any{"name": "strict", "arguments": map[string]any{}})
	definite("one task more", got, header, http.StatusOK, -32603)
	for _, q := range questions(unknownID)[:4] {
		got, header := c.doHeader(q.method, q.params)
		definite("an unknown task: "+q.method, got, header, http.StatusBadRequest, -32602)
	}
	for name, failure := range map[string]error{
		"damaged": &taskstore.CorruptError{Reason: "it is damaged"},
		"newer":   &tasks.FormatError{Format: 9, Max: 1},
		"full":    &taskstore.CapacityError{Limit: taskstore.LimitData, Max: 1, Asked: 2},
	} {
		store.fail(failure)
		got, header := c.doHeader("tasks/get", map[string]any{"taskId": id})
		definite(name, got, header, http.StatusOK, -32603)
	}
}

// A tool's answer passes through unchanged, even if it looks like a refusal, and as soon
// as the tool writes it.
func TestForeignAnswersPassThrough(t *testing.T) {
	refusal := `{"jsonrpc":"2.0","id":1,"error":{"code":-32603,"message":"x","data":{"retryable":true,"retryAfterMs":2500}}}`
	for name, c := range map[string]struct {
		kind   string
		status int // 0: unwritten
		writes []string
		want   string // status and Retry-After
	}{
		"events after an event":    {"text/event-stream", 0, []string{"data: {\"jsonrpc\":\"2.0\",\"method\":\"m\"}\n\n", "data: " + refusal + "\n\n"}, "200 "},
		"text that looks like it":  {"application/json", 0, []string{`{"jsonrpc":"2.0","id":1,"result":{"text":"\"error\"","retryable":true}}`}, "200 "},
		"an error with a status":   {"application/json", 404, []string{refusal}, "404 "},
		"an error of another code": {"application/json", 0, []string{strings.Replace(refusal, "-32603", "-32000", 1)}, "200 "},
		"an error for good":        {"application/json", 0, []string{strings.Replace(refusal, "true", "false", 1)}, "200 "},
		"an error as JSON":         {"application/json", 0, []string{refusal}, "503 3"},
		"an error as an event":     {"text/event-stream", 0, []string{"event: message\ndata: " + refusal + "\n\n"}, "503 3"},
		"an error, then a comment": {"text/event-stream", 0, []string{"data: " + refusal + "\n\n", ": more\n\n"}, "503 3"},
	} {
		t.Run(name, func(t *testing.T) {
			tasks, err := mcptasks.New(memory(), nil)
			if err != nil {
				t.Fatal(err)
			}
			w := httptest.NewRecorder()
			r := httptest.NewRequest(http.MethodPost, "/", nil)
			r.Header.Set("Mcp-Protocol-Version", "2026-07-28")
			r.Header.Set("Mcp-Method", "tools/call")
			tasks.Handler(http.HandlerFunc(func(sdk http.ResponseWriter, _ *http.Request) {
				sdk.Header().Set("Content-Type", c.kind)
				if c.status != 0 {
					sdk.WriteHeader(c.status)
				}
				for i, text := range c.writes {
					_, _ = sdk.Write([]byte(text))
					_ = http.NewResponseController(sdk).Flush()
					if !w.Flushed || i == 0 && w.Body.Len() == 0 {
						t.Error("it is not sent at once")
					}
				}
			})).ServeHTTP(w, r)
			if got := fmt.Sprint(w.Code, " ", w.Header().Get("Retry-After")); got != c.want {
				t.Errorf("%s, not %s", got, c.want)
			}
			body := strings.Join(c.writes, "")
			if w.Code == http.StatusServiceUnavailable {
				body = refusal
			}
			if w.Body.String() != body {
				t.Errorf("the body: %s", w.Body)
			}
		})
	}
}

package mcptasks_test

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strconv"
	"strings"
	"testing"

	"github.com/modelcontextprotocol/go-sdk/mcp"

	"github.com/taskstore/taskstore/mcptasks"
)

// The client reads every form of a response that the SDK reads.
func TestClientReadsStreamsAsTheSDKDoes(t *testing.T) {
	events := func(status int, kind, form string) func(http.ResponseWriter, string, string) bool {
		return func(w http.ResponseWriter, method, message string) bool {
			w.Header().Set("Content-Type", kind)
			w.WriteHeader(status)
			half := strings.Index(message, `,"`) + 1
			_, _ = fmt.Fprint(w, strings.NewReplacer("ALL", message, "ONE", message[:half], "TWO", message[half:]).Replace(form))
			return true
		}
	}
	for name, answer := range map[string]func(http.ResponseWriter, string, string) bool{
		"JSON":                    events(200, "application/json", "ALL"),
		"JSON in capitals":        events(200, "Application/JSON; Charset=UTF-8", "ALL"),
		"JSON with 201":           events(201, "application/json", "ALL"),
		"JSON with more":          events(200, "application/json", "\n ALL \n{}"),
		"an event":                events(200, "text/event-stream", "event: message\ndata: ALL\n\n"),
		"an event with 206":       events(206, "text/event-stream", "data: ALL\n\n"),
		"an event in capitals":    events(200, "TEXT/Event-Stream;charset=utf-8", "data: ALL\n\n"),
		"two data lines":          events(200, "text/event-stream", "data: ONE\ndata: TWO\n\n"),
		"lines between":           events(200, "text/event-stream", "data: ONE\n: comment\nother: x\ndata: TWO\nevent:message\n\n"),
		"no space":                events(200, "text/event-stream", "event:message\ndata:ALL\n\n"),
		"more space":              events(200, "text/event-stream", "data:  \tALL\t \n\n"),
		"carriage returns":        events(200, "text/event-stream", "event: message\r\ndata: ONE\r\ndata: TWO\r\n\r\n"),
		"a byte order mark":       events(200, "text/event-stream", "\xef\xbb\xbfdata: ALL\n\n"),
		"no end":                  events(200, "text/event-stream", "data: ALL"),
		"comments before":         events(200, "text/event-stream", ": ping\n\n: ping\n\ndata: ALL\n\n"),
		"a notification before":   events(200, "text/event-stream", "data: {\"jsonrpc\":\"2.0\",\"method\":\"notifications/progress\",\"params\":{\"progressToken\":1,\"progress\":1}}\n\ndata: ALL\n\n"),
		"an id and a retry":       events(200, "text/event-stream", "id: 1\nretry: 5\ndata: \n\nid: 2\ndata: ALL\n\n"),
		"a retry behind the data": events(200, "text/event-stream", "data: ALL\nid: 1\nretry: 5\n\n"),
		"another event before":    events(200, "text/event-stream", "event: other\ndata: ALL\n\nevent: message\ndata: ALL\n\n"),
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			f := newFake(t, map[string][]string{"tasks/get": {working, done}})
			f.http = answer
			if got, err := callTool(t, f.overHTTP(mcptasks.ClientOptions{})); got != "done" || err != nil {
				t.Errorf("got %q, %v", got, err)
			}
		})
	}
}

// RoundTripper removes the Content-Length of events that it has read already.
func TestClientDropsTheLengthOfEvents(t *testing.T) {
	f := newFake(t, nil)
	f.http = func(w http.ResponseWriter, method, message string) bool {
		if method != "tools/call" {
			return false
		}
		event := "data: " + message + "\n\n"
		w.Header().Set("Content-Type", "text/event-stream")
		w.Header().Set("Content-Length", strconv.Itoa(len(event)))
		_, _ = io.WriteString(w, event)
		return true
	}
	lengths := make(chan string, 1)
	outer := fault(func(req *http.Request) (*http.Response, error) {
		resp, err := mcptasks.RoundTripper(nil).RoundTrip(req)
		if err == nil && req.Header.Get("Mcp-Method") == "tools/call" {
			lengths <- fmt.Sprintf("%d %q", resp.ContentLength, resp.Header.Get("Content-Length"))
		}
		return resp, err
	})
	session := connect(t, &mcp.StreamableClientTransport{Endpoint: httpServer(t, f), HTTPClient: &http.Client{Transport: outer}}, mcptasks.ClientOptions{})
	if got, err := callTool(t, session); got != "done" || err != nil {
		t.Errorf("got %q, %v", got, err)
	}
	if got := <-lengths; got != `-1 ""` {
		t.Errorf("the length is %s", got)
	}
}

// inHalves serves f, the answer to tools/call in the second half of a stream that has
// broken off.
func (f *fake) inHalves() http.Handler {
	var pending string
	f.http = func(w http.ResponseWriter, method, message string) bool {
		if method != "tools/call" {
			return false
		}
		pending = message
		w.Header().Set("Content-Type", "text/event-stream")
		_, _ = fmt.Fprint(w, "id: 1\nretry: 1\ndata: \n\n")
		return true
	}
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Method == http.MethodGet {
			w.Header().Set("Content-Type", "text/event-stream")
			_, _ = fmt.Fprintf(w, "id: 2\ndata: %s\n\n", pending)
			return
		}
		f.ServeHTTP(w, r)
	})
}

// A stream that breaks off is gone on with, as the SDK does, and the task may be in
// either half.
func TestClientReadsResumedStreams(t *testing.T) {
	f := newFake(t, nil)
	server := httptest.NewServer(f.inHalves())
	defer server.Close()
	session := connect(t, &mcp.StreamableClientTransport{Endpoint: server.URL, HTTPClient: &http.Client{Transport: mcptasks.RoundTripper(nil)}}, mcptasks.ClientOptions{})
	if got, err := callTool(t, session); got != "done" || err != nil {
		t.Errorf("got %q, %v", got, err)
	}
}

// The limit of the SDK's transport counts the bytes that the server sent, also of
// an event that reaches the SDK as another.
func TestClientKeepsMaxEventSize(t *testing.T) {
	const limit = 4 << 10
	for name, c := range map[string]struct {
		size  int
		fails bool
	}{"below": {limit, false}, "above": {limit + 1, true}, "far above": {1 << 20, true}} {
		t.Run(name, func(t *testing.T) {
			f := newFake(t, nil)
			f.http = func(w http.ResponseWriter, method, message string) bool {
				if method != "tools/call" {
					return false
				}
				w.Header().Set("Content-Type", "text/event-stream")
				const frame = "data: \n\n"
				var fields map[string]any
				_ = json.Unmarshal([]byte(message), &fields)
				fields["result"].(map[string]any)["statusMessage"] = ""
				short, _ := json.Marshal(fields)
				fields["result"].(map[string]any)["statusMessage"] = strings.Repeat("x", c.size-len(short)-len(frame))
				long, _ := json.Marshal(fields)
				_, _ = fmt.Fprintf(w, "data: %s\n\n", long)
				return true
			}
			server := httptest.NewServer(f)
			defer server.Close()
			session := connect(t, &mcp.StreamableClientTransport{
				Endpoint: server.URL, MaxEventSize: limit, HTTPClient: &http.Client{Transport: mcptasks.RoundTripper(nil)},
			}, mcptasks.ClientOptions{})
			got, err := callTool(t, session)
			if (err != nil) != c.fails || c.fails && !strings.Contains(err.Error(), "exceeded") {
				t.Errorf("%d bytes: got %q, %v", c.size, got, err)
			}
		})
	}
}

// An event without an end is passed on, so that the SDK's limit ends it, and is not
// held in memory.
func TestClientDoesNotHoldEndlessEvents(t *testing.T) {
	f := newFake(t, nil)
	over := make(chan struct{})
	f.http = func(w http.ResponseWriter, method, _ string) bool {
		if method != "tools/call" {
			return false
		}
		w.Header().Set("Content-Type", "text/event-stream")
		for range 24 {
			_, _ = fmt.Fprintf(w, "data: %s\n", strings.Repeat("x", 1<<20))
		}
		_ = http.NewResponseController(w).Flush()
		<-over
		return true
	}
	server := httptest.NewServer(f)
	defer server.Close()
	defer close(over)
	session := connect(t, &mcp.StreamableClientTransport{
		Endpoint: server.URL, MaxEventSize: 20 << 20, HTTPClient: &http.Client{Transport: mcptasks.RoundTripper(nil)},
	}, mcptasks.ClientOptions{})
	if _, err := callTool(t, session); err == nil || !strings.Contains(err.Error(), "exceeded") {
		t.Errorf("got %v", err)
	}
}

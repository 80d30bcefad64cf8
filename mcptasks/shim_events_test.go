package mcptasks_test

import (
	"bufio"
	"context"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/modelcontextprotocol/go-sdk/mcp"

	"github.com/taskstore/taskstore"
	"github.com/taskstore/taskstore/mcptasks"
)

// timeouts are those of a server for short answers.
const timeouts = time.Second

// impatient serves the replica with timeouts for short answers, over HTTP of either
// version.
func (r *replica) impatient(h http.Handler) {
	r.t.Helper()
	server := httptest.NewUnstartedServer(h)
	server.Config.ReadTimeout, server.Config.WriteTimeout = timeouts, timeouts
	server.EnableHTTP2 = true
	server.StartTLS()
	r.t.Cleanup(func() {
		server.CloseClientConnections()
		server.Close()
	})
	r.url, r.http = server.URL, server.Client()
}

// The timeouts of a server are for ordinary answers: a stream outlives them, over
// either version of HTTP, and the next request on its connection has them again.
func TestStreamsOutliveTheServersTimeouts(t *testing.T) {
	for _, version := range []string{"HTTP/1.1", "HTTP/2.0"} {
		t.Run(version, func(t *testing.T) {
			t.Parallel()
			for name, notifications := range map[string]map[string]any{
				"tasks":      {"taskIds": nil},
				"other":      {"toolsListChanged": true},
				"tasks, too": {"taskIds": nil, "toolsListChanged": true},
			} {
				t.Run(name, func(t *testing.T) {
					t.Parallel()
					store := &slowOnce{StorageBackend: memory()}
					r := start(t, store, nil, asking)
					r.tasks.SetKeepAlive(timeouts / 4)
					r.impatient(overHTTP(r.tasks, r.mcp))
					if version == "HTTP/1.1" {
						r.http.Transport.(*http.Transport).ForceAttemptHTTP2 = false
						r.http.Transport.(*http.Transport).TLSClientConfig.NextProtos = []string{"http/1.1"}
					}
					c := r.as("alice")
					id := c.create("ask", nil)
					c.until(id, "input_required")
					if _, ok := notifications["taskIds"]; ok {
						notifications["taskIds"] = []string{id}
					}
					store.delay.Store(true)
					resp, err := c.http.Do(c.request(t.Context(), "subscriptions/listen", map[string]any{"notifications": notifications}))
					if err != nil {
						t.Fatal(err)
					}
					defer resp.Body.Close()
					if resp.Proto != version || resp.Header.Get("X-Accel-Buffering") != "no" {
						t.Errorf("%s with %v", resp.Proto, resp.Header)
					}
					lines := bufio.NewReader(resp.Body)
					for comments := 0; comments < 6; { // longer than the timeouts
						line, err := lines.ReadString('\n')
						if err != nil {
							t.Fatalf("after %d comments: %v", comments, err)
						}
						if strings.HasPrefix(line, ":") {
							comments++
						}
					}
					if name == "other" {
						return
					}
					c.cancel(id)
					for {
						line, err := lines.ReadString('\n')
						if err != nil {
							t.Fatalf("the change: %v", err)
						}
						if strings.Contains(line, `"cancelled"`) {
							break
						}
					}
				})
			}
		})
	}
}

// A slowOnce store takes longer to read than the server's timeouts, once.
type slowOnce struct {
	taskstore.StorageBackend
	delay atomic.Bool
}

func (s *slowOnce) Unwrap() taskstore.StorageBackend { return s.StorageBackend }

func (s *slowOnce) Get(ctx context.Context, key taskstore.Key) (taskstore.Record, error) {
	if s.delay.CompareAndSwap(true, false) {
		time.Sleep(2 * timeouts)
	}
	return s.StorageBackend.Get(ctx, key)
}

// A quiet stream says every 15 seconds that it lives; a push is as good as a comment.
func TestAStreamIsNeverSilent(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := startDirect(t, memory(), nil, asking)
		defer r.tasks.Shutdown(t.Context())
		c := r.as("alice")
		id := c.create("ask", nil)
		synctest.Wait()
		ctx, cancel := context.WithCancel(t.Context())
		resp, err := c.http.Do(c.request(ctx, "subscriptions/listen", map[string]any{"notifications": map[string]any{"taskIds": []string{id}}}))
		if err != nil {
			t.Fatal(err)
		}
		start := time.Now()
		var comments []time.Duration
		go func() {
			time.Sleep(40 * time.Second)
			c.cancel(id)
		}()
		lines := bufio.NewScanner(resp.Body)
		for lines.Scan() {
			if strings.HasPrefix(lines.Text(), ":") {
				comments = append(comments, time.Since(start))
			}
		}
		if len(comments) != 2 || comments[0] != 15*time.Second || comments[1] != 30*time.Second {
			t.Errorf("comments after %v", comments)
		}
		cancel()
	})
}

// A ResponseWriter that cannot flush would keep a stream to itself: the client is
// told so, and may poll.
func TestAWriterThatCannotFlushIsRefused(t *testing.T) {
	r := start(t, memory(), nil, asking)
	r.serve(http.TimeoutHandler(overHTTP(r.tasks, r.mcp), time.Minute, ""))
	c := r.as("alice")
	id := c.create("ask", nil)
	for _, notifications := range []map[string]any{{"taskIds": []string{id}}, {"toolsListChanged": true}} {
		got := c.do("subscriptions/listen", map[string]any{"notifications": notifications})
		if got.HTTP != http.StatusInternalServerError || got.Error == nil || got.Error.Code != -32603 ||
			!strings.Contains(got.Error.Message, "cannot flush") || got.Error.Data != nil {
			t.Errorf("%v: %v", notifications, got)
		}
	}
	if log := r.log.String(); !strings.Contains(log, "cannot flush") {
		t.Errorf("the log: %s", log)
	}
	c.until(id, "input_required") // all else is served
}

// wrapped hides a ResponseWriter's optional methods, as the wrappers of middleware do, but
// for Unwrap.
type wrapped struct{ w http.ResponseWriter }

func (w wrapped) Header() http.Header         { return w.w.Header() }
func (w wrapped) Write(p []byte) (int, error) { return w.w.Write(p) }
func (w wrapped) WriteHeader(status int)      { w.w.WriteHeader(status) }
func (w wrapped) Unwrap() http.ResponseWriter { return w.w }

func TestAWrappedWriterIsAsGoodAsTheWriter(t *testing.T) {
	r := start(t, memory(), nil, asking)
	h := overHTTP(r.tasks, r.mcp)
	r.serve(http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) { h.ServeHTTP(wrapped{w}, req) }))
	c := r.as("alice")
	id := c.create("ask", nil)
	events := c.listen(t.Context(), map[string]any{"taskIds": []string{id}})
	if e := next(t, events); e.Method != "notifications/subscriptions/acknowledged" {
		t.Errorf("first: %s", e.Raw)
	}
}

// A client that does not read does not hold its stream for ever.
func TestAClientThatDoesNotReadIsLeft(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		tasks, err := mcptasks.New(memory(), nil)
		if err != nil {
			t.Fatal(err)
		}
		w := &stuck{header: make(http.Header)}
		tasks.Handler(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Type", "text/event-stream")
			_, _ = io.WriteString(w, "data: {}\n\n")
		})).ServeHTTP(w, listenRequest(t))
		if w.took != 30*time.Second {
			t.Errorf("left after %v", w.took)
		}
	})
}

// stuck is a ResponseWriter to a client that does not read.
type stuck struct {
	header   http.Header
	deadline time.Time
	took     time.Duration
}

func (w *stuck) Header() http.Header                 { return w.header }
func (w *stuck) WriteHeader(int)                     {}
func (w *stuck) Flush()                              {}
func (w *stuck) SetWriteDeadline(at time.Time) error { w.deadline = at; return nil }

func (w *stuck) Write([]byte) (int, error) {
	w.took = time.Until(w.deadline)
	time.Sleep(w.took)
	return 0, context.DeadlineExceeded
}

func listenRequest(t *testing.T) *http.Request {
	c := (&replica{t: t, url: "http://replica/"}).as("")
	return c.request(t.Context(), "subscriptions/listen", map[string]any{"notifications": map[string]any{"taskIds": []string{unknownID}}})
}

// An ended is a ResponseWriter that reports calls of it after its handler has returned.
type ended struct {
	*httptest.ResponseRecorder
	t    *testing.T
	over atomic.Bool
}

func (w *ended) check(what string) {
	if w.over.Load() {
		w.t.Errorf("after the handler has returned: %s", what)
	}
}

func (w *ended) Write(p []byte) (int, error) {
	w.check("written: " + string(p))
	return w.ResponseRecorder.Write(p)
}

func (w *ended) WriteHeader(status int) {
	w.check("a status")
	w.ResponseRecorder.WriteHeader(status)
}

func (w *ended) Flush() {
	w.check("flushed")
	w.ResponseRecorder.Flush()
}

func (w *ended) SetWriteDeadline(time.Time) error {
	w.check("a deadline")
	return nil
}

// net/http forbids to write when the handler has returned. A handler within may
// be a moment behind.
func TestTheShimWritesOnlyUntilTheHandlerReturns(t *testing.T) {
	for name, answer := range map[string]struct{ kind, text string }{
		"events": {"text/event-stream", "data: {}\n\n"}, "nothing": {"text/event-stream", ""}, "JSON": {"application/json", "{}"},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				tasks, err := mcptasks.New(memory(), nil)
				if err != nil {
					t.Fatal(err)
				}
				w := &ended{ResponseRecorder: httptest.NewRecorder(), t: t}
				var late http.ResponseWriter
				tasks.Handler(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
					w.Header().Set("Content-Type", answer.kind)
					_, _ = io.WriteString(w, answer.text)
					late = w
				})).ServeHTTP(w, listenRequest(t))
				w.over.Store(true)
				time.Sleep(time.Minute) // comments would come
				late.WriteHeader(http.StatusOK)
				if _, err := io.WriteString(late, "data: {}\n\n"); err == nil {
					t.Error("writing gives no error")
				}
				if err := http.NewResponseController(late).Flush(); err == nil {
					t.Error("flushing gives no error")
				}
				late.(http.Flusher).Flush()
			})
		})
	}
}

// A push may be a moment behind, too.
func TestTheShimPushesOnlyUntilTheHandlerReturns(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := startDirect(t, memory(), nil, asking)
		defer r.tasks.Shutdown(t.Context())
		c := r.as("")
		id := c.create("ask", nil)
		synctest.Wait()
		sdk := mcp.NewStreamableHTTPHandler(func(*http.Request) *mcp.Server { return r.mcp }, &mcp.StreamableHTTPOptions{Stateless: true})
		w := &ended{ResponseRecorder: httptest.NewRecorder(), t: t}
		req := c.request(t.Context(), "subscriptions/listen", map[string]any{"notifications": map[string]any{"taskIds": []string{id}}})
		req.Host = "localhost"
		over := make(chan struct{})
		r.tasks.Handler(http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
			go func() {
				defer close(over)
				sdk.ServeHTTP(w, req)
			}()
			synctest.Wait() // it listens now
		})).ServeHTTP(w, req)
		w.over.Store(true)
		if !strings.Contains(w.Body.String(), `"input_required"`) {
			t.Fatalf("no snapshot: %s", w.Body)
		}
		c.cancel(id) // would be pushed
		<-over
	})
}

// Middleware between Handler and the SDK that asks for an http.Flusher finds one.
func TestHandlersBetweenFindAFlusher(t *testing.T) {
	r := start(t, memory(), nil, asking)
	sdk := mcp.NewStreamableHTTPHandler(func(*http.Request) *mcp.Server { return r.mcp }, &mcp.StreamableHTTPOptions{Stateless: true})
	r.serve(r.tasks.Handler(http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		if _, ok := w.(http.Flusher); !ok {
			t.Errorf("%s: no http.Flusher", req.Header.Get("Mcp-Method"))
		}
		sdk.ServeHTTP(w, req)
	})))
	c := r.as("")
	next(t, c.listen(t.Context(), map[string]any{"taskIds": []string{c.create("ask", nil)}}))
}

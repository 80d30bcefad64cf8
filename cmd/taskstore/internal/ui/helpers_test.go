package ui

import (
	"bufio"
	"context"
	"encoding/json"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/taskstore/taskstore"
	"github.com/taskstore/taskstore/tasks"
)

// A site is a page that is served.
type site struct {
	t   *testing.T
	url string
}

// serve serves the page of b until the test ends, and checks that it ends then.
func serve(t *testing.T, b taskstore.StorageBackend, opts Options) *site {
	t.Helper()
	if opts.Interval == 0 {
		opts.Interval = time.Second
	}
	l, err := Listen("127.0.0.1:0", opts.Token)
	require.NoError(t, err)
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- Serve(ctx, l, b, opts) }()
	t.Cleanup(func() {
		cancel()
		assert.ErrorIs(t, <-ended, context.Canceled)
	})
	return &site{t: t, url: "http://" + l.Addr().String()}
}

// An answer is a response with its body.
type answer struct {
	*http.Response
	body string
}

// ask sends a request; headers are pairs of a name and a value, and Host is one of them.
func (s *site) ask(method, path, body string, headers ...string) answer {
	s.t.Helper()
	r, err := http.NewRequestWithContext(s.t.Context(), method, s.url+path, strings.NewReader(body))
	require.NoError(s.t, err)
	for i := 0; i < len(headers); i += 2 {
		if headers[i] == "Host" {
			r.Host = headers[i+1]
		}
		r.Header.Set(headers[i], headers[i+1])
	}
	response, err := http.DefaultTransport.RoundTrip(r)
	require.NoError(s.t, err)
	defer response.Body.Close()
	if response.Header.Get("Content-Type") == "text/event-stream" {
		return answer{response, ""}
	}
	text, err := io.ReadAll(response.Body)
	require.NoError(s.t, err)
	return answer{response, string(text)}
}

// csrf returns the value that the page sends along.
func (s *site) csrf() string {
	var config struct{ CSRF string }
	require.NoError(s.t, json.Unmarshal([]byte(s.ask("GET", "/api/config", "").body), &config))
	require.NotEmpty(s.t, config.CSRF)
	return config.CSRF
}

// An event is one of a stream.
type event struct{ name, data string }

// listen opens a stream. The channel is closed at its end.
func (s *site) listen(path string) <-chan event {
	s.t.Helper()
	r, err := http.NewRequestWithContext(s.t.Context(), "GET", s.url+path, nil)
	require.NoError(s.t, err)
	response, err := http.DefaultTransport.RoundTrip(r)
	require.NoError(s.t, err)
	require.Equal(s.t, "text/event-stream", response.Header.Get("Content-Type"))
	events := make(chan event, 100)
	go func() {
		defer close(events)
		defer response.Body.Close()
		lines := bufio.NewScanner(response.Body)
		lines.Buffer(nil, 1<<20)
		var e event
		for lines.Scan() {
			if name, ok := strings.CutPrefix(lines.Text(), "event: "); ok {
				e.name = name
			}
			if data, ok := strings.CutPrefix(lines.Text(), "data: "); ok {
				e.data = data
				events <- e
			}
		}
	}()
	return events
}

// next waits for an event of that name that takes says is the one.
func next[T any](t *testing.T, events <-chan event, name string, takes func(v T) bool) T {
	t.Helper()
	timeout := time.After(10 * time.Second)
	for {
		select {
		case e, open := <-events:
			require.True(t, open, "the stream has ended")
			var v T
			if e.name == name {
				require.NoError(t, json.Unmarshal([]byte(e.data), &v), e.data)
				if takes(v) {
					return v
				}
			}
		case <-timeout:
			require.FailNow(t, "no such event", name)
		}
	}
}

// always takes the first event.
func always[T any](T) bool { return true }

// A past backend has a clock that is slow by its offset, so it creates tasks that are old.
type past struct {
	*taskstore.MemoryBackend
	offset time.Duration
}

func (b *past) Now(ctx context.Context) (time.Time, error) {
	now, err := b.MemoryBackend.Now(ctx)
	return now.Add(-b.offset), err
}

// A world makes tasks.
type world struct {
	*past
	t     *testing.T
	store *tasks.Store
}

func newWorld(t *testing.T) *world {
	t.Helper()
	b := &past{MemoryBackend: taskstore.NewMemoryBackend(nil)}
	s, err := tasks.New(b, nil)
	require.NoError(t, err)
	return &world{past: b, t: t, store: s}
}

// ago makes the writes that follow as old as d.
func (w *world) ago(d time.Duration) *world {
	w.offset = d
	return w
}

// create makes a task that a runner works on.
func (w *world) create(owner, tool string) *tasks.Run {
	w.t.Helper()
	name, err := json.Marshal(tool)
	require.NoError(w.t, err)
	task, _, err := w.store.Create(w.t.Context(), owner, tasks.CreateParams{
		Request: json.RawMessage(`{"name":` + string(name) + `,"arguments":{"secret":"argument"}}`),
		TTL:     6 * time.Hour, Holder: "replica-1", Service: "printer",
	})
	require.NoError(w.t, err)
	return w.store.RunOf(task)
}

func (w *world) id(owner, tool string) string { return w.create(owner, tool).Task().ID }

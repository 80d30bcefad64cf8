package mcptasks_test

import (
	"context"
	"io"
	"log/slog"
	"maps"
	"net/http"
	"sync"
	"testing"

	"github.com/modelcontextprotocol/go-sdk/mcp"

	"github.com/taskstore/taskstore"
	"github.com/taskstore/taskstore/mcptasks"
)

// startDirect makes a replica that is reached without a network, so that it can live in
// the bubble of a synctest. The test shuts it down.
func startDirect(t testing.TB, store taskstore.StorageBackend, opts *mcptasks.Options, add func(*mcptasks.Tasks, *mcp.Server)) *replica {
	t.Helper()
	var quiet mcptasks.Options
	if opts != nil {
		quiet = *opts
	}
	if quiet.Logger == nil {
		quiet.Logger = slog.New(slog.DiscardHandler)
	}
	tasks, server, err := assemble(store, &quiet, add)
	if err != nil {
		t.Fatal(err)
	}
	return directTo(t, tasks, server)
}

// directTo makes a replica of a server that is there.
func directTo(t testing.TB, tasks *mcptasks.Tasks, server *mcp.Server) *replica {
	return &replica{
		t: t, tasks: tasks, mcp: server, url: "http://replica/",
		http: &http.Client{Transport: direct{overHTTP(tasks, server)}},
	}
}

// direct is the transport of an HTTP client to a handler in the same process.
type direct struct{ handler http.Handler }

func (d direct) RoundTrip(req *http.Request) (*http.Response, error) {
	ctx, cancel := context.WithCancel(req.Context())
	reader, writer := io.Pipe()
	w := &directWriter{body: writer, header: make(http.Header), started: make(chan struct{})}
	go func() {
		defer writer.Close()
		d.handler.ServeHTTP(w, req.Clone(ctx))
		w.WriteHeader(http.StatusOK)
	}()
	select {
	case <-w.started:
	case <-ctx.Done():
		cancel()
		_ = reader.CloseWithError(context.Canceled)
		return nil, ctx.Err()
	}
	// As with a network, a client that goes away ends the handler's ctx.
	context.AfterFunc(ctx, func() { _ = reader.CloseWithError(context.Canceled) })
	return &http.Response{
		StatusCode: w.status, Status: http.StatusText(w.status), Header: w.sent, Request: req,
		Body: directBody{reader, cancel}, ContentLength: -1,
	}, nil
}

type directBody struct {
	io.Reader
	cancel context.CancelFunc
}

func (b directBody) Close() error { b.cancel(); return nil }

type directWriter struct {
	body    io.Writer
	header  http.Header
	once    sync.Once
	started chan struct{}
	status  int
	sent    http.Header
}

func (w *directWriter) Header() http.Header { return w.header }

func (w *directWriter) WriteHeader(status int) {
	w.once.Do(func() {
		w.status, w.sent = status, maps.Clone(w.header)
		close(w.started)
	})
}

func (w *directWriter) Write(p []byte) (int, error) {
	w.WriteHeader(http.StatusOK)
	return w.body.Write(p)
}

// Flush is empty, because the reader gets each write at once.
func (w *directWriter) Flush() {}

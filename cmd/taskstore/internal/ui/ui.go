// Package ui serves a page that shows the tasks of a store as they change, and cancels them
// where it may. It needs nothing but the store: all that a browser loads is embedded.
package ui

import (
	"context"
	"crypto/rand"
	"embed"
	"errors"
	"io/fs"
	"net"
	"net/http"
	"time"

	"github.com/taskstore/taskstore"
	"github.com/taskstore/taskstore/tasks"
)

// Options say what a page shows and who may see it.
type Options struct {
	// Owner is the owner whose tasks are shown; empty: all, which the store has to be able
	// to list.
	Owner string
	// Interval is how often the store is looked at where it tells of no change. It must be
	// positive.
	Interval time.Duration
	// Write lets tasks be cancelled.
	Write bool
	// Owners shows the names of owners; without it a label stands for each.
	Owners bool
	// Payload lets what clients send and get be shown, by a click.
	Payload bool
	// Token is what a browser logs in with, and a program sends as a Bearer token. Empty:
	// neither has to; then the address must be a loopback one.
	Token string
	// Hosts are the names by which browsers reach the page, besides localhost and addresses.
	Hosts []string
}

// A server is the page of one store. Its methods may be called by any number of goroutines.
type server struct {
	Options
	backend   taskstore.StorageBackend
	inspector *tasks.Inspector
	labels    *labels
	looker    *looker
	public    bool          // it listens on an address that other machines reach
	cookie    string        // the cookie's name
	csrf      string        // what a request that changes something has to send
	session   string        // the cookie of those who logged in
	streams   chan struct{} // one for each stream that is open
}

// maxStreams is how many pages may be open at once.
const maxStreams = 64

//go:embed assets
var embedded embed.FS

func newServer(b taskstore.StorageBackend, at net.Addr, opts Options) *server {
	_, port, _ := net.SplitHostPort(at.String()) // browsers send cookies to all ports of a host
	i := tasks.NewInspector(b)
	l := newLabels()
	return &server{
		Options: opts, backend: b, inspector: i, labels: l, public: isPublic(at), cookie: "taskstore_ui_" + port,
		looker: newLooker(b, i, l, opts), csrf: rand.Text(), session: rand.Text(),
		streams: make(chan struct{}, maxStreams),
	}
}

// handler answers all requests.
func (s *server) handler() http.Handler {
	assets, err := fs.Sub(embedded, "assets")
	if err != nil {
		panic(err) // the directory is embedded
	}
	api := http.NewServeMux()
	api.HandleFunc("GET /api/config", s.config)
	api.HandleFunc("GET /api/events/tasks", s.streamTasks)
	api.HandleFunc("GET /api/events/task", s.streamTask)
	api.HandleFunc("GET /api/payload", s.payload)
	api.HandleFunc("POST /api/cancel", s.cancel)

	all := http.NewServeMux()
	all.Handle("/", http.FileServerFS(assets))
	all.Handle("POST /api/login", sameOrigin(http.HandlerFunc(s.login)))
	all.Handle("/api/", sameOrigin(s.authenticated(api)))
	return s.knownHost(withHeaders(all))
}

// config tells the page what it may do.
func (s *server) config(w http.ResponseWriter, _ *http.Request) {
	reply(w, http.StatusOK, map[string]any{
		"write": s.Write, "payload": s.Payload, "owners": s.Owners, "all": s.Owner == "",
		"csrf": s.csrf, "interval_ms": s.Interval.Milliseconds(),
	})
}

// shutdownTime is how long requests that are being answered may take to end.
const shutdownTime = 3 * time.Second

// Serve serves the page of b on l until ctx is done, and then ends the streams and returns
// ctx's error. It closes l.
func Serve(ctx context.Context, l net.Listener, b taskstore.StorageBackend, opts Options) error {
	if isPublic(l.Addr()) && opts.Token == "" {
		return errors.Join(ErrNoToken, l.Close())
	}
	s := newServer(b, l.Addr(), opts)
	h := &http.Server{
		Handler:           s.handler(),
		BaseContext:       func(net.Listener) context.Context { return ctx },
		ReadHeaderTimeout: 5 * time.Second,
		ReadTimeout:       10 * time.Second,
		IdleTimeout:       time.Minute,
		MaxHeaderBytes:    16 << 10,
	}
	looks := make(chan struct{})
	looking, stop := context.WithCancel(ctx)
	go func() { defer close(looks); s.looker.run(looking) }()
	served := make(chan error, 1)
	go func() { served <- h.Serve(l) }()
	var err error
	select {
	case err = <-served:
	case <-ctx.Done():
		err = ctx.Err()
		ending, cancel := context.WithTimeout(context.WithoutCancel(ctx), shutdownTime)
		defer cancel()
		if h.Shutdown(ending) != nil {
			_ = h.Close()
		}
	}
	stop()
	<-looks
	return err
}

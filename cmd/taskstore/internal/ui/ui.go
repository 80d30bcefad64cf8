// Package ui serves a page that shows the tasks of a store as they change, and can cancel
// them. It needs only the store: all files that a browser loads are embedded.
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

// Options configure a page and the access to it.
type Options struct {
	// Owner limits the page to the tasks of one owner. Empty means all owners; the store
	// must be able to list them.
	Owner string
	// Interval is the interval at which the page polls the store if the store does not
	// report changes. It must be positive.
	Interval time.Duration
	// Write allows tasks to be cancelled.
	Write bool
	// Owners shows the names of owners; without it a label stands for each.
	Owners bool
	// Payload allows requests and results of clients to be shown, by a click.
	Payload bool
	// Token is the secret by which browsers log in, and which programs send as a Bearer
	// token. If it is empty, access is open and the address must be a loopback one.
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
	csrf      string        // the secret that a request for a change must send
	session   string        // the cookie's value after a login
	streams   chan struct{} // a token for each open stream
}

// maxStreams is the greatest number of open pages.
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

// config sends the page its permissions.
func (s *server) config(w http.ResponseWriter, _ *http.Request) {
	reply(w, http.StatusOK, map[string]any{
		"write": s.Write, "payload": s.Payload, "owners": s.Owners, "all": s.Owner == "",
		"csrf": s.csrf, "interval_ms": s.Interval.Milliseconds(),
	})
}

// shutdownTime limits the wait for requests in progress.
const shutdownTime = 3 * time.Second

// Serve serves the page of b on l until ctx is done. It then ends the streams, closes l and
// returns ctx's error.
func Serve(ctx context.Context, l net.Listener, b taskstore.StorageBackend, opts Options) error {
	if isPublic(l.Addr()) && opts.Token == "" {
		return errors.Join(ErrNoToken, l.Close())
	}
	s := newServer(b, l.Addr(), opts)
	var unused spares
	h := &http.Server{
		ConnState:         unused.note,
		Handler:           s.handler(),
		BaseContext:       func(net.Listener) context.Context { return ctx },
		ReadHeaderTimeout: 5 * time.Second,
		ReadTimeout:       10 * time.Second,
		IdleTimeout:       time.Minute,
		MaxHeaderBytes:    16 << 10,
	}
	h.RegisterOnShutdown(unused.closeAll)
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

package mcptasks

import (
	"crypto/rand"
	"fmt"
	"os"
	"sync"
	"time"
	"weak"

	"github.com/modelcontextprotocol/go-sdk/mcp"

	"github.com/taskstore/taskstore"
	"github.com/taskstore/taskstore/tasks"
)

// A Tasks serves the tasks of MCP servers from one store. Its methods may be
// called by any number of goroutines at once.
type Tasks struct {
	backend taskstore.StorageBackend
	store   *tasks.Store
	opts    Options
	log     logger
	holder  string        // this replica's name in leases
	slots   chan struct{} // one for each lost task that runs here
	runs    executions

	keepAlive     time.Duration // see the constant
	subscriptions subscriptions
	warned        struct{ uninstalled, tooOld, anonymous sync.Once }
	joints        joints
	waits         waits

	mu      sync.Mutex
	servers map[weak.Pointer[mcp.Server]]weak.Pointer[installation]
}

// New returns tasks on store, which stays the caller's. Nil opts mean the
// defaults. An option that makes no sense gives an error that matches
// [tasks.ErrInvalid].
func New(store taskstore.StorageBackend, opts *Options) (*Tasks, error) {
	if opts == nil {
		opts = &Options{}
	}
	resolved := opts.resolve()
	var err error
	if resolved.Fallback, err = resolved.Fallback.resolve(); err != nil {
		return nil, err
	}
	s, err := tasks.New(store, &resolved.Tasks)
	if err != nil {
		return nil, err
	}
	host, _ := os.Hostname()
	t := &Tasks{
		backend:   store,
		store:     s,
		opts:      resolved,
		log:       logger{resolved.Logger},
		holder:    fmt.Sprintf("%.64q %d %s", host, os.Getpid(), rand.Text()),
		slots:     make(chan struct{}, resolved.MaxResumed),
		servers:   make(map[weak.Pointer[mcp.Server]]weak.Pointer[installation]),
		keepAlive: keepAlive,
		runs:      newExecutions(),
	}
	return t, nil
}

// Store returns the tasks below the protocol, for programs that look after them
// by other ways. Its owners are not the names that [Options.Owner] returns but
// derived from them.
func (t *Tasks) Store() *tasks.Store { return t.store }

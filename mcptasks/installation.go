package mcptasks

import (
	"errors"
	"fmt"
	"reflect"
	"runtime"
	"strings"
	"sync"
	"time"
	"unicode/utf8"
	"weak"

	"github.com/modelcontextprotocol/go-sdk/mcp"
)

// An installation is one server's part of a Tasks. The server's own middleware and tools
// keep it alive, so it goes when the server goes, also in a program that makes a server
// for each request.
type installation struct {
	*Tasks
	server  *mcp.Server
	service string            // names, in the store, which servers may run the tasks
	next    mcp.MethodHandler // the rest of the server's chain; nil until Install
	// aside runs the tools of Options.Tool by next, and run runs all others: both with
	// Options.Around around them.
	aside, run mcp.MethodHandler

	draining bool // no handler starts any more; guarded by the mutex of executions

	toolsMu    sync.RWMutex
	tools      map[string]*ToolOptions
	known      map[string]bool // the names of the tools that the server listed last
	knownUntil time.Time

	fallback fallbackTools
}

// maxServiceBytes is the longest name that the store takes, see [tasks.CreateParams].
const maxServiceBytes = 256

// Install makes server speak the extension: it answers tasks/get, tasks/update and
// tasks/cancel, makes tasks of calls of the tools that AddTool added, and declares the
// capability in server/discover. Call it once for a server.
//
// Receiving middleware of the server, whether it is added before Install or after, is
// around the requests: see the package documentation. With [Options].Tool, call Install
// before any receiving middleware is added to server; otherwise a warning says so.
func (t *Tasks) Install(server *mcp.Server) error {
	in := t.installation(server)
	if in.service = t.opts.Name; in.service == "" {
		var ok bool
		if in.service, ok = implementationName(server); !ok {
			return errors.New("mcptasks: the server's name cannot be read from this version of the SDK: set Options.Name")
		}
	}
	if len(in.service) > maxServiceBytes || !utf8.ValidString(in.service) {
		return fmt.Errorf("mcptasks: the server's name must be UTF-8, of at most %d bytes: set Options.Name", maxServiceBytes)
	}
	t.mu.Lock()
	twice := in.next != nil
	t.mu.Unlock()
	if twice {
		return errors.New("mcptasks: Install was already called for this server")
	}
	for _, method := range []string{methodGet, methodUpdate, methodCancel} {
		if err := mcp.AddReceivingCustomMethod(server, method, in.taskMethod); err != nil {
			return err
		}
	}
	if t.opts.Tool != nil { // which may give any tool a fallback, at any time
		in.addFallbackTools()
	}
	server.AddReceivingMiddleware(func(next mcp.MethodHandler) mcp.MethodHandler {
		if t.opts.Tool != nil && !ofSDK(next) {
			t.log.installedLate(in.service)
		}
		t.mu.Lock()
		defer t.mu.Unlock()
		in.next, in.aside = next, t.around(next)
		return in.handle
	})
	return nil
}

// installation returns that of server.
func (t *Tasks) installation(server *mcp.Server) *installation {
	t.mu.Lock()
	defer t.mu.Unlock()
	key := weak.Make(server)
	if in := t.servers[key].Value(); in != nil {
		return in
	}
	in := &installation{Tasks: t, server: server, run: t.around(dispatch()), tools: make(map[string]*ToolOptions)}
	t.servers[key] = weak.Make(in)
	runtime.AddCleanup(server, t.forget, key)
	return in
}

// forget drops the entry of a server that is gone.
func (t *Tasks) forget(key weak.Pointer[mcp.Server]) {
	t.mu.Lock()
	defer t.mu.Unlock()
	delete(t.servers, key)
}

// installed reports whether Install was called.
func (in *installation) installed() bool {
	in.mu.Lock()
	defer in.mu.Unlock()
	return in.next != nil
}

// implementationName returns the name with which the server was made. The SDK has
// it in a field that it does not export, and sends it to every client.
func implementationName(server *mcp.Server) (name string, ok bool) {
	impl := reflect.ValueOf(server).Elem().FieldByName("impl")
	if impl.Kind() != reflect.Pointer || impl.IsNil() || impl.Type().Elem() != reflect.TypeFor[mcp.Implementation]() {
		return "", false
	}
	return impl.Elem().FieldByName("Name").String(), true
}

// ofSDK reports whether next is the SDK's own code and no middleware that was added to a
// server.
func ofSDK(next mcp.MethodHandler) bool {
	f := runtime.FuncForPC(reflect.ValueOf(next).Pointer())
	return f != nil && strings.HasPrefix(f.Name(), reflect.TypeFor[mcp.Server]().PkgPath()+".")
}

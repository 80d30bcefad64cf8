// # Log lines
//
// [Options].Logger gets these lines, each with "mcptasks: " before it. Their attributes
// are a tool's name, numbers, methods, and errors of the store, which name no owner, id,
// key or payload; error is also the error of Options.Owner, unchanged. A task that is
// created and one that ends as its handler says are not logged: middleware sees every
// call.
//
//	INFO   this server resumes a lost task                  tool
//	INFO   this server hands a task over                    tool
//	INFO   a task failed                                    tool, reason
//	INFO   a task is lost; this server stops its handler    tool
//	INFO   a task runs on beyond its TTL                    tool
//	INFO   a call could not become a task                   tool, error: a limit of Options.Tasks
//	WARN   a call could not become a task                   tool, error: of the store
//	WARN   a task is given up                               tool, reason
//	WARN   the renewal of a lease failed                    tool, error
//	WARN   an early report of a new task is lost            tool, error
//	WARN   the search for lost tasks failed                 error
//	WARN   the pushes of a task stopped                     error
//	WARN   a request is refused: its owner is unknown       error: of Options.Owner
//	WARN   a request is refused: Options.Owner returned an owner that is empty or too long; for an anonymous caller return ErrAnonymous    bytes, max
//	WARN   a client that declares tasks got a synchronous answer: call Install for its server    tool
//	WARN   a client could not negotiate a protocol version with tasks: over HTTP, serve Tasks.HTTPHandler, or set StreamableHTTPOptions.Stateless    version
//	WARN   Options.Tool is set, and receiving middleware was added before Install: it runs around the handlers of those tools; call Install first    server: its name
//	WARN   a client without tasks got no fallback: its caller is anonymous; authenticate it, or set FallbackOptions.Anonymous, or on stdio connect the server to Tasks.Transport    tool
//	ERROR  subscriptions/listen is refused: the http.ResponseWriter cannot flush; remove http.TimeoutHandler and the like around the handler    method
//	ERROR  a request failed                                 method, error
//	ERROR  a tool handler panicked                          tool, type, stack
//	ERROR  a call has no result                             tool
//	ERROR  a call has no session                            tool, error
//	ERROR  the outcome of a task is lost                    tool, error
//	ERROR  a stored task is damaged                         tool, part
//	ERROR  Options.Tool is ignored: it returned invalid options    tool, error
//
// INFO reports the server's own actions; WARN calls for a look at the store or the
// configuration; ERROR means that work was lost or a program is wrong.
package mcptasks

import (
	"errors"
	"log/slog"

	"github.com/taskstore/taskstore/tasks"
)

// A logger writes the log lines: each is one method, whose parameters are all that
// the line can hold.
type logger struct{ to *slog.Logger }

func (l logger) resumed(tool string) {
	l.to.Info("mcptasks: this server resumes a lost task", "tool", tool)
}
func (l logger) handedOver(tool string) {
	l.to.Info("mcptasks: this server hands a task over", "tool", tool)
}

// failed is for a reason of the server's: it was shut down, or is gone.
func (l logger) failed(tool, reason string) {
	l.to.Info("mcptasks: a task failed", "tool", tool, "reason", reason)
}

// lost is for a task that was removed, has expired or is another replica's by now.
func (l logger) lost(tool string) {
	l.to.Info("mcptasks: a task is lost; this server stops its handler", "tool", tool)
}

func (l logger) overstays(tool string) {
	l.to.Info("mcptasks: a task runs on beyond its TTL", "tool", tool)
}

func (l logger) noTask(tool string, err error) {
	write := l.to.Warn
	if errors.Is(err, tasks.ErrLimit) {
		write = l.to.Info
	}
	write("mcptasks: a call could not become a task", "tool", tool, "error", err)
}

// givenUp is for a task that only another configuration would have let end: it ran for
// as long as MaxTTL allows, or was begun as often as MaxRuns does, or no server has its
// tool.
func (l logger) givenUp(tool, reason string) {
	l.to.Warn("mcptasks: a task is given up", "tool", tool, "reason", reason)
}

func (l logger) renewalFailed(tool string, err error) {
	l.to.Warn("mcptasks: the renewal of a lease failed", "tool", tool, "error", err)
}

// reportLost is for a report of the handler from before there was a task.
func (l logger) reportLost(tool string, err error) {
	l.to.Warn("mcptasks: an early report of a new task is lost", "tool", tool, "error", err)
}

func (l logger) lookingFailed(err error) {
	l.to.Warn("mcptasks: the search for lost tasks failed", "error", err)
}

func (l logger) pushesEnd(err error) {
	l.to.Warn("mcptasks: the pushes of a task stopped", "error", err)
}

func (l logger) notInstalled(tool string) {
	l.to.Warn("mcptasks: a client that declares tasks got a synchronous answer: call Install for its server", "tool", tool)
}

func (l logger) tooOld() {
	l.to.Warn("mcptasks: a client could not negotiate a protocol version with tasks: over HTTP, serve Tasks.HTTPHandler, or set StreamableHTTPOptions.Stateless",
		"version", firstVersion)
}

func (l logger) installedLate(server string) {
	l.to.Warn("mcptasks: Options.Tool is set, and receiving middleware was added before Install: it runs around the handlers of those tools; call Install first", "server", server)
}

func (l logger) noFallback(tool string) {
	l.to.Warn("mcptasks: a client without tasks got no fallback: its caller is anonymous; authenticate it, or set FallbackOptions.Anonymous, or on stdio connect the server to Tasks.Transport",
		"tool", tool)
}

func (l logger) cannotFlush() {
	l.to.Error("mcptasks: subscriptions/listen is refused: the http.ResponseWriter cannot flush; remove http.TimeoutHandler and the like around the handler",
		"method", methodListen)
}

func (l logger) ownerUnknown(err error) {
	l.to.Warn("mcptasks: a request is refused: its owner is unknown", "error", err)
}

// ownerUnusable is for an owner of so many bytes.
func (l logger) ownerUnusable(bytes int) {
	l.to.Warn("mcptasks: a request is refused: Options.Owner returned an owner that is empty or too long; for an anonymous caller return ErrAnonymous",
		"bytes", bytes, "max", maxNamed)
}

func (l logger) requestFailed(method string, err error) {
	l.to.Error("mcptasks: a request failed", "method", method, "error", err)
}

// panicked gets the type of the panic's value: the value itself may hold payload.
func (l logger) panicked(tool, kind, stack string) {
	l.to.Error("mcptasks: a tool handler panicked", "tool", tool, "type", kind, "stack", stack)
}

func (l logger) noResult(tool string) { l.to.Error("mcptasks: a call has no result", "tool", tool) }

func (l logger) noSession(tool string, err error) {
	l.to.Error("mcptasks: a call has no session", "tool", tool, "error", err)
}

func (l logger) outcomeLost(tool string, err error) {
	l.to.Error("mcptasks: the outcome of a task is lost", "tool", tool, "error", err)
}

// damaged names the part of the task.
func (l logger) damaged(tool, part string) {
	l.to.Error("mcptasks: a stored task is damaged", "tool", tool, "part", part)
}

func (l logger) badOptions(tool string, err error) {
	l.to.Error("mcptasks: Options.Tool is ignored: it returned invalid options", "tool", tool, "error", err)
}

package mcptasks

import (
	"context"
	"fmt"
	"log/slog"
	"time"

	"github.com/modelcontextprotocol/go-sdk/mcp"

	"github.com/taskstore/taskstore/tasks"
)

// Options adjusts a [Tasks]. The zero value means the defaults. All replicas of a server
// should have the same options.
type Options struct {
	// Name is shared by the servers that share their work. A task that continues after
	// its replica was lost, or after it was answered, runs only on a server of the name
	// that made it. Default: the name in the server's [mcp.Implementation]. Set it if
	// that differs between replicas. It is UTF-8, of at most 256 bytes.
	//
	// Programs of different names may share a store, and then they share its owners and
	// limits too. To keep one program from showing, answering and cancelling the other's
	// tasks, give each a store of its own, by a Prefix say.
	Name string

	// Tasks are the policy and the limits of the stored tasks: TTL, retention, poll
	// interval, lease, how many an owner may have, sizes. The server answers a call that
	// exceeds them without a task, or, if its tool is [ToolOptions].Required, with an
	// error that says why. [Task.Promote] returns that error to its handler.
	Tasks tasks.Options

	// Owner names the owner of a request, and so of its tasks. The default is
	// [mcp.RequestExtra].TokenInfo.UserID. If users come from several issuers or tenants,
	// return issuer, tenant and subject together.
	//
	// [ErrAnonymous] makes the request an anonymous one, as the default does for a
	// request without TokenInfo: then the task's id is all that guards the task. Named
	// owners cannot reach anonymous tasks, nor anonymous callers those of named owners.
	// Clients send that id in the Mcp-Name header too, which proxies log: serve no
	// anonymous requests if proxies or their logs are not to be trusted with the tasks.
	// Any other error refuses the request, as does an owner that is empty or longer than
	// 1020 bytes, and, by default, a token without a user.
	//
	// The limits on the number of tasks hold for each named owner. Anonymous tasks are
	// spread over 256 owners at random: the limits bound all anonymous callers together,
	// at 256 times themselves, and not each of them.
	Owner func(context.Context, mcp.Request) (string, error)

	// Tool returns the options of a tool that other code than AddTool and AddRawTool
	// added to the server. If it returns nil, calls of this tool do not become tasks. It
	// is called for every call of such a tool and for every one of its tasks that goes
	// on, by any number of goroutines at once, and must not call the server. Options that make no
	// sense count as nil, and a log line says so. Nil: there are no such tools.
	//
	// The calls of these tools become tasks at Install's place in the server's chain, so
	// call Install before adding any other receiving middleware. Middleware added before
	// it runs around the first run of the handler and not around the request. The task
	// checks the arguments. A call within a second of the removal of its tool may become
	// a task that fails. Servers that need other policies get a Tasks each, of one store.
	Tool func(name string) *ToolOptions

	// Around is middleware around every run of a tool's handler: the first one, one for a
	// client without the extension, one with answers, and one on another replica after a
	// crash, which has no request. It is called with "tools/call" and returns the result
	// that the client, or the task, gets. Receiving middleware of the server is around
	// requests instead, and does not see a run or its result. [Caller] names the caller
	// that a run is for, and [FromContext] returns its task: a call that becomes a task
	// at once does so when Around calls the handler. Nil: the handler runs alone.
	Around mcp.Middleware

	// ObserveRun observes every run of a handler as a task; see [RunObserver]. The
	// Observer of Tasks observes the tasks themselves. Nil: runs are not observed.
	ObserveRun func(context.Context, RunBegin) RunObserver

	// Fallback serves clients without the extension, for tools with a fallback.
	Fallback FallbackOptions

	// Logger gets the events that no caller can be told; the package documentation has
	// the lines. Ids, owners and payloads are left out. Nil: [slog.Default], as it is
	// when New is called. For no log at all, give one with [slog.DiscardHandler].
	Logger *slog.Logger

	// RequireNameHeader refuses requests about a task over HTTP that lack the Mcp-Name
	// header, as the letter of SEP-2243 and of the extension wants it. By default the
	// server refuses only a header that names another task: widespread clients send no
	// such header (the official TypeScript client 2.0.0, FastMCP's), and since replicas
	// share their store, requests need no routing by it. A proxy that routes by it needs
	// all clients to send it.
	RequireNameHeader bool

	// MaxListen is how many tasks one subscriptions/listen can name; the server ignores
	// the rest, and leaves them out of the acknowledgement. Default 64.
	MaxListen int
	// MaxSubscriptions is how many subscriptions/listen with tasks this process serves at
	// once. One more gets an error that says to ask again, as during a shutdown; another
	// replica may have room. As many calls with a [Fallback] may wait for their task,
	// those of the status tool say; one more does not wait, and its answer says so.
	// Default 1000.
	MaxSubscriptions int
	// MaxOwnerSubscriptions bounds the subscriptions, and the waiting calls, of one named
	// owner, or of the process's user on stdio. One more subscription gets error -32603,
	// which says so; one more call does not wait. Anonymous ones are bounded by
	// MaxSubscriptions alone. Default 32.
	MaxOwnerSubscriptions int
	// MaxRequestBytes bounds the bodies of subscriptions/listen that [Tasks.Handler]
	// reads; the SDK's handler bounds all others. Default 4 MiB.
	MaxRequestBytes int64
	// MaxResumed is how many tasks of lost replicas [Tasks.Run] runs at once; it takes
	// the next one as soon as another has ended. Tasks that go on because they were
	// answered do not count. Default 16.
	MaxResumed int
	// DrainTimeout is how long [Tasks.Run] lets handlers finish when its context ends.
	// The tasks of tools with Retry are handed over at once. Default 10 s.
	DrainTimeout time.Duration
}

func (o Options) resolve() Options {
	if o.Owner == nil {
		o.Owner = tokenOwner
	}
	if o.Logger == nil {
		o.Logger = slog.Default()
	}
	if o.MaxListen <= 0 {
		o.MaxListen = 64
	}
	if o.MaxSubscriptions <= 0 {
		o.MaxSubscriptions = 1000
	}
	if o.MaxOwnerSubscriptions <= 0 {
		o.MaxOwnerSubscriptions = 32
	}
	if o.MaxRequestBytes <= 0 {
		o.MaxRequestBytes = 4 << 20
	}
	if o.MaxResumed <= 0 {
		o.MaxResumed = 16
	}
	if o.DrainTimeout <= 0 {
		o.DrainTimeout = 10 * time.Second
	}
	return o
}

// A Mode tells when a call of a tool becomes a task, for clients that declare the
// extension. See [Fallback] for the others.
type Mode int

const (
	// Auto makes every call a task, or, with a Grace, every call that takes longer.
	Auto Mode = iota
	// Manual makes a call a task when the handler calls [Task.Promote]. Until then a
	// return of the handler is an ordinary answer, also a request for input.
	Manual
)

// ToolOptions adjusts one tool. The zero value means the defaults. [AddTool] panics if
// one makes no sense.
type ToolOptions struct {
	Mode Mode
	// Grace lets an Auto tool answer without a task if it is done this fast. The server
	// stores the task only after Grace; if the store is away just then, when it is back.
	Grace time.Duration
	// Required refuses clients without the extension, with error -32021, instead of
	// running the tool synchronously. Few clients have the extension as yet: keep
	// Required for a tool that is of no use without a task. With [FallbackOn] it refuses
	// only clients that get no fallback.
	Required bool
	// Fallback serves clients without the extension. Default: that of [Options].
	Fallback Fallback
	// Repeats decides the fate of the same call, by a client without the extension, while
	// the first one runs.
	Repeats Repeats
	// TTL and PollInterval are those of the tool's tasks. 0: those of
	// [Options].Tasks.
	TTL, PollInterval time.Duration
	// Retry says that the server may call the handler again, from its start and with the
	// last [Task.SaveState], after its replica was lost or shut down; see [Tasks.Run].
	// Without it such a task fails. As after input, req.Extra is then nil: see [Caller].
	//
	// A record of such a task lives until MaxTTL of [Options].Tasks. If no server has its
	// tool, or may call it again, the task fails after ten leases, and a warning says so.
	//
	// A handler that ends its process, by using up memory or calling [os.Exit], would end
	// the next replica too: see MaxRuns.
	Retry bool
	// MaxRuns is how often at most the handler of a tool with Retry begins when its
	// replicas are lost, counted in the store: once the last one is lost, the task fails,
	// and a warning says so. A run that ends with a question, or at a shutdown, goes on
	// in the next one and does not count. Default 5; negative: until MaxTTL.
	MaxRuns int

	idempotent bool // the tool's hint
}

// check reports the option that makes no sense.
func (o *ToolOptions) check() error {
	if o.Mode != Auto && o.Mode != Manual {
		return fmt.Errorf("ToolOptions.Mode is %d; it must be Auto or Manual", o.Mode)
	}
	if err := o.checkFallback(); err != nil {
		return err
	}
	for _, d := range []struct {
		name  string
		value time.Duration
		zero  string
	}{
		{"Grace", o.Grace, "0 makes every call a task at once"},
		{"TTL", o.TTL, "0 selects the value of Options.Tasks"},
		{"PollInterval", o.PollInterval, "0 selects the value of Options.Tasks"},
	} {
		if d.value < 0 {
			return fmt.Errorf("ToolOptions.%s is %v; it must not be negative: %s", d.name, d.value, d.zero)
		}
	}
	return nil
}

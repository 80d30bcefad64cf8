package mcptasks

import (
	"context"
	"fmt"
	"log/slog"
	"time"

	"github.com/modelcontextprotocol/go-sdk/mcp"

	"github.com/taskstore/taskstore/tasks"
)

// Options adjusts a [Tasks]. The zero value means the defaults. All replicas of a
// server should have the same.
type Options struct {
	// Name says which servers share their work: a task goes on, after its replica was
	// lost or when it was answered, only on a server of the name that made it.
	// Default: the name in the server's [mcp.Implementation]. Set it where that
	// differs between replicas. It is UTF-8, of at most 256 bytes.
	//
	// Programs of different names may share a store, and then its owners and their
	// limits too. Give each a store of its own, by a Prefix say, where one is not to
	// show, answer and cancel the other's tasks.
	Name string

	// Tasks are the policy and the limits of the stored tasks: TTL, retention, poll
	// interval, lease, how many an owner may have, sizes. A call that is too much for
	// them is answered without a task; where its tool is [ToolOptions].Required it gets
	// an error that says why. [Task.Promote] returns that error to its handler.
	Tasks tasks.Options

	// Owner tells whom a request comes from; its tasks belong to that owner. The
	// default is [mcp.RequestExtra].TokenInfo.UserID. Where users come from several
	// issuers or tenants, return issuer, tenant and subject together.
	//
	// [ErrAnonymous] makes the request an anonymous one, as the default does where
	// there is no TokenInfo: then the task's id is all that guards the task. No
	// named owner can reach an anonymous task, nor the other way round. Clients send that
	// id in the Mcp-Name header too, which proxies log: where proxies or their logs are not
	// to be trusted with the tasks, serve no anonymous requests. Any other
	// error refuses the request, and so does an owner that is empty or longer than
	// 1020 bytes; so does the default where there is a token that names no user.
	//
	// How many tasks there may be is bounded for each named owner. Anonymous tasks
	// are spread over 256 owners at random: the limits bound what all anonymous
	// callers have together, at 256 times themselves, and not what one of them has.
	Owner func(context.Context, mcp.Request) (string, error)

	// Tool tells the options of tools that AddTool and AddRawTool did not add to their
	// server but somebody else's code did; nil: calls of this one never become tasks. It
	// is called for every call of such a tool and for every one of its tasks that goes
	// on, by any number of goroutines at once, and must not call the server. Options that
	// make no sense count as nil, and a log line says so. Nil: there are no such tools.
	//
	// The calls of these tools become tasks where Install is in the server's chain, which
	// so has to be before any other receiving middleware. What was added before it runs
	// around the first run of the handler and not around the request. Arguments are looked
	// at in the task. A call within a second of the removal of its tool may become a task
	// that fails. Servers that need other policies get a Tasks each, of one store.
	Tool func(name string) *ToolOptions

	// Around is what has to be around every run of a tool's handler: the first one, one
	// for a client without the extension, one with answers, and one on another replica
	// after a crash, which no request belongs to. It is called with "tools/call" and
	// returns the result that the client, or the task, gets. Receiving middleware of the
	// server is around requests, and never sees a run or its result. See [Caller] for
	// whom a run is for, and [FromContext] for its task: a call that becomes a task at once
	// does so where Around has let it come to the handler. Nil: nothing.
	Around mcp.Middleware

	// ObserveRun is told of every run of a handler as a task; see [RunObserver]. What
	// becomes of tasks is told to the Observer of Tasks. Nil: nobody is told.
	ObserveRun func(context.Context, RunBegin) RunObserver

	// Fallback is what clients without the extension get of tools with a fallback.
	Fallback FallbackOptions

	// Logger gets what no caller can be told; the package documentation has the lines.
	// It never gets ids, owners or payloads. Nil: [slog.Default], as it is when New is
	// called. To log nothing give one with [slog.DiscardHandler].
	Logger *slog.Logger

	// RequireNameHeader refuses requests about a task over HTTP that lack the
	// Mcp-Name header, as the letter of SEP-2243 and of the extension wants it. By
	// default only a header that names another task is refused: widespread clients
	// send none (the official TypeScript client 2.0.0, FastMCP's), and since
	// replicas share their store, no request has to be routed by it. A proxy that
	// routes by it needs all clients to send it.
	RequireNameHeader bool

	// MaxListen is how many tasks one subscriptions/listen can name; what is beyond
	// is not looked at and left out of the acknowledgement. Default 64.
	MaxListen int
	// MaxSubscriptions is how many subscriptions/listen with tasks this process serves at
	// once. One more gets an error that says to ask again, as where the server shuts
	// down; another replica may have room. As many calls with a [Fallback] may wait for
	// their task, those of the status tool say; one more does not wait, and its answer
	// says so. Default 1000.
	MaxSubscriptions int
	// MaxOwnerSubscriptions is how many of them one named owner, or the process's user on
	// stdio, may have: of the former, where one more gets error -32603, which says so, and
	// of the latter. Anonymous ones are bounded by MaxSubscriptions alone. Default 32.
	MaxOwnerSubscriptions int
	// MaxRequestBytes bounds the bodies of subscriptions/listen that [Tasks.Handler]
	// reads; all others the SDK's handler bounds. Default 4 MiB.
	MaxRequestBytes int64
	// MaxResumed is how many tasks of lost replicas [Tasks.Run] runs at once; the next
	// one is taken as soon as another has ended. Tasks that go on because
	// they were answered do not count. Default 16.
	MaxResumed int
	// DrainTimeout is how long [Tasks.Run] lets handlers finish when its context
	// ends, but for those of tools with Retry, whose tasks it hands over at once.
	// Default 10 s.
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
	// Manual makes a call a task when the handler calls [Task.Promote]. Until then
	// whatever the handler returns is an ordinary answer, also a request for input.
	Manual
)

// ToolOptions adjusts one tool. The zero value means the defaults. [AddTool] panics
// where one makes no sense.
type ToolOptions struct {
	Mode Mode
	// Grace lets an Auto tool answer without a task if it is done this fast. The
	// task is then stored only after Grace; if the store is away just then, when it is
	// back.
	Grace time.Duration
	// Required refuses clients without the extension, with error -32021, instead of
	// running the tool synchronously. Few clients have the extension as yet, so with
	// Required nearly every client of today is refused: keep it for a tool that is of no
	// use without a task. With [FallbackOn] only those are refused that get no fallback.
	Required bool
	// Fallback serves clients without the extension. Default: that of [Options].
	Fallback Fallback
	// Repeats tells what becomes of the same call, by a client without the extension,
	// while the first one runs.
	Repeats Repeats
	// TTL and PollInterval are those of the tool's tasks. 0: those of
	// [Options].Tasks.
	TTL, PollInterval time.Duration
	// Retry says that the handler may be called again, from its start and with the
	// last [Task.SaveState], after its replica was lost or shut down; see
	// [Tasks.Run]. Without it such a task fails. As after input, req.Extra is then
	// nil: see [Caller].
	//
	// A record of such a task lives until MaxTTL of [Options].Tasks. One that no server
	// has the tool for, or may call again, fails after ten leases, and a warning says so.
	//
	// A handler that ends its process, by using up memory or calling [os.Exit], would end
	// the next replica too: see MaxRuns.
	Retry bool
	// MaxRuns is how often the handler of a tool with Retry is begun at most, counted in
	// the store, where its replicas are lost: the last one lost, the task fails, and a
	// warning says so. A run that ends with a question, or at a shutdown, goes on in the
	// next one and does not count. Default 5; negative: until MaxTTL.
	MaxRuns int

	idempotent bool // the tool's hint
}

// check says what is wrong with the options.
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
		{"TTL", o.TTL, "0 means that of Options.Tasks"},
		{"PollInterval", o.PollInterval, "0 means that of Options.Tasks"},
	} {
		if d.value < 0 {
			return fmt.Errorf("ToolOptions.%s is %v; it must not be negative: %s", d.name, d.value, d.zero)
		}
	}
	return nil
}

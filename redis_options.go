package taskstore

import (
	"errors"
	"time"

	"github.com/taskstore/taskstore/internal/redislink"
)

// RedisOptions adjusts a RedisBackend. The zero value means the defaults.
type RedisOptions struct {
	// Prefix starts every key and channel name. Empty means "taskstore". Colons are
	// fine ("app:prod"); braces are refused because they would replace the hash tag.
	// Backends with one prefix on one server share their records.
	Prefix string
	// MaxRecordsPerOwner is how many records a collection of an owner may have. A create
	// beyond it gives an error that matches [ErrCapacityExceeded]; updates go on. 0 or
	// less: no limit. The count is exact under concurrent writers, while the server's
	// clock does not step back. The limit of a ctx from [WithRecordLimit] overrides it.
	MaxRecordsPerOwner int
	// MaxDataBytes is the greatest length of a record's Data. A longer one gives an
	// error that matches [ErrCapacityExceeded]. 0 or less: as much as the server takes,
	// by its settings proto-max-bulk-len, 512 MiB by default, and
	// client-query-buffer-limit. Data beyond those gives such an error too, after it was
	// sent; if the server's user may not read the settings (CONFIG GET), the backend
	// sends it up to three times, and the error matches [ErrOutcomeUnknown] as well.
	MaxDataBytes int
	// NoHints turns off the hints that writes publish, which saves the server a little
	// work at each. Watch then fails with an error that matches [errors.ErrUnsupported],
	// and the watches of backends without NoHints miss the writes of this one.
	NoHints bool
	// AutoPipeline makes concurrent calls share round trips, by the client's automatic
	// pipelining. go-redis calls that experimental: a later version of it may behave
	// otherwise. It is for a process with a dozen or more concurrent calls on small
	// tasks; writes with few calls, and all calls with tasks of 64 KiB, are slower, see
	// bench/RESULTS.md. Every promise holds as without it. The differences are:
	//
	//   - A call waits for all that it is sent with, and for those sent before. So it is
	//     in a Cluster too, with about GOMAXPROCS batches under way: a node that hangs, or
	//     is gone, holds up calls for others for seconds at a time, by the client's
	//     timeouts, until it is replaced.
	//   - A connection that breaks loses the answers of a whole batch. More writes are
	//     resent, and more of them end with [ErrOutcomeUnknown].
	//   - A call whose ctx ends returns at once. But a write counts as sent as soon as it
	//     is queued, even to a server that is down, so its error then matches
	//     [ErrOutcomeUnknown]; and it may be sent yet.
	//   - Closing the client waits for the queue to be sent, up to half a minute if no
	//     server answers; without AutoPipeline it does not wait.
	//
	// Listings, and writes with MinReplicas, have pipelines of their own anyway. A client
	// whose AutoPipelineOptions ask for FullDuplex is refused.
	AutoPipeline bool
	// MinReplicas is how many replicas must acknowledge a write before it succeeds; 0 or
	// less: no wait. With 1 a write that succeeded survives the loss of its master, as
	// long as the replica that takes its place was in sync. A write that fewer replicas
	// acknowledge within ReplicaTimeout fails with an error that matches
	// [ErrOutcomeUnknown]: it is applied, and may be lost with its master. Each write
	// takes longer by a round trip between master and replica. Reads are not covered.
	// While a Cluster moves a slot to a node that had no slot, writes to moved keys
	// wait until the move is over.
	MinReplicas int
	// ReplicaTimeout is how long a write waits for MinReplicas, in whole milliseconds.
	// 0 means a second. A write waits twice if the server does not know its script
	// yet. It must be shorter than the client's read timeout, which is checked if the
	// client reveals it.
	ReplicaTimeout time.Duration
	// Resent is called each time that the backend sends something again which got no
	// usable answer: the answer was lost, a failover is under way, a slot moves. It is for
	// metrics. The call that resends makes it, on its own goroutine, and waits for it, so it
	// must not block; those of several calls overlap. A panic reaches the caller. Nil: nothing
	// is called.
	Resent func() `json:"-"`
}

// argument is the error of an option, or of a client, that a link cannot use.
func argument(err error) error {
	var option *redislink.OptionError
	if !errors.As(err, &option) {
		return err
	}
	name := option.Option
	if name != "client" {
		name = "RedisOptions." + name
	}
	return &ArgumentError{Argument: name, Reason: option.Reason}
}

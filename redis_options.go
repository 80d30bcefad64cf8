package taskstore

import (
	"errors"
	"time"

	"github.com/taskstore/taskstore/internal/redislink"
)

// RedisOptions adjusts a RedisBackend. The zero value means the defaults.
type RedisOptions struct {
	// Prefix starts every key and channel name. Empty means "taskstore". Colons are
	// fine ("app:prod"); braces are refused, they would take the place of the hash
	// tag. Backends with one prefix on one server share their records.
	Prefix string
	// MaxRecordsPerOwner is how many records a collection of an owner may have. A create
	// beyond it
	// gives an error that matches [ErrCapacityExceeded]; updates go on. 0 or less:
	// no limit. The count is exact whoever else writes, while the server's clock does
	// not step back. A ctx from [WithRecordLimit] takes its place.
	MaxRecordsPerOwner int
	// MaxDataBytes is how long a record's Data may be. A longer one gives an error
	// that matches [ErrCapacityExceeded]. 0 or less: as much as the server takes, by
	// its settings proto-max-bulk-len, 512 MiB by default, and
	// client-query-buffer-limit. Data longer than those gives such an error too,
	// after it was sent; where the server's user may not ask for the settings, CONFIG
	// GET, it is sent up to three times, and the error matches [ErrOutcomeUnknown] as
	// well.
	MaxDataBytes int
	// NoHints makes writes publish nothing, which saves the server a little work at
	// each. Watch then fails with an error that matches [errors.ErrUnsupported],
	// and what backends without NoHints watch misses the writes of this one.
	NoHints bool
	// AutoPipeline has calls that are made at the same time share round trips, by the
	// client's automatic pipelining, which go-redis calls experimental: a later version
	// of it may behave otherwise. It is for a process with some dozen calls at once or
	// more, on small tasks: writes with few calls, and all with tasks of 64 KiB, are
	// slower, see bench/RESULTS.md. Every promise holds as without it. The differences are:
	//
	//   - A call waits for all that it is sent with, and for those sent before. In a
	//     Cluster too, where about as many batches are under way as GOMAXPROCS says: a
	//     node that hangs, or is gone, holds up calls for others for seconds at a time,
	//     by the client's timeouts, until it is replaced.
	//   - A connection that breaks takes the answers of a whole batch with it. More
	//     writes are resent, and more of them end with [ErrOutcomeUnknown].
	//   - A call whose ctx ends returns at once. But a write counts as sent as soon as it
	//     waits to be sent, even to a server that is down, so its error then matches
	//     [ErrOutcomeUnknown]; and it may be sent yet.
	//   - Closing the client waits for what was to be sent, up to half a minute where
	//     nobody answers; without AutoPipeline it does not wait.
	//
	// Listings, and writes with MinReplicas, have pipelines of their own anyway. A client
	// whose AutoPipelineOptions ask for FullDuplex is refused.
	AutoPipeline bool
	// MinReplicas is how many replicas must have acknowledged a write before it
	// succeeds; 0 or less: none. With 1 a write that succeeded survives the loss of its
	// master, as long as the replica that takes its place was in sync. A write that
	// fewer acknowledge within ReplicaTimeout fails with an error that matches
	// [ErrOutcomeUnknown]: it is applied, and may be lost with its master. Each write
	// takes a round trip between master and replica longer. Reads are not covered.
	// While a Cluster moves a slot to a node that had none, writes to what has moved
	// wait until the move is over.
	MinReplicas int
	// ReplicaTimeout is how long a write waits for MinReplicas, in whole milliseconds.
	// 0 means a second. A write waits twice where the server does not know its script
	// yet. It must be shorter than the client's read timeout, which is checked where the
	// client tells it.
	ReplicaTimeout time.Duration
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

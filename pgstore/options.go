package pgstore

import (
	"fmt"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/taskstore/taskstore"
)

// Options adjusts a Backend. The zero value means the defaults.
type Options struct {
	// Schema is the name of the database's schema that has the tables: at most 63 bytes of
	// UTF-8 without ' and $$, that do not begin with pg_. Empty means "taskstore". Backends
	// with one schema of one database share their records.
	Schema string
	// MaxRecordsPerOwner is how many records a collection of an owner may have. A create
	// beyond it gives an error that matches [taskstore.ErrCapacityExceeded]; updates go
	// on. 0 or less: no limit. The count is exact whoever else writes, while the server's
	// clock does not step back. A ctx from [taskstore.WithRecordLimit] takes its place.
	MaxRecordsPerOwner int
	// MaxDataBytes is how long a record's Data may be. A longer one gives an error that
	// matches [taskstore.ErrCapacityExceeded]. 0 or less: 256 MiB, the most there can be. A
	// batch may have 1,000,000,000 bytes of data altogether.
	MaxDataBytes int
	// PollInterval is how often a process that watches asks for changes: a hint of what
	// another process wrote is about half of it late. What the same backend writes has it
	// ask at once. 0 means 100 milliseconds; less than 1 millisecond is refused.
	PollInterval time.Duration
	// Notify has writes wake the watchers of all processes by NOTIFY, which also poll as
	// often as without it. It needs a connection that leads to the server itself: a
	// pooler in transaction mode swallows the notifications, and Check says so.
	// PostgreSQL orders the commits of transactions that notify one after the other, so
	// it is for stores with some hundred writes per second or less. Set it on all
	// backends of a store.
	Notify bool
}

const (
	defaultSchema       = "taskstore"
	defaultPollInterval = 100 * time.Millisecond
	// maxData is well below the longest message that a server reads, 1 GiB.
	maxData = 256 << 20
	// maxBatchData leaves room for the keys of a batch in such a message.
	maxBatchData = 1_000_000_000
	// maxName is how much of a name PostgreSQL keeps.
	maxName = 63
)

// complete returns o with the defaults in place.
func (o *Options) complete() (Options, error) {
	var c Options
	if o != nil {
		c = *o
	}
	if c.Schema == "" {
		c.Schema = defaultSchema
	}
	// The functions of the schema quote its name between ' and between $$.
	if len(c.Schema) > maxName || !utf8.ValidString(c.Schema) || strings.ContainsAny(c.Schema, "\x00'") || strings.Contains(c.Schema, "$$") || strings.HasPrefix(c.Schema, "pg_") {
		return c, &taskstore.ArgumentError{Argument: "Options.Schema", Reason: fmt.Sprintf("it must be a name of at most %d bytes of UTF-8, without ' and $$, that does not begin with pg_", maxName)}
	}
	if c.MaxDataBytes <= 0 || c.MaxDataBytes > maxData {
		c.MaxDataBytes = maxData
	}
	if c.PollInterval == 0 {
		c.PollInterval = defaultPollInterval
	}
	if c.PollInterval < time.Millisecond {
		return c, &taskstore.ArgumentError{Argument: "Options.PollInterval", Reason: "it must be a millisecond or more, or 0 for the default"}
	}
	return c, nil
}

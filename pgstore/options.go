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
	// Schema names the schema of the database that has the tables: at most 63 bytes of
	// UTF-8 without ' and $$, not beginning with pg_. Empty means "taskstore". Backends
	// with the same schema of the same database share their records.
	Schema string
	// MaxRecordsPerOwner limits the records in a collection of an owner. A create beyond
	// the limit returns an error that matches [taskstore.ErrCapacityExceeded]; updates
	// still succeed. 0 or less means no limit. The count is exact with any number of
	// writers, unless the server's clock steps back. A ctx from
	// [taskstore.WithRecordLimit] overrides it.
	MaxRecordsPerOwner int
	// MaxDataBytes limits the length of a record's Data. A longer one gives an error that
	// matches [taskstore.ErrCapacityExceeded]. 0 or less means 256 MiB, the maximum. A
	// batch may have 1,000,000,000 bytes of data altogether.
	MaxDataBytes int
	// PollInterval is the interval at which a process that watches polls for changes: a
	// hint of another process's write is late by about half of it. A write of the same
	// backend triggers a poll at once. 0 means 100 milliseconds; less than 1 millisecond
	// is refused.
	PollInterval time.Duration
	// Notify makes writes wake the watchers of all processes by NOTIFY; the watchers still
	// poll at PollInterval. It needs a direct connection to the server: a pooler in
	// transaction mode swallows the notifications, which Check reports. PostgreSQL
	// serializes the commits of transactions that notify, so Notify suits stores with some
	// hundred writes per second or less. Set it on all backends of a store.
	Notify bool
}

const (
	defaultSchema       = "taskstore"
	defaultPollInterval = 100 * time.Millisecond
	// maxData is well below the longest message that a server reads, 1 GiB.
	maxData = 256 << 20
	// maxBatchData leaves room for the keys of a batch in such a message.
	maxBatchData = 1_000_000_000
	// maxName is the length to which PostgreSQL cuts names.
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
		return c, &taskstore.ArgumentError{Argument: "Options.Schema", Reason: fmt.Sprintf("it must be a name of at most %d bytes of UTF-8, without ' and $$ and without the prefix pg_", maxName)}
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

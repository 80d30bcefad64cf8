package tasks

import "time"

// Options adjusts a Store. The zero value means the defaults, which bound the number of
// an owner's tasks and the size and the lifetime of each. All replicas of a server
// should use the same options.
//
//	field                  default   what it bounds
//	DefaultTTL             1h        the TTL of a task if Create is given 0: the task is
//	                                 kept for longer while a runner works on it
//	MaxTTL                 24h       any TTL, and how long a task may run before it fails
//	Retention              1h        how long a task stays after its end
//	PollInterval           1s        how often a client should ask
//	Lease                  30s       how long a silent runner counts as alive, and a third
//	                                 more once a caller has noticed
//	MaxTasks               1,000     the tasks of an owner, ended ones included
//	MaxActive              100       the tasks of an owner that have not ended
//	MaxRequestBytes        256 KiB   Task.Request
//	MaxResultBytes         4 MiB     Task.Result; Task.Error, message and data
//	MaxStateBytes          256 KiB   Task.State
//	MaxStatusMessageBytes  1 KiB     Task.StatusMessage: a longer one is cut, at a rune
//	MaxInputRequests       32        questions that wait at once
//	MaxInputKeyBytes       128       the key of a question
//	MaxInputKeys           1024      questions in the life of a task
//	MaxInputBytes          256 KiB   the questions that wait, with keys; the answers too
//
// A negative Max (other than MaxTTL) means no limit. A TTL or a status message beyond
// its limit is cut; any other excess gives a [*LimitError]. Values that are stored
// already are not measured again. If the backend's own limit on a record refuses a
// write, the error matches [taskstore.ErrCapacityExceeded]: set that limit to the sum
// of these or more. No duration may be longer than 100 years.
//
// MaxTasks and MaxActive hold however many replicas create at once and whenever one of
// them dies, and only existing tasks count; for a backend that is no
// [taskstore.Batcher], see the package documentation. MaxTasks replaces the backend's
// MaxRecordsPerOwner, and a ctx from [taskstore.WithRecordLimit] replaces MaxTasks.
//
// Tasks that wait for input are active; tasks that have ended are not, however long
// they are retained. Orphans are active until a caller reads them. So a Create that
// finds MaxActive reached reads the owner's active tasks once, which settles the
// orphans, in random order and for a second at most. It skips that if another Create
// did so in the last ten seconds (or Lease, if that is shorter).
type Options struct {
	// DefaultTTL is the TTL of a task if Create is given 0, at most MaxTTL. Negative:
	// as long as MaxTTL allows. Clients may count on it; a task that a runner works on
	// is kept for longer, see the package documentation.
	DefaultTTL time.Duration
	// MaxTTL caps every TTL until the task ends, and the time for which a task may run:
	// a task that is working under a lease, or Resumable, at MaxTTL from its creation
	// fails. The record is kept for at most a lease longer, so that readers see the
	// failure. Negative: no cap; only then may a task be without expiry, and a working
	// Resumable task always is.
	MaxTTL time.Duration
	// Retention is how long a task and its result stay after its end.
	Retention time.Duration
	// PollInterval is the PollInterval of a task if Create is given 0, and the interval
	// at which Wait and Changes poll without hints.
	PollInterval time.Duration
	// Lease is how long a lease lasts. Runners renew it at a third of that. The first
	// caller that finds it expired suspects the runner; a third of Lease later the task
	// is settled, or up for another runner. A runner whose renewals take longer than
	// both counts as dead, unless the store was unreachable for everybody. Outside
	// tests choose a Lease that is longer than a failover of the backend and any pause
	// of a process, ten seconds or more.
	Lease time.Duration

	// Observer is told of the store's operations. Nil: no observer.
	Observer *Observer `json:"-"`

	MaxTasks              int
	MaxActive             int
	MaxRequestBytes       int
	MaxResultBytes        int
	MaxStateBytes         int
	MaxStatusMessageBytes int
	MaxInputRequests      int
	MaxInputKeyBytes      int
	MaxInputKeys          int
	MaxInputBytes         int
}

// maxDuration is the longest option; two of them added do not overflow.
const maxDuration = 100 * 365 * 24 * time.Hour

// resolve returns o with the defaults filled in.
func (o Options) resolve() (Options, error) {
	for _, d := range []struct {
		name     string
		value    *time.Duration
		fallback time.Duration
		signed   bool // negative has a meaning
	}{
		{"Options.DefaultTTL", &o.DefaultTTL, time.Hour, true},
		{"Options.MaxTTL", &o.MaxTTL, 24 * time.Hour, true},
		{"Options.Retention", &o.Retention, time.Hour, false},
		{"Options.PollInterval", &o.PollInterval, time.Second, false},
		{"Options.Lease", &o.Lease, 30 * time.Second, false},
	} {
		switch {
		case *d.value == 0:
			*d.value = d.fallback
		case *d.value < 0 && d.signed:
			*d.value = -1
		case *d.value > maxDuration:
			return Options{}, &InvalidError{Argument: d.name, Reason: "it must be 100 years or less"}
		case *d.value < time.Millisecond:
			return Options{}, &InvalidError{Argument: d.name, Reason: "it must be a millisecond or more"}
		}
		if *d.value > 0 {
			*d.value = d.value.Truncate(time.Millisecond)
		}
	}
	for _, l := range []struct {
		value    *int
		fallback int
	}{
		{&o.MaxTasks, 1000},
		{&o.MaxActive, 100},
		{&o.MaxRequestBytes, 256 << 10},
		{&o.MaxResultBytes, 4 << 20},
		{&o.MaxStateBytes, 256 << 10},
		{&o.MaxStatusMessageBytes, 1 << 10},
		{&o.MaxInputRequests, 32},
		{&o.MaxInputKeyBytes, 128},
		{&o.MaxInputKeys, 1024},
		{&o.MaxInputBytes, 256 << 10},
	} {
		if *l.value == 0 {
			*l.value = l.fallback
		}
	}
	return o, nil
}

// ttl returns the TTL of a task for which asked was requested; negative asks for no
// end. 0 means no end.
func (o *Options) ttl(asked time.Duration) time.Duration {
	switch {
	case asked < 0 && o.MaxTTL < 0:
		return 0
	case asked < 0 || o.MaxTTL > 0 && asked > o.MaxTTL:
		return o.MaxTTL
	}
	return wholeMillis(asked)
}

// wholeMillis cuts d, which is positive, to whole milliseconds, at least one.
func wholeMillis(d time.Duration) time.Duration {
	return max(d.Truncate(time.Millisecond), time.Millisecond)
}

// within reports an excess of asked over limit.
func within(limit Limit, most, asked int) error {
	if most >= 0 && asked > most {
		return &LimitError{Limit: limit, Max: most, Asked: asked}
	}
	return nil
}

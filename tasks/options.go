package tasks

import "time"

// Options adjusts a Store. The zero value means the defaults, which bound what one
// owner can have, and the size and the life of each task. All replicas of a server
// should have the same.
//
//	field                  default   what it bounds
//	DefaultTTL             1h        what clients are told of a task that Create is given no
//	                                 TTL for: it is kept for longer while it is worked on
//	MaxTTL                 24h       any TTL, and how long a task is worked on: then it fails
//	Retention              1h        how long a task stays after its end
//	PollInterval           1s        how often a client should ask
//	Lease                  30s       how long a silent runner is believed in, and a third
//	                                 more once somebody has noticed
//	MaxTasks               1,000     the tasks of an owner, with those that have ended
//	MaxActive              100       the tasks of an owner that have not ended
//	MaxRequestBytes        256 KiB   Task.Request
//	MaxResultBytes         4 MiB     Task.Result; Task.Error, message and data
//	MaxStateBytes          256 KiB   Task.State
//	MaxStatusMessageBytes  1 KiB     Task.StatusMessage: what is longer is cut, at a rune
//	MaxInputRequests       32        questions that wait at once
//	MaxInputKeyBytes       128       the key of a question
//	MaxInputKeys           1024      questions in the life of a task
//	MaxInputBytes          256 KiB   the questions that wait, with keys; the answers too
//
// A negative Max (other than MaxTTL) means no limit. What is beyond a limit, other than a
// TTL or a status message, gives a [*LimitError]; what is stored already is not measured again. What the backend's
// own limit on a record refuses gives [taskstore.ErrCapacityExceeded]: set that to
// what these limits add up to, or more. No duration may be longer than 100 years.
//
// However many replicas create at once, and wherever one of them dies, neither MaxTasks nor
// MaxActive is exceeded, and nothing counts but tasks that are there; on a backend that is
// no [taskstore.Batcher], see the package documentation. MaxTasks takes the place of the
// backend's MaxRecordsPerOwner, and a ctx from [taskstore.WithRecordLimit] that of MaxTasks.
//
// Tasks that wait for input are active, tasks that have ended are not, however long
// they are retained. Orphans are, until somebody reads them. So a Create that finds
// MaxActive reached reads the owner's active tasks once, which settles those, in random
// order and for a second at most, unless somebody did so in the last ten seconds (or Lease,
// if that is shorter).
type Options struct {
	// DefaultTTL is the TTL of a task that Create is given none for, at most MaxTTL.
	// Negative: as long as MaxTTL allows. It is what clients may count on; the task does
	// not go while somebody works on it, see the package documentation.
	DefaultTTL time.Duration
	// MaxTTL caps every TTL until the task ends, and the time for which a task is worked
	// on: one that is working under a lease, or Resumable, at MaxTTL from its creation
	// fails. The record is kept for at most a lease longer, for somebody to see that.
	// Negative: no cap; only then a task can be without end, and one that is working and
	// Resumable always is.
	MaxTTL time.Duration
	// Retention is how long a task and its result stay after its end.
	Retention time.Duration
	// PollInterval is the PollInterval of a task that Create is given none for, and
	// how often Wait and Changes look where they have no hints.
	PollInterval time.Duration
	// Lease is how long a lease lasts. Runners renew it at a third of that. The first
	// caller that finds it over suspects the runner; a third of Lease after that the task
	// is settled, or up for another runner. A runner whose renewals take longer than both
	// passes for dead, unless the store was away for everybody: outside tests let Lease
	// be longer than a failover of the backend and any pause of a process, ten seconds
	// or more.
	Lease time.Duration

	// Observer is told what the store does. Nil: nobody is.
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

// resolve returns o with the defaults put in.
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

// ttl returns the TTL that a task gets that asks for one; negative asks for none.
// 0 means none.
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

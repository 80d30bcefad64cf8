package redislink

import (
	"context"
	"errors"
	"fmt"
	"io"
	"reflect"
	"time"

	"github.com/redis/go-redis/v9"
)

// A Link sends a backend's commands to its servers. It holds the client and sends each
// command once: the client would resend a command whose answer was lost, even if it was
// applied.
type Link struct {
	Clock Clock // of the server

	client   client
	cluster  clusterClient // the same; nil: no Cluster
	owned    io.Closer     // the same, if Close is to close it
	pipeline *redis.AutoPipeliner
	opts     Options
	slots    slotMap
	role     roleCheck
	closed   chan struct{}
}

// A client is the part of a go-redis client that the link needs.
type client interface {
	commander
	io.Closer
	AsyncAutoPipeline() (*redis.AutoPipeliner, error)
	PoolStats() *redis.PoolStats
}

// Options configure a Link.
type Options struct {
	Closed         error         // the error of calls that are under way when the link is shut
	Damage         error         // errors that match it, such as those of the client's hook, are permanent
	Clock          *Script       // tells the server's time, in microseconds
	Key            string        // a key that is always absent: its node tells the time, and the question for the role writes to it
	AutoPipeline   bool          // calls made at the same time share round trips
	MinReplicas    int           // replicas that must acknowledge a write; 0 or less: none
	ReplicaTimeout time.Duration // their time to acknowledge it; 0: a second
	Resent         func()        // called before a command is resent; nil: no call
}

// An OptionError says why a client, or one of Options, cannot be used.
type OptionError struct {
	Option string // "client", or the field's name
	Reason string
}

func (e *OptionError) Error() string { return e.Option + ": " + e.Reason }

// Traits are the client's properties that decide the layout of the keys.
type Traits struct {
	Cluster  bool
	Database int
}

// Inspect returns the traits of a client, or an [*OptionError] if a backend could not keep
// its promises with it.
func Inspect(client redis.UniversalClient) (Traits, error) {
	refuse := func(reason string) (Traits, error) { return Traits{}, &OptionError{Option: "client", Reason: reason} }
	if v := reflect.ValueOf(client); !v.IsValid() || v.Kind() == reflect.Pointer && v.IsNil() {
		return refuse("it is nil")
	}
	var t Traits
	_, t.Cluster = client.(clusterClient)
	switch c := client.(type) {
	case *redis.Ring:
		return refuse("a Ring does not keep an owner's keys on one server; use a Cluster")
	case *redis.ClusterClient:
		if o := c.Options(); o.ReadOnly || o.RouteByLatency || o.RouteRandomly {
			return refuse("it reads from replicas, which lag behind; clear ReadOnly, RouteByLatency and RouteRandomly")
		}
	case *redis.Client:
		if o := c.Options(); o.ClientSideCache != nil || o.ClientSideCacheConfig != nil {
			return refuse("it answers reads from its own cache, which lags behind; clear ClientSideCache and ClientSideCacheConfig")
		}
		t.Database = max(c.Options().DB, 0) // go-redis takes a negative number for 0
	}
	return t, nil
}

// New returns a link over a client that [Inspect] accepted, or an [*OptionError]. It
// sends nothing yet.
func New(client redis.UniversalClient, o Options) (*Link, error) {
	l := &Link{client: client, opts: o, closed: make(chan struct{})}
	l.cluster, _ = client.(clusterClient)
	if err := l.checkReplicas(); err != nil {
		return nil, err
	}
	if o.AutoPipeline {
		if err := l.autoPipeline(); err != nil {
			return nil, err
		}
	}
	l.Clock.Local = time.Now
	l.role.init(l.cluster != nil, time.Now)
	return l, nil
}

// checkReplicas sets the default of ReplicaTimeout, and refuses a timeout that the client
// would not wait for.
func (l *Link) checkReplicas() error {
	o := &l.opts
	if o.MinReplicas <= 0 {
		return nil
	}
	refuse := func(reason string) error { return &OptionError{Option: "ReplicaTimeout", Reason: reason} }
	switch {
	case o.ReplicaTimeout == 0:
		o.ReplicaTimeout = defaultReplicaTimeout
	case o.ReplicaTimeout < time.Millisecond:
		return refuse("it must be a millisecond or more") // to WAIT, 0 is for ever
	}
	var readTimeout time.Duration
	switch c := l.client.(type) {
	case *redis.Client:
		readTimeout = c.Options().ReadTimeout
	case *redis.ClusterClient:
		readTimeout = c.Options().ReadTimeout
	}
	if readTimeout > 0 && o.ReplicaTimeout >= readTimeout {
		return refuse(fmt.Sprintf("it must be shorter than the client's read timeout, %v", readTimeout))
	}
	return nil
}

// autoPipeline makes process use the client's automatic pipelining.
func (l *Link) autoPipeline() (err error) {
	if l.pipeline, err = l.client.AsyncAutoPipeline(); err != nil {
		return &OptionError{Option: "AutoPipeline", Reason: "the client refuses it: " + err.Error()}
	}
	if l.pipeline.Config().FullDuplex { // its lost answers have not been studied
		return &OptionError{Option: "AutoPipeline", Reason: "full duplex is not supported; clear FullDuplex in the client's AutoPipelineOptions"}
	}
	return nil
}

// Own makes Close close the client too.
func (l *Link) Own() { l.owned = l.client }

// Shut ends the calls that are under way, and all later ones. The caller must call it at
// most once.
func (l *Link) Shut() { close(l.closed) }

// Close closes a client that the link owns. The caller must call Shut first.
func (l *Link) Close() error {
	if l.owned != nil {
		return l.owned.Close()
	}
	return nil
}

// Closed reports whether the link was shut.
func (l *Link) Closed() bool {
	select {
	case <-l.closed:
		return true
	default:
		return false
	}
}

// Ended returns err, which kept a call from its answer. If the cause is that the link was
// shut, it adds Options.Closed.
func (l *Link) Ended(err error) error {
	if err != nil && l.Closed() && !errors.Is(err, l.opts.Closed) && !answered(err) && !l.damage(err) {
		return fmt.Errorf("%w, after: %w", l.opts.Closed, err)
	}
	return err
}

func (l *Link) damage(err error) bool { return l.opts.Damage != nil && errors.Is(err, l.opts.Damage) }

// Cluster reports whether the client is that of a Cluster.
func (l *Link) Cluster() bool { return l.cluster != nil }

// Read sends a command once whose answer is a list of fields, as HMGET's is, and resends it
// until there is an answer. It also asks for the role if the connection is not known to
// lead to a master.
func (l *Link) Read(ctx context.Context, args ...any) ([]any, error) {
	return Retry(ctx, l, func() ([]any, error) {
		cmd := redis.NewSliceCmd(ctx, args...)
		send := l.process
		if !l.role.proven() {
			send = l.readWithRole
		}
		if err := send(ctx, onceRead{cmd}); err != nil {
			return nil, err
		}
		return cmd.Val(), nil
	})
}

package redislink

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"strings"
	"time"

	"github.com/redis/go-redis/v9"
)

// defaultReplicaTimeout applies if ReplicaTimeout is 0.
const defaultReplicaTimeout = time.Second

// A NotAcknowledgedError says that a write was applied and that too few replicas are known
// to have it.
type NotAcknowledgedError struct {
	Acks, Want int64
	Timeout    time.Duration
	Err        error // why their number is unknown; nil: WAIT has counted them
}

func (e *NotAcknowledgedError) Error() string {
	if e.Err != nil {
		return "replicas were not asked: " + e.Err.Error()
	}
	return fmt.Sprintf("%d of %d replicas acknowledged it within %v", e.Acks, e.Want, e.Timeout)
}

func (e *NotAcknowledgedError) Unwrap() error { return e.Err }

// A pipeliner is a client of one server. The commands of a pipeline take one connection.
type pipeliner interface{ Pipeline() redis.Pipeliner }

// processAcked sends a command once that evaluates a script with that key, and right behind
// it WAIT on the same connection, because WAIT is about its connection's latest write. WAIT
// has no key, so in a Cluster the client of the key's node sends both, and go-redis follows
// no redirection: after MOVED the retry looks for the new node, and evalAndWait follows
// ASK.
func (l *Link) processAcked(ctx context.Context, key string, args []any) (raw any, ack, err error) {
	type answer struct {
		raw any
		ack error
	}
	got, err := Detach(ctx, func() (a answer, err error) {
		a.raw, a.ack, err = l.evalAndWait(ctx, key, args)
		return a, err
	})
	return got.raw, got.ack, err
}

func (l *Link) evalAndWait(ctx context.Context, key string, args []any) (raw any, ack, err error) {
	var node pipeliner = l.client
	asked := ""
	if l.cluster != nil {
		master, err := l.cluster.MasterForKey(ctx, key)
		if err != nil {
			return nil, nil, err
		}
		node, asked = master, master.Options().Addr
	}
	exec := func(asking bool) error {
		pipe := node.Pipeline()
		if asking {
			_ = pipe.Process(ctx, once{redis.NewCmd(ctx, "asking")})
		}
		eval := redis.NewCmd(ctx, args...)
		_ = pipe.Process(ctx, once{eval})
		wait := redis.NewIntCmd(ctx, "wait", l.opts.MinReplicas, l.opts.ReplicaTimeout.Milliseconds())
		_ = pipe.Process(ctx, once{wait})
		_, refused := pipe.Exec(ctx)
		ack = nil
		if acks, err := wait.Result(); err != nil || acks < int64(l.opts.MinReplicas) {
			ack = &NotAcknowledgedError{Acks: acks, Want: int64(l.opts.MinReplicas), Timeout: l.opts.ReplicaTimeout, Err: err}
		}
		if raw, err = eval.Result(); raw == nil && err == nil {
			err = refused // of the connection, see readWithRole
		}
		return err
	}
	err = exec(false)
	if l.cluster != nil && Said(err, "ASK") {
		if other := nodeAt(ctx, l.cluster, err, asked); other != nil {
			node = other
			err = exec(true)
		}
	}
	return raw, ack, err
}

// nodeAt returns the client of the node that an ASK names, or nil if the Cluster's client
// does not know the node yet: it knows each node that has a slot. asked is the address of
// the node that answered ASK.
func nodeAt(ctx context.Context, cluster clusterClient, ask error, asked string) (found pipeliner) {
	var said redis.Error
	if !errors.As(ask, &said) {
		return nil
	}
	host, port := hostAndPort(said.Error()[strings.LastIndexByte(said.Error(), ' ')+1:])
	if host == "" { // it names the node that was asked
		host, _ = hostAndPort(asked)
	}
	_ = cluster.ForEachMaster(ctx, func(_ context.Context, c *redis.Client) error {
		for _, known := range []string{c.Options().Addr, c.NodeAddress()} {
			// Each node has one address, so only one goroutine finds it.
			if h, p := hostAndPort(known); h == host && p == port {
				found = c
			}
		}
		return nil
	})
	return found
}

// hostAndPort returns the parts of an address in a form that can be compared. Servers write
// an IPv6 address as it is, and clients put it in brackets.
func hostAndPort(address string) (host, port string) {
	i := strings.LastIndexByte(address, ':')
	if i < 0 {
		return address, ""
	}
	host, port = strings.Trim(address[:i], "[]"), address[i+1:]
	if ip, err := netip.ParseAddr(host); err == nil {
		return ip.Unmap().String(), port
	}
	return strings.ToLower(host), port
}

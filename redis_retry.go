package taskstore

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strconv"
	"time"

	"github.com/taskstore/taskstore/internal/redislink"
)

// Every command is resent here and nowhere else: see once. A read is asked again
// as it stands. A write goes on in one of two ways:
//
//	what is known of the copies sent so far      what is sent next
//	no server executed any of them               the same again
//	one may have been executed, or will be yet   the script's counterpart, which
//	                                             looks for the write's own
//	                                             operation id before it writes
//
// What that counterpart can tell is said at luaRecall.

// retryTime is how long a call that meets a server that cannot answer goes on
// trying. A Cluster with the default timeouts has failed over by then, a Sentinel
// with down-after-milliseconds of 15 seconds or less too.
const retryTime = 20 * time.Second

const (
	minPause = 8 * time.Millisecond
	maxPause = 250 * time.Millisecond
)

// A patience is what is left of a call's willingness to try again.
type patience struct {
	b     *RedisBackend
	since time.Time // the first failure
	tries int       // after that
	last  error     // the latest failure
}

// wait waits before the next attempt after err. It returns nil when that is to be
// made, and otherwise what to give up with.
func (p *patience) wait(ctx context.Context, err error) error {
	err = redislink.Redact(err)
	last := p.last
	p.last = err
	now := p.b.clock.local()
	switch {
	case p.b.isClosed():
		return p.b.ended(err)
	case ctx.Err() != nil && !errors.Is(err, ctx.Err()):
		return fmt.Errorf("%w, after: %w", ctx.Err(), err)
	case ctx.Err() != nil && last != nil:
		return fmt.Errorf("%w, after: %w", err, last)
	case ctx.Err() != nil || !redislink.Transient(err):
		return err
	case !p.b.role.cluster && (redislink.Said(err, "MOVED") || redislink.Said(err, "ASK")):
		return fmt.Errorf("%w: %w", errClusterNode, err)
	case last == nil:
		p.since = now
	case now.Sub(p.since) > retryTime:
		return err
	}
	if redislink.OfReplica(err) {
		p.b.condemn(ctx)
	}
	p.b.refreshSlots(ctx)
	p.tries++
	if p.tries == 1 {
		return nil // mostly it was the connection
	}
	pause := time.NewTimer(rand.N(min(minPause<<min(p.tries, 8), maxPause)))
	defer pause.Stop()
	select {
	case <-pause.C:
		return nil
	case <-ctx.Done():
		return fmt.Errorf("%w, after: %w", ctx.Err(), err)
	case <-p.b.closed:
		return p.b.ended(err)
	}
}

// persist does f, which changes nothing and heeds ctx, until it succeeds, fails for
// good, or patience is over.
func persist[T any](ctx context.Context, b *RedisBackend, f func() (T, error)) (T, error) {
	p := patience{b: b}
	for {
		v, err := f()
		if err == nil {
			return v, nil
		}
		if err = p.wait(ctx, err); err != nil {
			return v, err
		}
	}
}

// A redisWrite is a write that is ready to be sent.
type redisWrite struct {
	first call // of the first copy, and of others while no server has executed one
	again call // of a copy that follows one whose outcome is not known
	alone call // with the record's key alone, for what may be an update; no script: none
	byAge bool // again has as its last argument an instant before the first copy, in µs
	size  int  // of the data
}

// apply sends w until there is an answer. Its error is an uncertainError unless w
// was surely not applied. Where w finds no room, makeRoom may make some, once.
func (b *RedisBackend) apply(ctx context.Context, w *redisWrite, makeRoom func(context.Context) bool) (redislink.Reply, error) {
	var (
		p     = patience{b: b}
		begin = b.clock.local()
		key   = w.first.keys[0]
		again call // w.again, once it is complete
		next  = &w.first
		lost  error // why the outcome of a copy is not known
		long  = longWrite{b: b, key: key, size: w.size}
		acked = b.opts.MinReplicas > 0
	)
	for {
		var r redislink.Reply
		var err error
		if lost != nil && next == &w.first {
			var since string
			if w.byAge {
				since, err = b.sentAfter(ctx, begin, key)
			}
			if err == nil {
				again, next = w.resent(since), &again
			}
		}
		if err == nil {
			r, err = next.settle(b.eval(ctx, next, acked))
			if refusal := long.refusal(ctx, err); refusal != nil {
				return redislink.Reply{}, refusal
			}
		}
		if lost == nil && w.alone.script != nil && redislink.Said(err, "TRYAGAIN") {
			r, err = w.alone.settle(b.eval(ctx, &w.alone, acked))
		}
		if err == nil && r.Status == redislink.StatusFull && makeRoom != nil {
			room := makeRoom(ctx)
			if makeRoom = nil; room {
				continue
			}
		}
		switch {
		case err == nil && lost == nil:
			return r, nil
		case err == nil && r.Status == redislink.StatusUnknown:
			return r, &redislink.UncertainError{Cause: fmt.Errorf("the answer was lost, and what is there now does not tell: %w", lost)}
		case err == nil:
			r.Resent = true
			return r, nil
		case lost == nil && !redislink.NeverExecuted(err):
			lost = redislink.Redact(err)
		}
		if err = p.wait(ctx, err); err == nil {
			continue
		}
		switch {
		case lost != nil && errors.Is(err, lost):
			err = &redislink.UncertainError{Cause: err}
		case lost != nil:
			err = &redislink.UncertainError{Cause: fmt.Errorf("%w, after: %w", err, lost)}
		}
		return redislink.Reply{}, err
	}
}

// resent is what is sent once the outcome of a copy is not known. since is an instant
// before the first copy.
func (w *redisWrite) resent(since string) call {
	c := w.again
	if w.byAge {
		c.args = append(slices.Clip(c.args), since)
	}
	return c
}

// settle makes one outcome of what came of c. ack is why too few replicas are known to
// have it: a refusal, or the delete of nothing, is nothing that they could have.
func (c *call) settle(raw any, ack, err error) (redislink.Reply, error) {
	if err != nil {
		return redislink.Reply{}, err
	}
	r, err := c.script.Decode(raw)
	if err == nil && r.Status == redislink.StatusOK && r.Number > 0 && ack != nil {
		return redislink.Reply{}, ack
	}
	return r, err
}

// clockMargin is by how much the clocks of a master and the replica that takes its
// place are expected to differ at most.
const clockMargin = 10 * time.Millisecond

// sentAfter returns an instant before begin by the clock of the server that has
// key, in Unix µs. A record that is older than that was there when the call that
// began at begin was first sent.
//
// The server is asked, which may have set its clock since it was asked last, or may be
// another one by now. A step since begin shows where an earlier reading says otherwise:
// the lesser of the two counts, for what is taken for too young is an unknown outcome
// and no wrong one.
func (b *RedisBackend) sentAfter(ctx context.Context, begin time.Time, key string) (string, error) {
	estimate, slack, age := b.clock.estimate()
	estimate = estimate.Add(-b.clock.local().Sub(begin) - slack)
	r, err := b.run(ctx, call{script: b.scripts.clock, keys: []string{key}})
	if err != nil {
		return "", err
	}
	// The server said it before now: that much earlier begin may be, and not less.
	earliest := time.UnixMicro(int64(r.Number)).Add(-b.clock.local().Sub(begin))
	if _, cluster := b.client.(clusterClient); !cluster && age <= clockReadingAge && estimate.Before(earliest) {
		earliest = estimate // in a Cluster each master goes by its own clock
	}
	return strconv.FormatInt(earliest.Add(-clockMargin).UnixMicro(), 10), nil
}

// errClusterNode is why no attempt of a client that knows one server can succeed.
var errClusterNode = errors.New("the server is a node of a Cluster, and the key is on another one; use a Cluster client, or OpenRedis")

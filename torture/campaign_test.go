//go:build integration

package torture

import (
	"fmt"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/assert"

	"github.com/taskstore/taskstore"
	"github.com/taskstore/taskstore/internal/faultproxy"
)

// A campaign records histories of one class of load under one kind of faults.
type campaign struct {
	class    Class
	faults   faultproxy.Faults
	proxy    *faultproxy.Proxy
	way      way
	backends []taskstore.StorageBackend // of each caller
	depth    depth
	pictures string // the directory for pictures of broken histories; empty: no pictures
	tally    Tally
	// disturb, if set, returns the owner that a history is about and the event that
	// the servers meet meanwhile.
	disturb func(seed uint64) (owner string, event func())
	// deposes says that this replaces a master in order. Reads meanwhile are left out:
	// see TestDeposedMastersAnswerReads.
	deposes bool
	// exact says that no outcome may be unknown.
	exact bool
}

// newCampaign prepares clients that hooks may change.
func newCampaign(t *testing.T, class Class, l level, way way, open open, hooks ...func() redis.Hook) *campaign {
	c := &campaign{class: class, faults: rates(t, l.Faults), way: way, proxy: newProxy(t), pictures: os.TempDir()}
	c.faults.Operation = operation
	c.faults.Match = faultproxy.Commands("eval", "evalsha")
	if c.faults.Delay > 0 && class.Name == TaskIDs.Name { // see TestOutsideThePromise
		c.faults.Match = func(args []string) bool { return scriptArgs(args) != nil && !creates(args) }
	}
	c.exact = c.faults.DropReply+c.faults.CutBefore+c.faults.Delay == 0
	opts := taskstore.RedisOptions{Prefix: uuid.NewString(), AutoPipeline: way.batches}
	for range way.processes {
		own := []redis.Hook{&c.depth}
		for _, h := range hooks {
			own = append(own, h())
		}
		b := backend(t, open, c.proxy, opts, own...)
		for range way.callers {
			c.backends = append(c.backends, b)
		}
	}
	return c
}

// keepsThePromise records histories and fails the test for each that is broken.
func (c *campaign) keepsThePromise(t *testing.T, histories int) {
	broken := c.broken(t, histories, func(seed uint64, err error) {
		t.Errorf("seed %d: %v\nonce more: %s", seed, err, again(t, seed))
	})
	assert.Zero(t, broken, "broken histories")
}

// broken records histories and returns how many are broken.
func (c *campaign) broken(t *testing.T, histories int, report func(seed uint64, err error)) (broken int) {
	first := firstSeed()
	for i := range uint64(histories) {
		h := c.record(first + i)
		if err := c.check(h); err != nil {
			broken++
			report(first+i, err)
		}
	}
	n := c.proxy.Counts()
	t.Logf("%d of %d histories broken, from seed %d; %d calls, %d conflicts, %d unknown; %d replies lost, %d delayed copies arrived; %v",
		broken, histories, first, c.tally.Calls, c.tally.Conflicts, c.tally.Unknown, n.RepliesLost, n.LateArrivals, &c.depth)
	return broken
}

func (c *campaign) check(h *History) error {
	if err := h.Check(c.pictures); err != nil {
		return err
	}
	if tally := h.Tally(); tally.Failed > 0 {
		return fmt.Errorf("%d of %d calls failed: %w", tally.Failed, tally.Calls, h.Failures()[0])
	} else if tally.Unknown > 0 && c.exact {
		return fmt.Errorf("the outcome of %d of %d calls is unknown", tally.Unknown, tally.Calls)
	}
	return nil
}

func (c *campaign) record(seed uint64) *History {
	l := Load{
		Class:    c.class,
		Backends: c.backends,
		Owner:    fmt.Sprint("owner-", seed),
		Seed:     seed,
		Calls:    50,
		Pause:    c.way.pause,
		Ahead:    c.faults.Delay == 0, // see TestOutsideThePromise
		Settle: func() {
			c.proxy.Set(faultproxy.Faults{})
			c.proxy.Release()
		},
	}
	event := func() {}
	if c.disturb != nil {
		l.Owner, event = c.disturb(seed)
		l.Pause = time.Millisecond
	}
	over := make(chan struct{})
	l.Until = over
	faults := c.faults
	faults.Seed = seed
	c.proxy.Set(faults)
	recorded := make(chan *History, 1)
	go func() { recorded <- l.Run(ctx) }()
	from := time.Now()
	event()
	to := time.Now()
	close(over)
	h := <-recorded
	if c.deposes {
		h.ForgetReads(from, to)
	}
	c.tally.Add(h.Tally())
	return h
}

// scriptArgs returns the arguments of a script, without its keys; nil for other
// commands.
func scriptArgs(args []string) []string {
	if !strings.EqualFold(args[0], "evalsha") && !strings.EqualFold(args[0], "eval") || len(args) < 3 {
		return nil
	}
	keys := len(args[2:]) // more than there are
	fmt.Sscan(args[2], &keys)
	return args[min(3+keys, len(args)):]
}

// operation returns the id of the operation that a script is to apply.
func operation(args []string) string {
	if script := scriptArgs(args); len(script) > 1 && len(script[0]) == 8 {
		return script[0]
	}
	return ""
}

// creates reports whether a script creates a record: it expects version 0 and makes
// version 1.
func creates(args []string) bool {
	script := scriptArgs(args)
	return len(script) > 5 && script[4] == "0" && script[5] == "1"
}

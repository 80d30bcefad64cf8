//go:build integration

package torture

import (
	"context"
	"encoding/binary"
	"math/rand/v2"
	"reflect"
	"sync"
	"testing"

	"github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/assert"
)

// The controls: each takes away a part of the backend's care for lost answers, and
// the same load under the same faults has to break.

// Without the backend's own resending, go-redis resends: a write that was applied
// is applied, or refused, once more.
func TestClientResendingBreaks(t *testing.T) {
	for _, d := range deployments {
		breaks(t, d, HotKeys, 5, func() redis.Hook { return resending{} })
	}
}

// With resends that are not recognised, the backend does no better.
func TestForgottenOperationIDsBreak(t *testing.T) {
	for _, d := range deployments {
		breaks(t, d, HotKeys, 5, func() redis.Hook { return &forgetting{sent: make(map[string]bool)} })
	}
}

// Batches alone are enough for that.
func TestForgottenBatchesBreak(t *testing.T) {
	breaks(t, deployments[0], Batches, 30, func() redis.Hook { return &forgetting{sent: make(map[string]bool), keys: 2 * keysOfWrite} })
}

// Without a script for batches, they are made write by write, and that is seen.
func TestBatchesMadeWriteByWriteBreak(t *testing.T) {
	c := newCampaign(t, Batches, noFaults, ways[0], deployments[0].open(t))
	for i, b := range c.backends {
		c.backends[i] = apart{b}
	}
	c.breaks(t, 5)
}

func breaks(t *testing.T, d deployment, class Class, some int, hook func() redis.Hook) {
	for _, w := range ways {
		t.Run(d.name+w.name, func(t *testing.T) {
			newCampaign(t, class, lost10, w, d.open(t), hook).breaks(t, w.some(some))
		})
	}
}

// breaks records histories of a control, in a short run as many as some. The test fails if
// all of them hold.
func (c *campaign) breaks(t *testing.T, some int) {
	c.pictures = ""
	histories := either(*historiesFlag, some, 200)
	broken := c.broken(t, histories, func(uint64, error) {})
	assert.NotZero(t, broken, "of %d histories", histories)
}

// resending is a hook that has go-redis resend the backend's scripts, as it does
// for commands that do not forbid it.
type resending struct{ noDialHook }

func (resending) ProcessHook(next redis.ProcessHook) redis.ProcessHook {
	return func(ctx context.Context, cmd redis.Cmder) error {
		return next(ctx, inner(cmd))
	}
}

func (resending) ProcessPipelineHook(next redis.ProcessPipelineHook) redis.ProcessPipelineHook {
	return func(ctx context.Context, cmds []redis.Cmder) error {
		var all []redis.Cmder
		for _, cmd := range cmds {
			all = append(all, inner(cmd))
		}
		return next(ctx, all)
	}
}

// inner unwraps the command from wrappers that answer NoRetry with true.
func inner(cmd redis.Cmder) redis.Cmder {
	for cmd.NoRetry() {
		v := reflect.Indirect(reflect.ValueOf(cmd))
		wrapped := v.Type().Field(0)
		if !wrapped.Anonymous || !wrapped.IsExported() {
			panic("torture: the backend's commands have changed")
		}
		cmd = v.Field(0).Interface().(redis.Cmder)
	}
	return cmd
}

// forgetting is a hook that gives each resend of a write another operation id.
type forgetting struct {
	noDialHook
	keys int // that a script has at least
	mu   sync.Mutex
	sent map[string]bool
}

// keysOfWrite is how many keys a script has for each write.
const keysOfWrite = 3

func (f *forgetting) ProcessHook(next redis.ProcessHook) redis.ProcessHook {
	return func(ctx context.Context, cmd redis.Cmder) error {
		f.forget(cmd)
		return next(ctx, cmd)
	}
}

func (f *forgetting) ProcessPipelineHook(next redis.ProcessPipelineHook) redis.ProcessPipelineHook {
	return func(ctx context.Context, cmds []redis.Cmder) error {
		for _, cmd := range cmds {
			f.forget(cmd)
		}
		return next(ctx, cmds)
	}
}

func (f *forgetting) forget(cmd redis.Cmder) {
	args := cmd.Args()
	if name := args[0]; name == "evalsha" || name == "eval" {
		keys := args[2].(int)
		script := args[3+keys:]
		if len(script) > 0 && keys >= f.keys {
			if id, ok := script[0].(string); ok && len(id) == 8 && f.again(id) {
				script[0] = string(binary.NativeEndian.AppendUint64(nil, rand.Uint64()))
			}
		}
	}
}

// again reports whether the operation was sent before.
func (f *forgetting) again(id string) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	again := f.sent[id]
	f.sent[id] = true
	return again
}

type noDialHook struct{}

func (noDialHook) DialHook(next redis.DialHook) redis.DialHook { return next }

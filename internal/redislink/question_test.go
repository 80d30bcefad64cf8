package redislink

import (
	"context"
	"reflect"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/taskstore/taskstore/internal/fakeredis"
)

// A witness is a hook that keeps which commands the client may resend, and which not.
type witness struct {
	mu          sync.Mutex
	once, again []string
}

func (w *witness) see(cmd redis.Cmder) {
	w.mu.Lock()
	defer w.mu.Unlock()
	list, name := &w.again, cmd.FullName()
	if cmd.NoRetry() {
		list = &w.once
	}
	if !slices.Contains(*list, name) {
		*list = append(*list, name)
	}
}

func (w *witness) seen() (once, again []string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	return slices.Clone(w.once), slices.Clone(w.again)
}

func (w *witness) DialHook(next redis.DialHook) redis.DialHook { return next }
func (w *witness) ProcessHook(next redis.ProcessHook) redis.ProcessHook {
	return func(ctx context.Context, cmd redis.Cmder) error {
		w.see(cmd)
		return next(ctx, cmd)
	}
}
func (w *witness) ProcessPipelineHook(next redis.ProcessPipelineHook) redis.ProcessPipelineHook {
	return func(ctx context.Context, cmds []redis.Cmder) error {
		for _, cmd := range cmds {
			w.see(cmd)
		}
		return next(ctx, cmds)
	}
}

// node answers as the only node of a Cluster, and as a server without one. It redirects the
// first script to the node that its slot moves to, which is node itself.
func node(t *testing.T) *fakeredis.Server {
	var asked atomic.Bool
	var s *fakeredis.Server
	s = fakeredis.Serve(t, func(args []string) string {
		switch name := strings.ToLower(args[0]); name {
		case "cluster":
			if strings.ToLower(args[1]) == "nodes" {
				return fakeredis.Bulk("id 127.0.0.1:1 myself,master - 0 0 1 connected 0-16383")
			}
			return slots(s.Addr)
		case "command", "config", "list":
			return "*0\r\n"
		case "evalsha":
			if args[len(args)-1] == "moving" && asked.CompareAndSwap(false, true) {
				return "-ASK 1 " + s.Addr + "\r\n"
			}
			return fakeredis.Bulk("1")
		case "hello":
			return "-ERR unknown command\r\n"
		case "info":
			return fakeredis.Bulk("redis_version:7.0.15")
		case "ping", "asking":
			return "+OK\r\n"
		case "time":
			return "*2\r\n" + fakeredis.Bulk("1") + fakeredis.Bulk("1")
		case "scan":
			return "*2\r\n" + fakeredis.Bulk("0") + "*0\r\n"
		case "hmget":
			return "*1\r\n$-1\r\n"
		}
		return ":1\r\n"
	})
	return s
}

// Every command that leaves is sent once, but for questions. A method that is new has to be
// called here.
func TestOnlyQuestionsMayBeResentByTheClient(t *testing.T) {
	for name, c := range map[string]struct {
		open        func(t *testing.T, addr string, w *witness) redis.UniversalClient
		once, again []string
	}{
		"one server": {
			open: func(t *testing.T, addr string, w *witness) redis.UniversalClient {
				client := redis.NewClient(&redis.Options{Addr: addr, Protocol: 2, DisableIdentity: true})
				client.AddHook(w)
				return client
			},
			once: []string{"count", "evalsha", "hdel", "hmget", "list", "ping", "publish", "scan", "wait"},
		},
		"Cluster": {
			open: func(t *testing.T, addr string, w *witness) redis.UniversalClient {
				client := redis.NewClusterClient(&redis.ClusterOptions{Addrs: []string{addr}, Protocol: 2, DisableIdentity: true})
				client.AddHook(w)
				client.OnNewNode(func(c *redis.Client) { c.AddHook(w) })
				return client
			},
			once:  []string{"asking", "count", "evalsha", "hmget", "list", "publish", "scan", "wait", "zcard"},
			again: []string{"cluster slots", "command"}, // by which the client learns of the nodes
		},
	} {
		t.Run(name, func(t *testing.T) {
			ctx := t.Context()
			s, w := node(t), new(witness)
			client := c.open(t, s.Addr, w)
			t.Cleanup(func() { assert.NoError(t, client.Close()) })
			script := NewScript("test", "return '1'")
			l, err := New(client, Options{Clock: script, Key: "key", MinReplicas: 1})
			require.NoError(t, err)
			node, err := l.NodeOf(ctx, "key")
			require.NoError(t, err)
			call := Call{Script: script, Keys: []string{"key"}}
			ok := func(_ any, err error) { t.Helper(); assert.NoError(t, err) }
			calls := map[string]func(){
				"Link.AttendToRole": func() { l.AttendToRole() },
				"Link.Eval":         func() { ok(l.Eval(ctx, call)) },
				"Link.MaybePast":    func() { l.MaybePast(1) },
				"Link.NodeOf":       func() { ok(l.NodeOf(ctx, "key")) },
				"Link.Nodes":        func() { ok(l.Nodes(ctx)) },
				"Link.Now":          func() { ok(l.Now(ctx)) },
				"Link.Ping":         func() { ok(nil, l.Ping(ctx)) },
				"Link.Pipeline": func() {
					ok(nil, l.Pipeline(ctx, func(p *Pipeline) {
						p.Eval(call)
						p.Count("count", "key")
						p.Fields("list", "key")
						p.Members("list", "key")
						p.Scored("list", "key")
					}))
				},
				"Link.Publish":      func() { ok(l.Publish(ctx, "c", false)); ok(l.Publish(ctx, "c", true)) },
				"Link.Read":         func() { l.role.refused.Store(1); ok(l.Read(ctx, "hmget", "key", "f")) },
				"Link.RefreshSlots": func() { l.RefreshSlots(ctx) },
				"Link.Run":          func() { ok(l.Run(ctx, call)) },
				"Link.Write": func() {
					first := call
					if l.Cluster() {
						first.Args = []string{"moving"}
					}
					ok(l.Write(ctx, &Write{First: first}, nil))
				},
				"Node.ClusterNodes": func() { ok(node.ClusterNodes(ctx)) },
				"Node.Info":         func() { ok(node.Info(ctx)) },
				"Node.Publish":      func() { ok(nil, node.Publish(ctx, "publish", "c")) },
				"Node.Scan":         func() { ok(node.Scan(ctx, 0, "*", 1)) },
				"Node.Setting":      func() { _, _, err := node.Setting(ctx, "save"); ok(nil, err) },
				"Node.Time":         func() { ok(node.Time(ctx)) },
				"Node.Try":          func() { ok(node.Try(ctx, [][]any{{"try", "key"}})) },
			}
			silent := []string{"Link.Close", "Link.Closed", "Link.Cluster", "Link.Ended", "Link.Own", "Link.Shut", "Node.Sole",
				"Node.Subscribe"} // its connection is no client's
			for _, of := range []reflect.Type{reflect.TypeFor[*Link](), reflect.TypeFor[Node]()} {
				for i := range of.NumMethod() {
					method := of.String()[strings.LastIndexByte(of.String(), '.')+1:] + "." + of.Method(i).Name
					call := calls[method]
					if assert.Equal(t, slices.Contains(silent, method), call == nil, "%s sends something or is silent", method) && call != nil {
						call()
					}
				}
			}
			_, err = Ask(ctx, client)
			assert.NoError(t, err)
			(&longWrite{l: l, key: "key", size: leastLong}).ask(ctx)
			once, again := w.seen()
			slices.Sort(once)
			slices.Sort(again)
			assert.Equal(t, c.once, once)
			questions := append(c.again, "cluster nodes", "config", "hello", "info", "ping", "publish", "spublish", "time", "try")
			slices.Sort(questions)
			assert.Equal(t, questions, again)
		})
	}
}

// A question survives broken connections if the client's user has it resent; the link resends
// the other commands.
func TestQuestionsOutliveBrokenConnections(t *testing.T) {
	ctx := t.Context()
	var broken atomic.Int32 // connections that break before one works
	s := fakeredis.Serve(t, func(args []string) string {
		if args[0] == "hello" { // also by the client, on each connection
			return fakeredis.Unknown
		}
		if broken.Add(-1) >= 0 {
			return fakeredis.HangUp
		}
		switch strings.ToLower(args[0]) {
		case "info":
			return fakeredis.Bulk("role:master")
		case "config":
			return "*2\r\n" + fakeredis.Bulk("save") + fakeredis.Bulk("")
		case "time":
			return "*2\r\n" + fakeredis.Bulk("1") + fakeredis.Bulk("1")
		case "cluster":
			return fakeredis.Bulk("nodes")
		}
		return "+OK\r\n"
	})
	client := connect(t, s, redis.Options{MaxRetries: 2, MinRetryBackoff: time.Millisecond, MaxRetryBackoff: time.Millisecond})
	l, err := New(client, Options{Clock: NewScript("clock", "return '1'"), Key: "key"})
	require.NoError(t, err)
	node, err := l.NodeOf(ctx, "key")
	require.NoError(t, err)
	for name, question := range map[string]func() error{
		"Info":         func() error { _, err := node.Info(ctx); return err },
		"Setting":      func() error { _, _, err := node.Setting(ctx, "save"); return err },
		"Time":         func() error { _, err := node.Time(ctx); return err },
		"ClusterNodes": func() error { _, err := node.ClusterNodes(ctx); return err },
		"Try": func() error {
			outcomes, err := node.Try(ctx, [][]any{{"ping"}, {"ping"}})
			for _, outcome := range outcomes {
				assert.NoError(t, outcome)
			}
			return err
		},
		"Ask": func() error { _, err := Ask(ctx, client); return err },
	} {
		broken.Store(2)
		assert.NoError(t, question(), name)
		broken.Store(0)
	}
	broken.Store(1)
	assert.Error(t, node.Publish(ctx, "publish", "channel"))
	assert.Len(t, s.Got("publish"), 1)
}

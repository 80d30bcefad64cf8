package redislink

import (
	"context"
	"fmt"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/taskstore/taskstore/internal/fakeredis"
)

// slots is the answer to CLUSTER SLOTS of a Cluster that has all slots at one node.
func slots(addr string) string {
	host, port, _ := net.SplitHostPort(addr)
	return "*1\r\n*3\r\n:0\r\n:16383\r\n*3\r\n" + fakeredis.Bulk(host) + ":" + port + "\r\n" + fakeredis.Bulk("id")
}

// serveNode starts a node of a Cluster that says that all slots are its own. It passes other
// commands to answer.
func serveNode(t *testing.T, answer func(args []string) string) *fakeredis.Server {
	var s *fakeredis.Server
	s = fakeredis.Serve(t, func(args []string) string {
		switch strings.ToLower(strings.Join(args, " ")) {
		case "cluster slots":
			return slots(s.Addr)
		case "command":
			return "*0\r\n"
		}
		if args[0] == "hello" {
			return fakeredis.Unknown
		}
		return answer(args)
	})
	return s
}

// connectCluster returns a client of the Cluster that has the node.
func connectCluster(t *testing.T, node *fakeredis.Server, o redis.ClusterOptions) *redis.ClusterClient {
	o.Addrs, o.Protocol, o.DisableIdentity = []string{node.Addr}, 2, true
	client := redis.NewClusterClient(&o)
	t.Cleanup(func() { assert.NoError(t, client.Close()) })
	return client
}

// The client of a Cluster asks for the slots before it begins with the masters.
func TestForEachMasterReloadsFirst(t *testing.T) {
	s := serveNode(t, func([]string) string { return fakeredis.Unknown })
	client := connectCluster(t, s, redis.ClusterOptions{})
	for range 3 {
		before := len(s.Got("cluster slots"))
		require.NoError(t, client.ForEachMaster(t.Context(), func(_ context.Context, master *redis.Client) error {
			assert.Greater(t, len(s.Got("cluster slots")), before)
			assert.Equal(t, s.Addr, master.Options().Addr)
			return nil
		}))
	}
}

// A Cluster's client writes a redirected pipeline again. If the answer to a command is then
// lost, the command keeps the error of the first time, unless writing it took that away, as an
// attempt does.
func TestARedirectedPipelineKeepsItsFirstError(t *testing.T) {
	ctx := t.Context()
	other := serveNode(t, func([]string) string { return fakeredis.HangUp })
	s := serveNode(t, func([]string) string { return "-MOVED 1 " + other.Addr + "\r\n" })
	client := connectCluster(t, s, redis.ClusterOptions{})
	pipe := client.Pipeline()
	a := &attempt{script: []byte("script")}
	var cmds []*redis.Cmd
	for _, value := range []any{"value", "value", a} {
		cmds = append(cmds, redis.NewCmd(ctx, "set", "key", value))
		_ = pipe.Process(ctx, onceScript{cmds[len(cmds)-1]})
	}
	a.cmd = cmds[2]
	_, err := pipe.Exec(ctx)
	require.Error(t, err)
	require.Len(t, s.Got("set"), 3)
	require.NotEmpty(t, other.Got("set"), "it was written again")
	assert.True(t, Said(cmds[1].Err(), "MOVED"), "%v", cmds[1].Err())
	assert.False(t, neverExecuted(cmds[2].Err()), "%v", cmds[2].Err())
}

// A curious is a hook that looks at commands before they are sent, as tracing does.
type curious struct{ looks chan struct{} }

func (c curious) DialHook(next redis.DialHook) redis.DialHook          { return next }
func (c curious) ProcessHook(next redis.ProcessHook) redis.ProcessHook { return next }
func (c curious) ProcessPipelineHook(next redis.ProcessPipelineHook) redis.ProcessPipelineHook {
	return func(ctx context.Context, cmds []redis.Cmder) error {
		select {
		case c.looks <- struct{}{}:
		default:
		}
		for _, cmd := range cmds {
			_ = cmd.Err()
		}
		return next(ctx, cmds)
	}
}

// A hook on a node that looks at a command of the queue waits for ever if go-redis sees no
// more of the command than a Cmder, as with once. So the commands for a queue have types of
// their own, onceScript and onceRead.
func TestAHookHangsOnABareCmderInAQueue(t *testing.T) {
	for name, c := range map[string]struct {
		wrap  func(args ...any) redis.Cmder
		hangs bool
	}{
		"once":       {wrap: func(args ...any) redis.Cmder { return once{redis.NewCmd(context.Background(), args...)} }, hangs: true},
		"onceScript": {wrap: func(args ...any) redis.Cmder { return onceScript{redis.NewCmd(context.Background(), args...)} }},
		"onceRead":   {wrap: func(args ...any) redis.Cmder { return onceRead{redis.NewSliceCmd(context.Background(), args...)} }},
	} {
		t.Run(name, func(t *testing.T) {
			s := serveNode(t, func([]string) string { return "*0\r\n" })
			client := redis.NewClusterClient(&redis.ClusterOptions{Addrs: []string{s.Addr}, Protocol: 2, DisableIdentity: true})
			if !c.hangs { // Close would wait for the command that hangs
				defer client.Close()
			}
			hook := curious{make(chan struct{}, 1)}
			client.OnNewNode(func(c *redis.Client) { c.AddHook(hook) })
			pipeline, err := client.AsyncAutoPipeline()
			require.NoError(t, err)
			limit := 10 * time.Second
			if c.hangs {
				limit = 100 * time.Millisecond
			}
			var futures []interface{ WaitContext(context.Context) error }
			for i := range 10 {
				futures = append(futures, pipeline.Submit(t.Context(), c.wrap("hmget", fmt.Sprint(i))))
			}
			<-hook.looks
			ctx, cancel := context.WithTimeout(t.Context(), limit)
			defer cancel()
			var hung error
			for _, future := range futures {
				if err := future.WaitContext(ctx); err != nil {
					hung = err
				}
			}
			if c.hangs {
				assert.ErrorIs(t, hung, context.DeadlineExceeded)
				return
			}
			assert.NoError(t, hung)
		})
	}
}

// The address of a node's client is the one that it connects to, by which nodes are told
// apart. It need not be the one that an ASK names: that one is NodeAddress.
func TestANodeHasTheAddressThatItConnectsToAndTheOneThatIsAnnounced(t *testing.T) {
	s := serveNode(t, func([]string) string { return "+OK\r\n" })
	_, port, err := net.SplitHostPort(s.Addr)
	require.NoError(t, err)
	dialed := make(chan string, 100)
	client := redis.NewClusterClient(&redis.ClusterOptions{
		Addrs: []string{"name.example:1"}, Protocol: 2, DisableIdentity: true,
		Dialer: func(ctx context.Context, network, addr string) (net.Conn, error) {
			dialed <- addr
			return new(net.Dialer).DialContext(ctx, network, s.Addr)
		},
	})
	defer client.Close()
	master, err := client.MasterForKey(t.Context(), "key")
	require.NoError(t, err)
	assert.Equal(t, s.Addr, master.NodeAddress())
	assert.Equal(t, "name.example:"+port, master.Options().Addr)
	require.NoError(t, master.Ping(t.Context()).Err())
	var last string
	for range len(dialed) {
		last = <-dialed
	}
	assert.Equal(t, master.Options().Addr, last)
	again, err := client.MasterForKey(t.Context(), "another")
	require.NoError(t, err)
	assert.Same(t, master, again, "a node has one client, by which nodes are equal")
}

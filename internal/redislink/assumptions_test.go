package redislink

import (
	"context"
	"errors"
	"net"
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

// Each test here, and in assumptions_cluster_test.go, is about go-redis: something that this package relies on and that its
// documentation does not promise. An upgrade that changes one fails here first.

// written counts how often it was marshalled.
type written struct{ times atomic.Int32 }

func (w *written) MarshalBinary() ([]byte, error) {
	w.times.Add(1)
	return []byte("written"), nil
}

// An attempt is abandoned until its command has a connection.
func TestArgumentsAreMarshalledAtTheWrite(t *testing.T) {
	answer, release := held(t)
	s := fakeredis.Serve(t, answer)
	client := connect(t, s, redis.Options{PoolSize: 1, PoolTimeout: time.Minute})
	first := hold(t, s, client)
	w, second := new(written), make(chan error, 1)
	go func() { second <- client.Process(t.Context(), once{redis.NewCmd(t.Context(), "echo", w)}) }()
	require.Eventually(t, func() bool { return client.PoolStats().PendingRequests > 0 }, 10*time.Second, time.Millisecond)
	assert.Zero(t, w.times.Load(), "it has no connection")
	release()
	require.NoError(t, <-first)
	require.NoError(t, <-second)
	assert.EqualValues(t, 1, w.times.Load())
}

// With AutoPipeline a command counts as sent from the moment that it is in the queue.
func TestTheQueueMarshalsArguments(t *testing.T) {
	answer, release := held(t)
	s := fakeredis.Serve(t, answer)
	client := connect(t, s, redis.Options{PoolSize: 1, PoolTimeout: time.Minute})
	first := hold(t, s, client)
	pipeline, err := client.AsyncAutoPipeline()
	require.NoError(t, err)
	w := new(written)
	future := pipeline.Submit(t.Context(), onceScript{redis.NewCmd(t.Context(), "echo", w)})
	assert.NotZero(t, w.times.Load())
	release()
	require.NoError(t, <-first)
	require.NoError(t, future.WaitContext(t.Context()))
}

// A command with NoRetry is sent once, by itself, with others in a pipeline, and in a queue.
func TestNoRetryIsHeeded(t *testing.T) {
	ctx := t.Context()
	for name, send := range map[string]func(client *redis.Client, cmd redis.Cmder){
		"Process": func(client *redis.Client, cmd redis.Cmder) { _ = client.Process(ctx, cmd) },
		"Pipeline": func(client *redis.Client, cmd redis.Cmder) {
			pipe := client.Pipeline()
			_ = pipe.Process(ctx, redis.NewCmd(ctx, "other"))
			_ = pipe.Process(ctx, cmd)
			_, _ = pipe.Exec(ctx)
		},
		"AutoPipeline": func(client *redis.Client, cmd redis.Cmder) {
			pipeline, err := client.AsyncAutoPipeline()
			require.NoError(t, err)
			_ = pipeline.Submit(ctx, cmd).WaitContext(ctx)
		},
	} {
		t.Run(name, func(t *testing.T) {
			s := fakeredis.Serve(t, func(args []string) string {
				switch args[0] {
				case "set":
					return fakeredis.HangUp // it was applied, and its answer is lost
				case "other":
					return "+OK\r\n"
				}
				return fakeredis.Unknown
			})
			client := connect(t, s, redis.Options{MaxRetries: 3, MinRetryBackoff: time.Millisecond, MaxRetryBackoff: time.Millisecond})
			send(client, redis.NewCmd(ctx, "set", "without"))
			assert.Greater(t, len(s.Got("set without")), 1, "go-redis resends others")
			send(client, onceScript{redis.NewCmd(ctx, "set", "with")})
			assert.Len(t, s.Got("set with"), 1+len(s.Got("set without")))
		})
	}
}

// A wait ends with its ctx, and the command belongs to the client until it has ended.
func TestWaitContextEndsWithItsCtx(t *testing.T) {
	answer, release := held(t)
	client := connect(t, fakeredis.Serve(t, answer), redis.Options{})
	pipeline, err := client.AsyncAutoPipeline()
	require.NoError(t, err)
	future := pipeline.Submit(context.Background(), onceScript{redis.NewCmd(context.Background(), "hold")})
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
	defer cancel()
	assert.ErrorIs(t, future.WaitContext(ctx), context.DeadlineExceeded)
	release()
	assert.NoError(t, future.WaitContext(t.Context()))
}

// All commands of a pipeline go by one connection: WAIT is about the latest write of its
// own, and the question for the role about the read behind it.
func TestAPipelineGoesByOneConnection(t *testing.T) {
	answer, _ := held(t)
	s := fakeredis.Serve(t, answer)
	client := connect(t, s, redis.Options{})
	for range 3 {
		pipe := client.Pipeline()
		for range 3 {
			_ = pipe.Process(t.Context(), once{redis.NewCmd(t.Context(), "echo")})
		}
		_, err := pipe.Exec(t.Context())
		require.NoError(t, err)
	}
	for i, c := range s.Got("echo") {
		assert.Equal(t, s.Got("echo")[i/3*3].Connection, c.Connection)
	}
}

// A connection on which the first answer of a pipeline, or a command of its own, is
// READONLY is dropped: it leads to a replica.
func TestREADONLYDropsTheConnection(t *testing.T) {
	ctx := t.Context()
	s := fakeredis.Serve(t, func(args []string) string {
		switch args[0] {
		case "hdel":
			return "-READONLY You can't write against a read only replica.\r\n"
		case "echo":
			return "+OK\r\n"
		}
		return fakeredis.Unknown
	})
	client := connect(t, s, redis.Options{})
	for name, send := range map[string]func(names ...string) error{
		"alone": func(names ...string) error { return client.Process(ctx, once{redis.NewCmd(ctx, names[0])}) },
		"pipeline": func(names ...string) error {
			pipe := client.Pipeline()
			for _, name := range names {
				_ = pipe.Process(ctx, once{redis.NewCmd(ctx, name)})
			}
			_, err := pipe.Exec(ctx)
			return err
		},
	} {
		require.NoError(t, send("echo", "echo"), name)
		require.True(t, Said(send("hdel", "echo"), "READONLY"), name)
		require.NoError(t, send("echo", "echo"), name)
		asked, all := s.Got("hdel"), s.Got("")
		assert.NotEqual(t, asked[len(asked)-1].Connection, all[len(all)-1].Connection, name)
	}
}

// A server that refuses the password says so to a command by itself. In a pipeline only the
// pipeline has the error: its commands have neither error nor answer.
func TestARefusedPasswordIsToldOfThePipeline(t *testing.T) {
	ctx := t.Context()
	s := fakeredis.Serve(t, func([]string) string { return "-WRONGPASS invalid username-password pair or user is disabled.\r\n" })
	client := connect(t, s, redis.Options{Password: "secret"})
	err := client.Process(ctx, once{redis.NewCmd(ctx, "echo")})
	assert.True(t, BadCredentials(err), "%v", err)
	assert.True(t, neverExecuted(err))
	pipe := client.Pipeline()
	cmd := redis.NewCmd(ctx, "echo")
	_ = pipe.Process(ctx, once{cmd})
	_, err = pipe.Exec(ctx)
	assert.True(t, BadCredentials(err), "%v", err)
	assert.NoError(t, cmd.Err())
	assert.Nil(t, cmd.Val())
	assert.Empty(t, s.Got("echo"))
}

// A command that gets no connection was not sent, and its error says so.
func TestErrorsSayThatACommandGotNoConnection(t *testing.T) {
	ctx := t.Context()
	answer, release := held(t)
	s := fakeredis.Serve(t, answer)
	full := connect(t, s, redis.Options{PoolSize: 1, PoolTimeout: time.Millisecond})
	first := hold(t, s, full)
	err := full.Process(ctx, once{redis.NewCmd(ctx, "echo")})
	assert.ErrorIs(t, err, redis.ErrPoolTimeout)
	release()
	require.NoError(t, <-first)
	closed := redis.NewClient(&redis.Options{Addr: s.Addr})
	require.NoError(t, closed.Close())
	assert.ErrorIs(t, closed.Process(ctx, once{redis.NewCmd(ctx, "echo")}), redis.ErrClosed)
	refused := errors.New("refused")
	nobody := redis.NewClient(&redis.Options{DialerRetries: 1, Dialer: func(context.Context, string, string) (net.Conn, error) {
		return nil, &net.OpError{Op: "dial", Err: refused}
	}})
	defer nobody.Close()
	var dial *net.OpError
	require.ErrorAs(t, nobody.Process(ctx, once{redis.NewCmd(ctx, "echo")}), &dial)
	assert.Equal(t, "dial", dial.Op)
	assert.Empty(t, s.Got("echo"))
}

// The connections of pipelines are a pool of their own, counted apart: the role is asked
// for in each.
func TestPipelinesHaveAPoolOfTheirOwn(t *testing.T) {
	answer, _ := held(t)
	client := connect(t, fakeredis.Serve(t, answer), redis.Options{})
	pipe := client.Pipeline()
	_ = pipe.Process(t.Context(), redis.NewCmd(t.Context(), "echo"))
	_, err := pipe.Exec(t.Context())
	require.NoError(t, err)
	assert.EqualValues(t, 1, client.PoolStats().PipelineStats.IdleConns)
	assert.Zero(t, client.PoolStats().TotalConns)
	require.NoError(t, client.Process(t.Context(), redis.NewCmd(t.Context(), "echo")))
	assert.EqualValues(t, 1, client.PoolStats().IdleConns)
}

// A subscription connects with its first channel. When its connection breaks it dials anew,
// and holds up all its methods meanwhile, Close too.
func TestASubscriptionThatDialsHoldsUpItsMethods(t *testing.T) {
	ctx := t.Context()
	s := fakeredis.Serve(t, func(args []string) string {
		switch args[0] {
		case "hello":
			return fakeredis.Unknown
		case "ping":
			return fakeredis.HangUp
		}
		return "*3\r\n" + fakeredis.Bulk(args[0]) + fakeredis.Bulk("channel") + ":1\r\n"
	})
	dials, gate := make(chan struct{}, 10), make(chan struct{}, 1)
	open := sync.OnceFunc(func() { close(gate) })
	defer open()
	client := redis.NewClient(&redis.Options{
		Addr: s.Addr, Protocol: 2, DisableIdentity: true, DialerRetries: 1,
		Dialer: func(ctx context.Context, network, addr string) (net.Conn, error) {
			dials <- struct{}{}
			<-gate
			return new(net.Dialer).DialContext(ctx, network, addr)
		},
	})
	defer client.Close()
	pubsub := client.Subscribe(ctx)
	assert.Empty(t, dials)
	gate <- struct{}{}
	require.NoError(t, pubsub.Subscribe(ctx, "channel"))
	require.Len(t, dials, 1)
	<-dials
	_, err := pubsub.Receive(ctx)
	require.NoError(t, err)

	require.NoError(t, pubsub.Ping(ctx)) // which the server hangs up on
	received := make(chan error, 1)
	go func() { _, err := pubsub.Receive(ctx); received <- err }()
	require.Eventually(t, func() bool { return len(dials) == 1 }, 10*time.Second, time.Millisecond, "it dials anew")
	ended := make(chan string, 2)
	for name, method := range map[string]func() error{
		"Subscribe": func() error { return pubsub.Subscribe(ctx, "another") }, "Close": pubsub.Close,
	} {
		go func() { _ = method(); ended <- name }()
	}
	select {
	case <-received:
		t.Fatal("Receive tells of the broken connection before there is another")
	case name := <-ended:
		t.Fatal(name + " does not wait for the dial")
	case <-time.After(50 * time.Millisecond):
	}
	open()
	assert.Error(t, <-received)
	<-ended
	<-ended
}

// The members of a sorted set are strings, in each protocol.
func TestScoredMembersAreStrings(t *testing.T) {
	s := fakeredis.Serve(t, func(args []string) string {
		switch strings.Join(args, " ") {
		case "hello 3":
			return "%1\r\n" + fakeredis.Bulk("proto") + ":3\r\n"
		case "three":
			return "*1\r\n*2\r\n" + fakeredis.Bulk("7") + ",1.5\r\n"
		case "two":
			return "*2\r\n" + fakeredis.Bulk("7") + fakeredis.Bulk("1.5")
		}
		return fakeredis.Unknown
	})
	for protocol, command := range map[int]string{2: "two", 3: "three"} {
		client := redis.NewClient(&redis.Options{Addr: s.Addr, Protocol: protocol, DisableIdentity: true})
		defer client.Close()
		cmd := redis.NewZSliceCmd(t.Context(), command)
		require.NoError(t, client.Process(t.Context(), cmd))
		assert.Equal(t, []redis.Z{{Score: 1.5, Member: "7"}}, cmd.Val())
	}
}

//go:build integration

package mcptasks_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"os/signal"
	"strconv"
	"syscall"
	"time"

	"github.com/modelcontextprotocol/go-sdk/jsonrpc"
	"github.com/modelcontextprotocol/go-sdk/mcp"

	"github.com/taskstore/taskstore"
	"github.com/taskstore/taskstore/mcptasks"
	"github.com/taskstore/taskstore/tasks"
)

// The code of the processes that the tests start, kill and stop.

// replicaEnv holds the replicaConfig of a process that is to be a replica.
const replicaEnv = "MCPTASKS_TEST_REPLICA"

type replicaConfig struct {
	URL   string
	Redis taskstore.RedisOptions // no Prefix: URL is of another store
	Tasks tasks.Options
	Drain time.Duration
}

func (c replicaConfig) options() *mcptasks.Options {
	return &mcptasks.Options{
		Tasks: c.Tasks, DrainTimeout: c.Drain, Logger: slog.New(slog.NewTextHandler(os.Stderr, nil)),
	}
}

func (c replicaConfig) open(ctx context.Context) (taskstore.StorageBackend, error) {
	if c.Redis.Prefix == "" {
		return taskstore.Open(ctx, c.URL)
	}
	return taskstore.OpenRedis(ctx, c.URL, &c.Redis)
}

// say tells the test of an event in this process, in one line.
func say(what ...any) { fmt.Print(fmt.Sprintln(what...)) }

// serveReplica serves until the process is told to end, or its parent is gone.
func serveReplica(config string) error {
	var c replicaConfig
	if err := json.Unmarshal([]byte(config), &c); err != nil {
		return err
	}
	go func() {
		_, _ = io.Copy(io.Discard, os.Stdin)
		os.Exit(1)
	}()
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM)
	defer stop()
	store, err := c.open(ctx)
	if err != nil {
		return err
	}
	defer store.(io.Closer).Close()
	tasks, server, err := assemble(store, c.options(), processTools)
	if err != nil {
		return err
	}
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	web := &http.Server{Handler: overHTTP(tasks, server)}
	failed := make(chan error, 1)
	go func() { failed <- web.Serve(listener) }()
	background, end := context.WithCancel(context.Background())
	defer end()
	drained := make(chan error, 1)
	go func() { drained <- tasks.Run(background, server) }()
	say("listening", "http://"+listener.Addr().String())

	select {
	case err := <-failed:
		return err
	case <-ctx.Done():
	}
	_ = web.Close()
	end()
	if err := <-drained; err != nil {
		fmt.Fprintln(os.Stderr, err) // handlers had to be told; the tests look at their tasks
	}
	return nil
}

// processTools are tools that report the events of their handlers to the test.
func processTools(t *mcptasks.Tasks, server *mcp.Server) {
	add(t, server, "done", func(context.Context, *mcp.CallToolRequest, none) (*mcp.CallToolResult, any, error) {
		return text("as asked"), nil, nil
	}, nil)
	add(t, server, "fail", func(context.Context, *mcp.CallToolRequest, none) (*mcp.CallToolResult, any, error) {
		return nil, nil, &jsonrpc.Error{Code: 4711, Message: "no luck", Data: json.RawMessage(`{"a":1}`)}
	}, nil)
	add(t, server, "wait", func(ctx context.Context, _ *mcp.CallToolRequest, _ none) (*mcp.CallToolResult, any, error) {
		say("wait started")
		<-ctx.Done()
		say("wait ended", cause(ctx), time.Now().UnixNano())
		return nil, nil, ctx.Err()
	}, nil)
	add(t, server, "finish", func(ctx context.Context, _ *mcp.CallToolRequest, _ none) (*mcp.CallToolResult, any, error) {
		say("finish started")
		<-ctx.Done()
		return text("finished in time"), nil, nil
	}, nil)
	add(t, server, "stubborn", stubborn, nil)
	add(t, server, "ask", askTwice, nil)
	add(t, server, "climb", climb, &mcptasks.ToolOptions{Retry: true})
	add(t, server, "kill", func(context.Context, *mcp.CallToolRequest, none) (*mcp.CallToolResult, any, error) {
		say("kill started")
		os.Exit(137)
		return nil, nil, nil
	}, &mcptasks.ToolOptions{Retry: true, MaxRuns: 2})
}

// stubborn goes on writing until a write is refused, even after its ctx has ended, and
// then still returns a result.
func stubborn(ctx context.Context, _ *mcp.CallToolRequest, _ none) (*mcp.CallToolResult, any, error) {
	say("stubborn started")
	for n := 0; ; n++ {
		err := mcptasks.FromContext(ctx).SetStatusMessage(context.WithoutCancel(ctx), "step "+strconv.Itoa(n))
		if errors.Is(err, tasks.ErrLeaseLost) {
			break
		}
		time.Sleep(5 * time.Millisecond)
	}
	say("stubborn refused")
	<-ctx.Done()
	say("stubborn ended", cause(ctx))
	return text("too late"), nil, nil
}

// askTwice needs the answers to two questions.
func askTwice(_ context.Context, req *mcp.CallToolRequest, _ none) (*mcp.CallToolResult, any, error) {
	first, ok := req.Params.InputResponses["first"].(*mcp.ElicitResult)
	second, both := req.Params.InputResponses["second"].(*mcp.ElicitResult)
	if !ok || !both {
		return &mcp.CallToolResult{InputRequests: mcp.InputRequestMap{
			"first": elicit("first?"), "second": elicit("second?"),
		}}, nil, nil
	}
	say("ask resumed")
	return text(first.Action + ", " + second.Action), nil, nil
}

// climb takes three lives, and leaves word from each to the next.
func climb(ctx context.Context, _ *mcp.CallToolRequest, _ none) (*mcp.CallToolResult, any, error) {
	task := mcptasks.FromContext(ctx)
	life := len(task.State()) + 1
	if life == 3 {
		return text("up after " + string(task.State())), nil, nil
	}
	if err := task.SaveState(ctx, append(task.State(), byte('0'+life))); err != nil {
		return nil, nil, err
	}
	say("climb in life", life)
	<-ctx.Done()
	return nil, nil, ctx.Err()
}

func cause(ctx context.Context) string {
	for name, cause := range map[string]error{
		"cancelled": mcptasks.ErrCancelled, "lost": mcptasks.ErrLost, "shutdown": mcptasks.ErrShutdown,
	} {
		if errors.Is(context.Cause(ctx), cause) {
			return name
		}
	}
	return "otherwise"
}

// Command server is an MCP server whose tool leaves its work to another process: it detaches
// the task and puts a job on a Redis list, for the worker beside it.
package main

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"log"
	"net"
	"net/http"
	"os"
	"os/signal"
	"syscall"
	"time"

	"github.com/modelcontextprotocol/go-sdk/mcp"
	"github.com/redis/go-redis/v9"

	"github.com/taskstore/taskstore"
	"github.com/taskstore/taskstore/mcptasks"
	"github.com/taskstore/taskstore/tasks"
)

// A job is the work that the worker takes from the list.
type job struct {
	Ref  tasks.Ref `json:"ref"` // its holder can end the task: protect the list like the store
	City string    `json:"city"`
}

func main() {
	addr := flag.String("addr", "127.0.0.1:8080", "address to serve HTTP at")
	url := flag.String("redis", "redis://127.0.0.1:6379", "URL of the Redis with the tasks and the list")
	prefix := flag.String("prefix", "detach", "prefix of their keys")
	lease := flag.Duration("lease", 30*time.Second, "lease: how long a silent server keeps its tasks")
	pickUp := flag.Duration("pickup", time.Minute, "how long a job may wait for a worker")
	flag.Parse()
	if flag.NArg() > 0 {
		log.Fatalf("unexpected argument %q: options begin with -, see -h", flag.Arg(0))
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := run(ctx, *addr, *url, *prefix, *lease, *pickUp); err != nil {
		log.Fatal(err)
	}
}

func run(ctx context.Context, addr, url, prefix string, lease, pickUp time.Duration) error {
	store, err := taskstore.OpenRedis(ctx, url, &taskstore.RedisOptions{Prefix: prefix})
	if err != nil {
		return err
	}
	defer store.Close()
	opts, err := redis.ParseURL(url)
	if err != nil {
		return err
	}
	queue := redis.NewClient(opts)
	defer queue.Close()
	t, err := mcptasks.New(store, &mcptasks.Options{Tasks: tasks.Options{Lease: lease}})
	if err != nil {
		return err
	}
	server := mcp.NewServer(&mcp.Implementation{Name: "detach", Version: "0.1.0"}, nil)
	report := func(ctx context.Context, _ *mcp.CallToolRequest, in struct {
		City string `json:"city"`
	}) (*mcp.CallToolResult, any, error) {
		// A short deadline: should this process die before the job is on the list, the
		// client hears of it soon. The worker extends it.
		ref, err := mcptasks.FromContext(ctx).Detach(ctx, pickUp)
		if err != nil {
			return nil, nil, err
		}
		j, err := json.Marshal(job{ref, in.City})
		if err != nil {
			return nil, nil, err
		}
		// An error ends the task, since the job is on no list.
		return nil, nil, queue.LPush(ctx, prefix+":jobs", j).Err()
	}
	mcptasks.AddTool(t, server, &mcp.Tool{Name: "report", Description: "Writes a report on the weather"}, report,
		&mcptasks.ToolOptions{Retry: true}) // until the task is detached
	if err := t.Install(server); err != nil {
		return err
	}
	listener, err := net.Listen("tcp", addr)
	if err != nil {
		return err
	}
	web := &http.Server{
		Handler:           t.HTTPHandler(func(*http.Request) *mcp.Server { return server }, nil),
		ReadHeaderTimeout: 10 * time.Second,
	}
	defer web.Close()
	ctx, stop := context.WithCancelCause(ctx)
	go func() { stop(web.Serve(listener)) }()
	err = t.Run(ctx, server)
	if failed := context.Cause(ctx); !errors.Is(failed, context.Canceled) {
		return failed // the web server's
	}
	return err
}

// Command small is a whole MCP server with a tool that runs as a task.
package main

import (
	"context"
	"fmt"
	"log"
	"log/slog"
	"net/http"
	"os"
	"os/signal"
	"syscall"
	"time"

	"github.com/modelcontextprotocol/go-sdk/auth"
	"github.com/modelcontextprotocol/go-sdk/mcp"
	"github.com/taskstore/taskstore/mcptasks"
	"github.com/taskstore/taskstore/sqlitestore"
)

type input struct {
	Frames int `json:"frames"`
}

func render(ctx context.Context, _ *mcp.CallToolRequest, in input) (*mcp.CallToolResult, any, error) {
	task, n := mcptasks.FromContext(ctx), 0
	fmt.Sscan(string(task.State()), &n) // go on with the frame that a lost process had reached
	for ; n < in.Frames && ctx.Err() == nil; n++ {
		task.SaveState(ctx, fmt.Append(nil, n)) // a failure to store it costs a frame at most
		task.SetProgress(ctx, int64(n), int64(in.Frames), fmt.Sprintf("%d of %d frames", n, in.Frames))
		time.Sleep(time.Second) // the work
	}
	return &mcp.CallToolResult{Content: []mcp.Content{&mcp.TextContent{Text: "rendered"}}}, nil, context.Cause(ctx)
}

func verify(_ context.Context, token string, _ *http.Request) (*auth.TokenInfo, error) {
	if token != os.Getenv("TOKEN") { // check real tokens here
		return nil, auth.ErrInvalidToken
	}
	return &auth.TokenInfo{UserID: "alice", Expiration: time.Now().Add(time.Hour)}, nil
}

func main() {
	slog.SetDefault(slog.New(slog.NewJSONHandler(os.Stderr, nil))) // mcptasks and log write there
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	store, err := sqlitestore.Open(ctx, "tasks.db", nil)
	must(err)
	defer store.Close()
	tasks, err := mcptasks.New(store, &mcptasks.Options{Fallback: mcptasks.FallbackOptions{All: true}})
	must(err)
	server := mcp.NewServer(&mcp.Implementation{Name: "studio", Version: "1.0.0"}, nil)
	mcptasks.AddTool(tasks, server, &mcp.Tool{Name: "render"}, render, &mcptasks.ToolOptions{Retry: true})
	must(tasks.Install(server))
	handler := tasks.HTTPHandler(func(*http.Request) *mcp.Server { return server }, nil)
	web := &http.Server{Addr: "127.0.0.1:8080", Handler: auth.RequireBearerToken(verify, nil)(handler)}
	go func() { must(web.ListenAndServe()) }()
	must(tasks.Run(ctx, server)) // until SIGTERM; then it hands its tasks over
}

func must(err error) {
	if err != nil {
		log.Fatal(err)
	}
}

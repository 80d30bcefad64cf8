// Command server is an MCP server with tools that run as tasks: one shows its
// progress and can be cancelled, one asks before it acts, one fails.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"log"
	"net"
	"net/http"
	"os"
	"os/signal"
	"syscall"
	"time"

	"github.com/google/jsonschema-go/jsonschema"
	"github.com/modelcontextprotocol/go-sdk/jsonrpc"
	"github.com/modelcontextprotocol/go-sdk/mcp"

	"github.com/taskstore/taskstore"
	"github.com/taskstore/taskstore/mcptasks"
	_ "github.com/taskstore/taskstore/pgstore"     // opens postgres://
	_ "github.com/taskstore/taskstore/sqlitestore" // opens sqlite:
	"github.com/taskstore/taskstore/tasks"
)

func main() {
	addr := flag.String("addr", "127.0.0.1:8080", "address to serve HTTP at")
	stdio := flag.Bool("stdio", false, "serve stdio instead")
	store := flag.String("store", "memory:", "URL of the store: memory:, redis://HOST, sqlite:FILE, postgres://USER@HOST/DATABASE?migrate=true")
	flag.Usage = func() {
		fmt.Fprint(flag.CommandLine.Output(), "Serves MCP with four tools that run as tasks: count, delete, fail and refuse.\n\n"+
			"  server [-store URL] [-addr HOST:PORT]  over HTTP\n"+
			"  server [-store URL] -stdio             on stdio\n\n")
		flag.PrintDefaults()
	}
	flag.Parse()
	atAddr := false
	flag.Visit(func(f *flag.Flag) { atAddr = atAddr || f.Name == "addr" })
	switch {
	case flag.NArg() > 0:
		log.Fatalf("unexpected argument %q: options begin with -, see -h", flag.Arg(0))
	case *stdio && atAddr:
		log.Fatal("give -stdio or -addr, not both")
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := run(ctx, *addr, *store, *stdio); err != nil {
		log.Fatal(err)
	}
}

func run(ctx context.Context, addr, storeURL string, stdio bool) error {
	store, err := taskstore.Open(ctx, storeURL)
	if err != nil {
		return err
	}
	defer taskstore.Close(store)
	t, err := mcptasks.New(store, &mcptasks.Options{
		Tasks: tasks.Options{PollInterval: 500 * time.Millisecond},
	})
	if err != nil {
		return err
	}
	server := mcp.NewServer(&mcp.Implementation{Name: "taskstore-example", Version: "0.1.0"}, nil)
	mcptasks.AddTool(t, server, &mcp.Tool{Name: "count", Description: "Counts slowly"}, count, &mcptasks.ToolOptions{Retry: true})
	mcptasks.AddTool(t, server, &mcp.Tool{Name: "delete", Description: "Asks, then pretends to delete a file"}, remove, nil)
	mcptasks.AddTool(t, server, &mcp.Tool{Name: "fail", Description: "Fails"}, fail, nil)
	mcptasks.AddTool(t, server, &mcp.Tool{Name: "refuse", Description: "Fails as a request does"}, refuse, nil)
	if err := t.Install(server); err != nil {
		return err
	}

	if stdio {
		return serveStdio(ctx, t, server)
	}
	hint := ", and kill this server meanwhile"
	if storeURL == "memory:" {
		hint = "\ntasks are in memory and end with this process; -store sqlite:tasks.db keeps them"
	}
	return serveHTTP(ctx, addr, hint, t, server)
}

// serveHTTP serves until ctx ends. Then Run hands over the tasks that another replica can
// resume and waits for the others, while clients can still poll them.
func serveHTTP(ctx context.Context, addr, hint string, t *mcptasks.Tasks, server *mcp.Server) error {
	listener, err := net.Listen("tcp", addr)
	if err != nil {
		return fmt.Errorf("cannot serve at %s; choose another address, or -addr 127.0.0.1:0 for any port: %w", addr, err)
	}
	fmt.Printf("serving the tools count, delete, fail and refuse at http://%s/\n"+
		"try: client -url http://%[1]s/ -to 20%s\n", listener.Addr(), hint)
	web := &http.Server{
		Handler:           t.HTTPHandler(func(*http.Request) *mcp.Server { return server }, nil),
		ReadHeaderTimeout: 10 * time.Second,
	}
	ctx, stop := context.WithCancelCause(ctx)
	go func() { stop(web.Serve(listener)) }()
	err = t.Run(ctx, server)
	closing, cancel := context.WithTimeout(context.WithoutCancel(ctx), time.Second)
	defer cancel()
	if web.Shutdown(closing) != nil {
		_ = web.Close()
	}
	if failed := context.Cause(ctx); !errors.Is(failed, context.Canceled) {
		return failed // the web server's
	}
	return err
}

// serveStdio serves until its client has gone, or ctx ends.
func serveStdio(ctx context.Context, t *mcptasks.Tasks, server *mcp.Server) error {
	background, cancel := context.WithCancel(context.WithoutCancel(ctx))
	drained := make(chan error, 1)
	go func() { drained <- t.Run(background, server) }()
	err := server.Run(ctx, t.Transport(&mcp.StdioTransport{}))
	cancel()
	if drainErr := <-drained; err == nil || ctx.Err() != nil {
		err = drainErr
	}
	return err
}

type countInput struct {
	To int `json:"to" jsonschema:"how far, in steps of 300 ms"`
}

// count resumes from the state that it saved before its replica was lost.
func count(ctx context.Context, _ *mcp.CallToolRequest, in countInput) (*mcp.CallToolResult, any, error) {
	task := mcptasks.FromContext(ctx)
	n := 0
	_, _ = fmt.Sscan(string(task.State()), &n)
	for ; n < in.To; n++ {
		if err := task.SetStatusMessage(ctx, fmt.Sprintf("%d of %d", n, in.To)); err != nil {
			return nil, nil, err
		}
		if err := task.SaveState(ctx, fmt.Append(nil, n)); err != nil {
			return nil, nil, err
		}
		select {
		case <-time.After(300 * time.Millisecond):
		case <-ctx.Done():
			return nil, nil, context.Cause(ctx)
		}
	}
	return text(fmt.Sprintf("counted to %d", n)), nil, nil
}

type deleteInput struct {
	File string `json:"file"`
}

// remove is called twice: without an answer, and with it.
func remove(_ context.Context, req *mcp.CallToolRequest, in deleteInput) (*mcp.CallToolResult, any, error) {
	answer, ok := req.Params.InputResponses["confirm"].(*mcp.ElicitResult)
	if !ok {
		return &mcp.CallToolResult{InputRequests: mcp.InputRequestMap{"confirm": &mcp.ElicitParams{
			Message: "Delete " + in.File + "?",
			RequestedSchema: &jsonschema.Schema{Type: "object", Properties: map[string]*jsonschema.Schema{
				"really": {Type: "boolean"},
			}},
		}}}, nil, nil
	}
	if answer.Action != "accept" || answer.Content["really"] != true {
		return text("kept " + in.File), nil, nil
	}
	return text("deleted " + in.File), nil, nil
}

func fail(context.Context, *mcp.CallToolRequest, struct{}) (*mcp.CallToolResult, any, error) {
	return nil, nil, errors.New("this tool always fails")
}

// refuse returns a JSON-RPC error, so its task fails. The task of fail completes, with a
// result that has isError.
func refuse(context.Context, *mcp.CallToolRequest, struct{}) (*mcp.CallToolResult, any, error) {
	return nil, nil, &jsonrpc.Error{Code: -32004, Message: "no such shelf"}
}

func text(s string) *mcp.CallToolResult {
	return &mcp.CallToolResult{Content: []mcp.Content{&mcp.TextContent{Text: s}}}
}

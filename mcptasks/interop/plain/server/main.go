// Command server is an MCP server whose tools have a fallback, for clients without the
// extension: one counts for as long as it is told, one asks, two fail.
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
	"time"

	"github.com/google/jsonschema-go/jsonschema"
	"github.com/modelcontextprotocol/go-sdk/auth"
	"github.com/modelcontextprotocol/go-sdk/jsonrpc"
	"github.com/modelcontextprotocol/go-sdk/mcp"

	"github.com/taskstore/taskstore"
	"github.com/taskstore/taskstore/mcptasks"
	"github.com/taskstore/taskstore/tasks"
)

func main() {
	addr := flag.String("addr", "127.0.0.1:0", "address to serve HTTP at")
	stdio := flag.Bool("stdio", false, "serve stdio instead")
	pid := flag.String("pid", "", "file that gets the id of this process")
	store := flag.String("store", "memory:", "URL of the store")
	wait := flag.Duration("wait", 500*time.Millisecond, "how long a call waits")
	lease := flag.Duration("lease", 2*time.Second, "lease: how long a silent process keeps its tasks")
	defect := flag.Bool("defect", false, "log no line and answer every call with an empty result")
	flag.Parse()
	if *pid != "" {
		if err := os.WriteFile(*pid, fmt.Append(nil, os.Getpid()), 0o600); err != nil {
			log.Fatal(err)
		}
	}
	opts := &mcptasks.Options{
		Tasks:    tasks.Options{PollInterval: 100 * time.Millisecond, Lease: *lease},
		Fallback: mcptasks.FallbackOptions{All: true, Wait: *wait},
	}
	if err := run(context.Background(), *addr, *store, *stdio, *defect, opts); err != nil {
		log.Fatal(err)
	}
}

func run(ctx context.Context, addr, storeURL string, stdio, defect bool, opts *mcptasks.Options) error {
	store, err := taskstore.Open(ctx, storeURL)
	if err != nil {
		return err
	}
	defer taskstore.Close(store)
	t, err := mcptasks.New(store, opts)
	if err != nil {
		return err
	}
	server := mcp.NewServer(&mcp.Implementation{Name: "plain-interop", Version: "1"}, nil)
	mcptasks.AddTool(t, server, &mcp.Tool{Name: "count", Description: "Counts slowly"}, count, &mcptasks.ToolOptions{Retry: true})
	mcptasks.AddTool(t, server, &mcp.Tool{Name: "delete", Description: "Asks, then pretends to delete a file"}, remove, nil)
	mcptasks.AddTool(t, server, &mcp.Tool{Name: "fail", Description: "Fails"}, fail, nil)
	mcptasks.AddTool(t, server, &mcp.Tool{Name: "refuse", Description: "Fails as a request does"}, refuse, nil)
	if err := t.Install(server); err != nil {
		return err
	}
	if defect {
		server.AddReceivingMiddleware(sayNothing)
	}
	go func() { log.Print(t.Run(ctx, server)) }()
	if stdio {
		return server.Run(ctx, t.Transport(&mcp.StdioTransport{}))
	}
	listener, err := net.Listen("tcp", addr)
	if err != nil {
		return err
	}
	fmt.Printf("serving MCP at http://%s/\n", listener.Addr())
	handler := t.HTTPHandler(func(*http.Request) *mcp.Server { return server }, nil)
	return http.Serve(listener, auth.RequireBearerToken(userOf, nil)(handler))
}

// userOf takes a token for its user's name.
func userOf(_ context.Context, token string, _ *http.Request) (*auth.TokenInfo, error) {
	return &auth.TokenInfo{UserID: token, Expiration: time.Now().Add(time.Hour)}, nil
}

// sayNothing is the defect.
func sayNothing(next mcp.MethodHandler) mcp.MethodHandler {
	return func(ctx context.Context, method string, req mcp.Request) (mcp.Result, error) {
		if method == "tools/call" {
			return &mcp.CallToolResult{Content: []mcp.Content{}}, nil
		}
		res, err := next(ctx, method, req)
		if told, ok := res.(*mcp.InitializeResult); ok {
			told.Instructions = ""
		}
		return res, err
	}
}

type countInput struct {
	Steps int `json:"steps"`
	Ms    int `json:"ms" jsonschema:"for how long a step takes"`
}

type counted struct {
	Counted int `json:"counted"`
}

// count resumes from the state that it saved before its process was killed.
func count(ctx context.Context, _ *mcp.CallToolRequest, in countInput) (*mcp.CallToolResult, counted, error) {
	task := mcptasks.FromContext(ctx)
	n := 0
	_, _ = fmt.Sscan(string(task.State()), &n)
	for ; n < in.Steps; n++ {
		err := errors.Join(task.SetStatusMessage(ctx, fmt.Sprintf("%d of %d", n, in.Steps)), task.SaveState(ctx, fmt.Append(nil, n)))
		if err == nil {
			err = sleep(ctx, in.Ms)
		}
		if err != nil {
			return nil, counted{}, err
		}
	}
	return nil, counted{n}, nil
}

type deleted struct {
	File    string `json:"file"`
	Deleted bool   `json:"deleted"`
}

// remove is called twice: without an answer, and with it.
func remove(_ context.Context, req *mcp.CallToolRequest, in struct {
	File string `json:"file"`
}) (*mcp.CallToolResult, deleted, error) {
	answer, ok := req.Params.InputResponses["confirm"].(*mcp.ElicitResult)
	if !ok {
		return &mcp.CallToolResult{InputRequests: mcp.InputRequestMap{"confirm": &mcp.ElicitParams{
			Message: "Delete " + in.File + "?",
			RequestedSchema: &jsonschema.Schema{Type: "object", Required: []string{"really"}, Properties: map[string]*jsonschema.Schema{
				"really": {Type: "boolean"},
			}},
		}}}, deleted{}, nil
	}
	return nil, deleted{in.File, answer.Action == "accept" && answer.Content["really"] == true}, nil
}

type pause struct {
	Ms int `json:"ms"`
}

func fail(ctx context.Context, _ *mcp.CallToolRequest, in pause) (*mcp.CallToolResult, counted, error) {
	return nil, counted{}, errors.Join(sleep(ctx, in.Ms), errors.New("this tool always fails"))
}

func refuse(ctx context.Context, _ *mcp.CallToolRequest, in pause) (*mcp.CallToolResult, any, error) {
	if err := sleep(ctx, in.Ms); err != nil {
		return nil, nil, err
	}
	return nil, nil, &jsonrpc.Error{Code: -32004, Message: "no such shelf"}
}

func sleep(ctx context.Context, ms int) error {
	select {
	case <-time.After(time.Duration(ms) * time.Millisecond):
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

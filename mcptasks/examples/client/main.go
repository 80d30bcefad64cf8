// Command client calls the tools of the example server and prints each change of their
// tasks, while CallTool just returns the results. Kill the server while a task runs, and
// start it again: the client asks until it is back, and has its result.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"log"
	"net/http"
	"os"
	"os/exec"
	"os/signal"
	"strings"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/modelcontextprotocol/go-sdk/jsonrpc"
	"github.com/modelcontextprotocol/go-sdk/mcp"

	"github.com/taskstore/taskstore/mcptasks"
)

// noShelf is the code of the error with which the tool refuse fails its task.
const noShelf = -32004

func main() {
	url := flag.String("url", "http://127.0.0.1:8080/", "URL of the server")
	to := flag.Int("to", 0, "only count, up to this number, in steps of 300 ms; 0: try every tool")
	flag.Usage = func() {
		fmt.Fprint(flag.CommandLine.Output(), "Calls the tools of the example server, and prints each change of their tasks.\n\n"+
			"  client [-to N] [-url URL]        a server that serves HTTP\n"+
			"  client [-to N] COMMAND [ARG...]  a server on stdio, which it starts\n\n")
		flag.PrintDefaults()
	}
	flag.Parse()
	atURL := false
	flag.Visit(func(f *flag.Flag) { atURL = atURL || f.Name == "url" })
	switch {
	case *to < 0:
		log.Fatalf("-to is %d: give a number from 1, or leave it out", *to)
	case atURL && flag.NArg() > 0:
		log.Fatalf("give -url or the command of a server, not both; the command began with %q", flag.Arg(0))
	case strings.Contains(flag.Arg(0), "://"):
		log.Fatalf("%q is no command; give the URL of a server as -url %[1]s", flag.Arg(0))
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := run(ctx, *url, *to, flag.Args()); err != nil {
		log.Fatal(err)
	}
}

func run(ctx context.Context, url string, to int, command []string) error {
	client := mcp.NewClient(&mcp.Implementation{Name: "taskstore-example-client", Version: "0.1.0"}, &mcp.ClientOptions{
		ElicitationHandler: func(_ context.Context, req *mcp.ElicitRequest) (*mcp.ElicitResult, error) {
			fmt.Printf("  the server asks: %s  I accept.\n", req.Params.Message)
			return &mcp.ElicitResult{Action: "accept", Content: map[string]any{"really": true}}, nil
		},
	})
	last := ""
	err := mcptasks.InstallClient(client, &mcptasks.ClientOptions{OnTask: func(_ context.Context, task mcptasks.ClientTask) {
		if line := strings.TrimSuffix(fmt.Sprintf("  task %.8s is %s: %s", task.ID, task.Status, task.StatusMessage), ": "); line != last {
			fmt.Println(line) // one line for each change, however often it is looked at
			last = line
		}
	}})
	if err != nil {
		return err
	}
	var transport mcp.Transport = &mcp.StreamableClientTransport{
		Endpoint: url, HTTPClient: &http.Client{Transport: mcptasks.RoundTripper(&outages{})},
	}
	if len(command) > 0 {
		server := exec.Command(command[0], command[1:]...)
		server.Stderr = os.Stderr
		transport = mcptasks.ClientTransport(&mcp.CommandTransport{Command: server})
	}
	session, err := client.Connect(ctx, transport, nil)
	if err != nil && len(command) == 0 {
		return fmt.Errorf("no session with an MCP server at %s; start the example server, or give its URL with -url: %w", url, err)
	}
	if err != nil {
		return fmt.Errorf("no session with %s as an MCP server on stdio: %w", command[0], err)
	}
	defer session.Close()

	call := func(ctx context.Context, tool string, arguments map[string]any) error {
		fmt.Printf("%s %v\n", tool, arguments)
		res, err := session.CallTool(ctx, &mcp.CallToolParams{Name: tool, Arguments: arguments})
		if failure := (*jsonrpc.Error)(nil); errors.As(err, &failure) && failure.Code == noShelf {
			fmt.Printf("=> the task failed: %s\n", failure.Message)
			return nil
		}
		if err != nil {
			return err
		}
		for _, c := range res.Content {
			if t, ok := c.(*mcp.TextContent); ok {
				fmt.Printf("=> %s (error: %v)\n", t.Text, res.IsError)
			}
		}
		return nil
	}
	if to > 0 {
		return call(ctx, "count", map[string]any{"to": to})
	}
	for _, c := range []struct {
		tool      string
		arguments map[string]any
	}{
		{"count", map[string]any{"to": 5}},
		{"delete", map[string]any{"file": "notes.txt"}},
		{"fail", map[string]any{}},
		{"refuse", map[string]any{}},
	} {
		if err := call(ctx, c.tool, c.arguments); err != nil {
			return err
		}
	}
	impatient, cancel := context.WithTimeout(ctx, time.Second)
	defer cancel()
	err = call(impatient, "count", map[string]any{"to": 1000})
	if !errors.Is(err, context.DeadlineExceeded) {
		return fmt.Errorf("expected the call to end with its ctx, not with: %w", err)
	}
	fmt.Println("=> the client gave up, so the task was cancelled")
	return nil
}

// outages says when the server goes and when it is back. The client asks again meanwhile.
type outages struct{ there, gone atomic.Bool }

// RoundTrip implements [http.RoundTripper].
func (o *outages) RoundTrip(req *http.Request) (*http.Response, error) {
	res, err := http.DefaultTransport.RoundTrip(req)
	switch {
	case err != nil && o.there.Load() && req.Context().Err() == nil && !o.gone.Swap(true):
		fmt.Println("  the server is gone; asking again for 30 s")
	case err == nil && !o.there.Swap(true):
	case err == nil && o.gone.Swap(false):
		fmt.Println("  the server is back")
	}
	return res, err
}

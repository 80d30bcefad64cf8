// Command client calls the tools of the example server and shows how their tasks
// go, while CallTool just returns their results.
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
	"time"

	"github.com/modelcontextprotocol/go-sdk/mcp"

	"github.com/taskstore/taskstore/mcptasks"
)

func main() {
	url := flag.String("url", "http://127.0.0.1:8080/", "the server")
	flag.Usage = func() {
		fmt.Fprintln(flag.CommandLine.Output(), "client [-url URL | COMMAND ARG...], with the command of a server on stdio")
		flag.PrintDefaults()
	}
	flag.Parse()
	if err := run(context.Background(), *url, flag.Args()); err != nil {
		log.Fatal(err)
	}
}

func run(ctx context.Context, url string, command []string) error {
	client := mcp.NewClient(&mcp.Implementation{Name: "taskstore-example-client", Version: "0.1.0"}, &mcp.ClientOptions{
		ElicitationHandler: func(_ context.Context, req *mcp.ElicitRequest) (*mcp.ElicitResult, error) {
			fmt.Printf("  the server asks: %s  I accept.\n", req.Params.Message)
			return &mcp.ElicitResult{Action: "accept", Content: map[string]any{"really": true}}, nil
		},
	})
	last := ""
	err := mcptasks.InstallClient(client, &mcptasks.ClientOptions{OnTask: func(_ context.Context, task mcptasks.ClientTask) {
		if line := fmt.Sprintf("  task %.8s is %s %s", task.ID, task.Status, task.StatusMessage); line != last {
			fmt.Println(line) // one line for each change, however often it is looked at
			last = line
		}
	}})
	if err != nil {
		return err
	}
	var transport mcp.Transport = &mcp.StreamableClientTransport{
		Endpoint: url, HTTPClient: &http.Client{Transport: mcptasks.RoundTripper(nil)},
	}
	if len(command) > 0 {
		server := exec.Command(command[0], command[1:]...)
		server.Stderr = os.Stderr
		transport = mcptasks.ClientTransport(&mcp.CommandTransport{Command: server})
	}
	session, err := client.Connect(ctx, transport, nil)
	if err != nil {
		return err
	}
	defer session.Close()

	call := func(ctx context.Context, tool string, arguments map[string]any) error {
		fmt.Printf("%s %v\n", tool, arguments)
		res, err := session.CallTool(ctx, &mcp.CallToolParams{Name: tool, Arguments: arguments})
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
	for _, c := range []struct {
		tool      string
		arguments map[string]any
	}{
		{"count", map[string]any{"to": 5}},
		{"delete", map[string]any{"file": "notes.txt"}},
		{"fail", map[string]any{}},
	} {
		if err := call(ctx, c.tool, c.arguments); err != nil {
			return err
		}
	}
	impatient, cancel := context.WithTimeout(ctx, time.Second)
	defer cancel()
	err = call(impatient, "count", map[string]any{"to": 1000})
	if !errors.Is(err, context.DeadlineExceeded) {
		return fmt.Errorf("expected to give up, not: %w", err)
	}
	fmt.Println("=> given up, and so cancelled")
	return nil
}

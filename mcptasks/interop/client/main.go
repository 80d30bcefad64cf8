// Command client drives a server that others wrote, with the client of mcptasks:
//
//	client URL | COMMAND ARG...
//
// It prints a line for each scenario, "NAME ok" or "NAME failed: why".
package main

import (
	"context"
	"errors"
	"fmt"
	"log"
	"net/http"
	"os"
	"os/exec"
	"strings"
	"time"

	"github.com/modelcontextprotocol/go-sdk/jsonrpc"
	"github.com/modelcontextprotocol/go-sdk/mcp"

	"github.com/taskstore/taskstore/mcptasks"
	"github.com/taskstore/taskstore/tasks"
)

const limit = 30 * time.Second // for a scenario

func main() {
	failed, err := run(os.Args[1:])
	if err != nil {
		log.Fatal(err)
	}
	if failed {
		os.Exit(1)
	}
}

func run(target []string) (failed bool, err error) {
	c := &client{}
	if err := c.connect(target); err != nil {
		return false, err
	}
	defer c.session.Close()
	for _, s := range []struct {
		name string
		run  func(context.Context) error
	}{
		{"result", c.result},
		{"error", c.toolError},
		{"failed", c.failed},
		{"form", c.form},
		{"decline", c.decline},
		{"cancel", c.cancel},
	} {
		ctx, cancel := context.WithTimeout(context.Background(), limit)
		c.asked, c.states = nil, nil
		if err := s.run(ctx); err != nil {
			failed = true
			fmt.Printf("%s failed: %s\n", s.name, strings.ReplaceAll(err.Error(), "\n", " "))
		} else {
			fmt.Println(s.name, "ok")
		}
		cancel()
	}
	return failed, nil
}

// client keeps what a scenario's server asked and which states its task went through.
type client struct {
	session *mcp.ClientSession
	answer  *mcp.ElicitResult
	asked   []string
	states  []tasks.Status
	giveUp  func() // called once a task's work has begun
}

func (c *client) connect(target []string) error {
	m := mcp.NewClient(&mcp.Implementation{Name: "mcptasks-interop", Version: "1"}, &mcp.ClientOptions{
		ElicitationHandler: func(_ context.Context, req *mcp.ElicitRequest) (*mcp.ElicitResult, error) {
			c.asked = append(c.asked, req.Params.Message)
			return c.answer, nil
		},
	})
	err := mcptasks.InstallClient(m, &mcptasks.ClientOptions{OnTask: func(_ context.Context, task mcptasks.ClientTask) {
		c.states = append(c.states, task.Status)
		if c.giveUp != nil && task.StatusMessage != "" {
			c.giveUp()
		}
	}})
	if err != nil {
		return err
	}
	var transport mcp.Transport
	if len(target) == 1 && strings.HasPrefix(target[0], "http") {
		transport = &mcp.StreamableClientTransport{
			Endpoint: target[0], HTTPClient: &http.Client{Transport: mcptasks.RoundTripper(nil)},
		}
	} else {
		transport = mcptasks.ClientTransport(&mcp.CommandTransport{Command: exec.Command(target[0], target[1:]...)})
	}
	c.session, err = m.Connect(context.Background(), transport, nil)
	return err
}

// call gives the text of a tool's result, and an error unless a task brought it.
func (c *client) call(ctx context.Context, tool string, arguments map[string]any) (text string, isError bool, err error) {
	res, err := c.session.CallTool(ctx, &mcp.CallToolParams{Name: tool, Arguments: arguments})
	if len(c.states) == 0 {
		return "", false, fmt.Errorf("no task was made: %v", err)
	}
	if err != nil {
		return "", false, err
	}
	if len(res.Content) != 1 {
		return "", false, fmt.Errorf("the result has %d blocks", len(res.Content))
	}
	block, ok := res.Content[0].(*mcp.TextContent)
	if !ok {
		return "", false, fmt.Errorf("the result has no text but a %T", res.Content[0])
	}
	return block.Text, res.IsError, nil
}

func (c *client) expect(ctx context.Context, tool string, arguments map[string]any, text string, isError bool) error {
	got, gotError, err := c.call(ctx, tool, arguments)
	if err == nil && (got != text || gotError != isError) {
		err = fmt.Errorf("expected %q (error: %v), not %q (error: %v)", text, isError, got, gotError)
	}
	return err
}

func (c *client) result(ctx context.Context) error {
	return c.expect(ctx, "count", map[string]any{"to": 2}, "counted to 2", false)
}

// toolError: the tool fails, and its task is completed.
func (c *client) toolError(ctx context.Context) error {
	return c.expect(ctx, "fail", map[string]any{}, "this tool always fails", true)
}

// failed: the request fails, and its task is failed.
func (c *client) failed(ctx context.Context) error {
	_, _, err := c.call(ctx, "refuse", map[string]any{})
	var wire *jsonrpc.Error
	if !errors.As(err, &wire) || wire.Code != -32004 {
		return fmt.Errorf("expected error -32004, not %w", err)
	}
	return nil
}

func (c *client) form(ctx context.Context) error {
	c.answer = &mcp.ElicitResult{Action: "accept", Content: map[string]any{"really": true}}
	return c.ask(ctx, "a.txt", "deleted a.txt")
}

func (c *client) decline(ctx context.Context) error {
	c.answer = &mcp.ElicitResult{Action: "decline"}
	return c.ask(ctx, "b.txt", "kept b.txt")
}

func (c *client) ask(ctx context.Context, file, text string) error {
	if err := c.expect(ctx, "delete", map[string]any{"file": file}, text, false); err != nil {
		return err
	}
	if want := "Delete " + file + "?"; len(c.asked) != 1 || c.asked[0] != want {
		return fmt.Errorf("expected to be asked %q once, not %q", want, c.asked)
	}
	return nil
}

// cancel gives a call up once its task says how far it is, and holds the server to have ended the work.
func (c *client) cancel(ctx context.Context) error {
	before, err := c.stopped(ctx)
	if err != nil {
		return err
	}
	impatient, giveUp := context.WithCancel(ctx)
	defer giveUp()
	c.giveUp = giveUp
	defer func() { c.giveUp = nil }()
	if _, _, err := c.call(impatient, "count", map[string]any{"to": 1000}); !errors.Is(err, context.Canceled) {
		return fmt.Errorf("expected to give up, not: %w", err)
	}
	for {
		if now, err := c.stopped(ctx); err != nil || now != before {
			return err
		}
		select {
		case <-time.After(50 * time.Millisecond):
		case <-ctx.Done():
			return errors.New("the server did not stop the work")
		}
	}
}

// stopped asks the server how many runs of count were cancelled.
func (c *client) stopped(ctx context.Context) (string, error) {
	res, err := c.session.CallTool(ctx, &mcp.CallToolParams{Name: "cancelled", Arguments: map[string]any{}})
	if err != nil {
		return "", err
	}
	return fmt.Sprint(res.StructuredContent), nil
}

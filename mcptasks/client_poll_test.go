package mcptasks_test

import (
	"context"
	"errors"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/modelcontextprotocol/go-sdk/mcp"

	"github.com/taskstore/taskstore/mcptasks"
)

// slowly calls a tool that takes ten minutes and returns when each state of its task
// was seen. Asking for the states whose numbers are in lost does not get through.
func slowly(t *testing.T, suggested time.Duration, opts mcptasks.ClientOptions, lost ...int) (seen []time.Duration, err error) {
	t.Helper()
	server := mcptasks.Options{}
	server.Tasks.PollInterval = suggested
	r := startDirect(t, memory(), &server, func(tasks *mcptasks.Tasks, server *mcp.Server) {
		add(tasks, server, "slow", func(ctx context.Context, _ *mcp.CallToolRequest, _ none) (*mcp.CallToolResult, any, error) {
			select {
			case <-time.After(10 * time.Minute):
				return text("done"), nil, nil
			case <-ctx.Done():
				return nil, nil, ctx.Err()
			}
		}, nil)
	})
	client := mcp.NewClient(&mcp.Implementation{Name: "client", Version: "1"}, nil)
	asked := 0
	client.AddSendingMiddleware(func(next mcp.MethodHandler) mcp.MethodHandler {
		return func(ctx context.Context, method string, req mcp.Request) (mcp.Result, error) {
			if method == "tasks/get" {
				if asked++; slices.Contains(lost, asked) {
					return nil, errors.New("no way")
				}
			}
			return next(ctx, method, req)
		}
	})
	begin := time.Now()
	opts.OnTask = func(context.Context, mcptasks.ClientTask) { seen = append(seen, time.Since(begin)) }
	if err := mcptasks.InstallClient(client, &opts); err != nil {
		t.Fatal(err)
	}
	clientSide, serverSide := mcp.NewInMemoryTransports()
	if _, err := r.mcp.Connect(t.Context(), r.tasks.Transport(serverSide), nil); err != nil {
		t.Fatal(err)
	}
	session, err := client.Connect(t.Context(), mcptasks.ClientTransport(clientSide), nil)
	if err != nil {
		t.Fatal(err)
	}
	begin = time.Now()
	_, err = session.CallTool(t.Context(), &mcp.CallToolParams{Name: "slow"})
	_ = session.Close()
	now, cancel := context.WithCancel(t.Context())
	cancel()
	_ = r.tasks.Shutdown(now)
	return seen, err
}

// The clock of a bubble has no noise: one interval lies between two looks.
func TestClientPollsAsOftenAsTheServerSuggests(t *testing.T) {
	for name, c := range map[string]struct {
		suggested, want time.Duration
		opts            mcptasks.ClientOptions
	}{
		"as suggested":       {20 * time.Second, 20 * time.Second, mcptasks.ClientOptions{}},
		"no more often":      {time.Second, time.Minute, mcptasks.ClientOptions{MinPollInterval: time.Minute, MaxPollInterval: time.Hour}},
		"no less often":      {10 * time.Minute, 7 * time.Second, mcptasks.ClientOptions{MaxPollInterval: 7 * time.Second}},
		"within the default": {10 * time.Minute, 30 * time.Second, mcptasks.ClientOptions{}},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				seen, err := slowly(t, c.suggested, c.opts)
				if err != nil || len(seen) < 3 {
					t.Fatalf("seen at %v: %v", seen, err)
				}
				for i, at := range seen {
					if at != time.Duration(i)*c.want {
						t.Fatalf("look %d after %v, not every %v", i, at, c.want)
					}
				}
			})
		})
	}
}

// Failures in a row are counted, not all failures.
func TestClientRetries(t *testing.T) {
	for name, c := range map[string]struct {
		retries int
		lost    []int
		fails   bool
	}{
		"the default bears 5":   {0, []int{1, 2, 3, 4, 5, 7, 8, 9, 10, 11}, false},
		"the default gives up":  {0, []int{1, 2, 3, 4, 5, 6}, true},
		"as many as one allows": {2, []int{3, 4, 6, 7}, false},
		"one more":              {2, []int{3, 4, 5}, true},
		"none":                  {-1, []int{2}, true},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				_, err := slowly(t, 20*time.Second, mcptasks.ClientOptions{Retries: c.retries}, c.lost...)
				if (err != nil) != c.fails {
					t.Errorf("CallTool: %v", err)
				}
			})
		})
	}
}

// A server that is not there is given more and more time.
func TestClientWaitsLongerAfterFailures(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		seen, err := slowly(t, 10*time.Second, mcptasks.ClientOptions{}, 2, 3, 4)
		if err != nil {
			t.Fatal(err)
		}
		// The attempts that fail are 20, 30 and 50 s after the call.
		want := []time.Duration{0, 10 * time.Second, 80 * time.Second, 90 * time.Second}
		if len(seen) < len(want) || !slices.Equal(seen[:len(want)], want) {
			t.Errorf("seen at %v", seen)
		}
	})
}

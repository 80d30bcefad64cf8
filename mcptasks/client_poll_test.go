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

// slowly calls a tool that takes ten minutes, and returns the time of each state that the
// client saw of its task. Polls fail while the server is away.
func slowly(t *testing.T, suggested time.Duration, opts mcptasks.ClientOptions, away ...span) (seen []time.Duration, err error) {
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
	begin := time.Now()
	client.AddSendingMiddleware(func(next mcp.MethodHandler) mcp.MethodHandler {
		return func(ctx context.Context, method string, req mcp.Request) (mcp.Result, error) {
			since := time.Since(begin)
			if method == "tasks/get" && slices.ContainsFunc(away, func(s span) bool { return s.from <= since && since < s.to }) {
				return nil, errors.New("no way")
			}
			return next(ctx, method, req)
		}
	})
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

// A span is a time since the call.
type span struct{ from, to time.Duration }

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

// The time for which a server may be away begins with the first failure, again for
// each time, and does not depend on the poll interval.
func TestClientRetriesForAsLongAsOneAllows(t *testing.T) {
	t.Parallel()
	at := func(from, length time.Duration) span { return span{from, from + length} }
	for name, c := range map[string]struct {
		poll     time.Duration
		retryFor time.Duration
		away     []span
		fails    bool
	}{
		"the default, often":      {100 * time.Millisecond, 0, []span{at(10*time.Second, 29*time.Second), at(50*time.Second, 29*time.Second)}, false},
		"the default, seldom":     {20 * time.Second, 0, []span{at(20*time.Second, 30*time.Second)}, false},
		"longer than the default": {100 * time.Millisecond, 0, []span{at(10*time.Second, 32*time.Second)}, true},
		"as long as one allows":   {time.Second, time.Second, []span{at(10*time.Second, time.Second)}, false},
		"a bit longer":            {time.Second, time.Second, []span{at(10*time.Second, 1001*time.Millisecond)}, true},
		"not at all":              {20 * time.Second, -1, []span{at(20*time.Second, time.Millisecond)}, true},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				_, err := slowly(t, c.poll, mcptasks.ClientOptions{RetryFor: c.retryFor}, c.away...)
				if (err != nil) != c.fails || c.fails != errors.Is(err, mcptasks.ErrUnavailable) {
					t.Errorf("CallTool: %v", err)
				}
			})
		})
	}
}

// A server that is away is given more and more time between two attempts.
func TestClientBacksOff(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		seen, err := slowly(t, 10*time.Second, mcptasks.ClientOptions{}, span{20 * time.Second, 26 * time.Second})
		if err != nil {
			t.Fatal(err)
		}
		// The attempts that fail are 20, 21 and 23 s after the call.
		want := []time.Duration{0, 10 * time.Second, 27 * time.Second, 37 * time.Second}
		if len(seen) < len(want) || !slices.Equal(seen[:len(want)], want) {
			t.Errorf("seen at %v", seen)
		}
	})
}

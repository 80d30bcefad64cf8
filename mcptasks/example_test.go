package mcptasks_test

import (
	"context"
	"fmt"
	"log"
	"net/http"
	"net/http/httptest"
	"time"

	"github.com/modelcontextprotocol/go-sdk/auth"
	"github.com/modelcontextprotocol/go-sdk/mcp"

	"github.com/taskstore/taskstore"
	"github.com/taskstore/taskstore/mcptasks"
)

type renderInput struct {
	Frames int `json:"frames"`
}

// render is an ordinary handler that reports its progress.
func render(ctx context.Context, _ *mcp.CallToolRequest, in renderInput) (*mcp.CallToolResult, any, error) {
	owner, err := mcptasks.Caller(ctx)
	if err != nil {
		return nil, nil, err // also for anonymous callers
	}
	task := mcptasks.FromContext(ctx)
	for n := range in.Frames {
		if err := task.SetStatusMessage(ctx, fmt.Sprintf("%d of %d frames", n, in.Frames)); err != nil {
			return nil, nil, err // also when the task is cancelled
		}
	}
	done := fmt.Sprintf("%d frames for %s", in.Frames, owner)
	return &mcp.CallToolResult{Content: []mcp.Content{&mcp.TextContent{Text: done}}}, nil, nil
}

// verify stands for the check of a real token.
func verify(_ context.Context, token string, _ *http.Request) (*auth.TokenInfo, error) {
	if token != "alice's" {
		return nil, auth.ErrInvalidToken
	}
	return &auth.TokenInfo{UserID: "alice", Expiration: time.Now().Add(time.Hour)}, nil
}

// A server runs its tool as a task, behind authentication. A client waits for the result
// as for any other.
func Example() {
	t, err := mcptasks.New(taskstore.NewMemoryBackend(nil), nil)
	if err != nil {
		log.Fatal(err)
	}
	server := mcp.NewServer(&mcp.Implementation{Name: "studio", Version: "1"}, nil)
	mcptasks.AddTool(t, server, &mcp.Tool{Name: "render"}, render, nil)
	if err := t.Install(server); err != nil {
		log.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	drained := make(chan error, 1)
	go func() { drained <- t.Run(ctx, server) }()
	handler := t.Handler(mcp.NewStreamableHTTPHandler(
		func(*http.Request) *mcp.Server { return server }, &mcp.StreamableHTTPOptions{Stateless: true}))
	web := httptest.NewServer(auth.RequireBearerToken(verify, nil)(handler))

	client := mcp.NewClient(&mcp.Implementation{Name: "client", Version: "1"}, nil)
	if err := mcptasks.InstallClient(client, nil); err != nil {
		log.Fatal(err)
	}
	session, err := client.Connect(ctx, &mcp.StreamableClientTransport{
		Endpoint: web.URL, HTTPClient: &http.Client{Transport: mcptasks.RoundTripper(bearer("alice's"))},
	}, nil)
	if err != nil {
		log.Fatal(err)
	}
	result, err := session.CallTool(ctx, &mcp.CallToolParams{Name: "render", Arguments: renderInput{Frames: 3}})
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(result.Content[0].(*mcp.TextContent).Text)

	_ = session.Close()
	web.Close()
	cancel() // all requests are over; let running handlers finish
	<-drained
	// Output: 3 frames for alice
}

// bearer sends a token along with every request.
type bearer string

func (b bearer) RoundTrip(req *http.Request) (*http.Response, error) {
	req = req.Clone(req.Context())
	req.Header.Set("Authorization", "Bearer "+string(b))
	return http.DefaultTransport.RoundTrip(req)
}

package taskotel_test

import (
	"context"
	"log"

	"github.com/modelcontextprotocol/go-sdk/mcp"

	"github.com/taskstore/taskstore"
	"github.com/taskstore/taskstore/mcptasks"
	taskotel "github.com/taskstore/taskstore/otel"
)

type input struct {
	Pages int `json:"pages"`
}

func Example() {
	// The program has set the global providers, as for all that it instruments.
	telemetry, err := taskotel.New(nil)
	if err != nil {
		log.Fatal(err)
	}
	store, err := taskstore.OpenRedis(context.Background(), "redis://localhost:6379", &taskstore.RedisOptions{Resent: telemetry.Resent})
	if err != nil {
		log.Fatal(err)
	}
	defer store.Close()

	opts := &mcptasks.Options{}
	telemetry.Observe(opts)
	tasks, err := mcptasks.New(telemetry.Backend(store), opts)
	if err != nil {
		log.Fatal(err)
	}
	server := mcp.NewServer(&mcp.Implementation{Name: "printer", Version: "1.0.0"}, nil)
	mcptasks.AddTool(tasks, server, &mcp.Tool{Name: "print"}, func(ctx context.Context, _ *mcp.CallToolRequest, in input) (*mcp.CallToolResult, any, error) {
		return &mcp.CallToolResult{}, nil, nil // ctx is within the span "task print"
	}, nil)
	if err := tasks.Install(server); err != nil {
		log.Fatal(err)
	}
	server.AddReceivingMiddleware(telemetry.Middleware()) // the last of all
	if err := server.Run(context.Background(), tasks.Transport(&mcp.StdioTransport{})); err != nil {
		log.Print(err)
	}
}

// An MCP server with tasks that OpenTelemetry sees.
package main

import (
	"fmt"

	"github.com/modelcontextprotocol/go-sdk/mcp"

	"github.com/taskstore/taskstore"
	"github.com/taskstore/taskstore/mcptasks"
	taskotel "github.com/taskstore/taskstore/otel"
)

func main() {
	telemetry, err := taskotel.New(nil)
	if err != nil {
		panic(err)
	}
	opts := &mcptasks.Options{}
	telemetry.Observe(opts)
	t, err := mcptasks.New(telemetry.Backend(taskstore.NewMemoryBackend(nil)), opts)
	if err != nil {
		panic(err)
	}
	fmt.Println("installed", t.Install(mcp.NewServer(&mcp.Implementation{Name: "consumer", Version: "1"}, nil)))
}

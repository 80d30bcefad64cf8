// An MCP server with tools that run as tasks.
package main

import (
	"fmt"

	"github.com/modelcontextprotocol/go-sdk/mcp"

	"github.com/taskstore/taskstore"
	"github.com/taskstore/taskstore/mcptasks"
)

func main() {
	t, err := mcptasks.New(taskstore.NewMemoryBackend(nil), nil)
	if err != nil {
		panic(err)
	}
	fmt.Println("installed", t.Install(mcp.NewServer(&mcp.Implementation{Name: "consumer", Version: "1"}, nil)))
}

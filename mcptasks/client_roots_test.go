//lint:file-ignore SA1019 servers may still ask for roots

package mcptasks_test

import (
	"testing"

	"github.com/modelcontextprotocol/go-sdk/mcp"

	"github.com/taskstore/taskstore/mcptasks"
)

// Some requests for input need no params, and some servers then leave them out.
func TestClientAnswersARequestForInputWithoutParams(t *testing.T) {
	for name, question := range map[string]string{
		"absent": `{"method":"roots/list"}`, "null": `{"method":"roots/list","params":null}`, "empty": `{"method":"roots/list","params":{}}`,
	} {
		t.Run(name, func(t *testing.T) {
			f := newFake(t, map[string][]string{"tasks/get": {
				state(`"status":"input_required","pollIntervalMs":1,"inputRequests":{"r":` + question + `}`), done,
			}})
			client := mcp.NewClient(&mcp.Implementation{Name: "client", Version: "1"}, &mcp.ClientOptions{
				Capabilities: &mcp.ClientCapabilities{RootsV2: &mcp.RootCapabilities{}},
			})
			client.AddRoots(&mcp.Root{URI: "file:///home"})
			if err := mcptasks.InstallClient(client, nil); err != nil {
				t.Fatal(err)
			}
			session, err := client.Connect(t.Context(), &mcp.StreamableClientTransport{Endpoint: httpServer(t, f), HTTPClient: roundTripping}, nil)
			if err != nil {
				t.Fatal(err)
			}
			defer session.Close()
			if got, err := callTool(t, session); err != nil || got != "done" {
				t.Fatalf("got %q, %v", got, err)
			}
			answers, _ := f.last["tasks/update"]["inputResponses"].(map[string]any)
			roots, _ := answers["r"].(map[string]any)
			if list, _ := roots["roots"].([]any); len(list) != 1 {
				t.Errorf("answered %v", answers)
			}
		})
	}
}

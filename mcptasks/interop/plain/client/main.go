// Command client is the Go SDK as a client of 2025-11-25, which has no tasks. It drives a
// server whose tools have a fallback:
//
//	client http|stdio COMMAND ARG...
//
// It does what a model does that knows nothing but the texts of answers, and kills the
// server's process in between. How many steps the long tool has, how long they take and
// when tools fail come from STEPS, STEP_MS and FAIL_MS. It prints a line for each scenario,
// "NAME ok" or "NAME failed: why".
package main

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"reflect"
	"strings"

	"github.com/modelcontextprotocol/go-sdk/mcp"
)

type args = map[string]any

func main() {
	h := &host{transport: os.Args[1], command: os.Args[2], args: os.Args[3:]}
	if err := h.start(); err != nil {
		fmt.Println(err)
		os.Exit(1)
	}
	failed := 0
	for _, s := range []struct {
		name string
		run  func(*host) error
	}{
		{"told", told}, {"quick", quick}, {"long", long}, {"form", form}, {"decline", decline},
		{"error", toolError}, {"failed", failedTask}, {"cancel", cancelled}, {"unknown", unknown},
	} {
		if err := s.run(h); err != nil {
			failed++
			fmt.Printf("%s failed: %s\n", s.name, strings.ReplaceAll(err.Error(), "\n", " "))
			continue
		}
		fmt.Println(s.name, "ok")
	}
	h.kill()
	if failed > 0 {
		os.Exit(1)
	}
}

func expect(want, got any) error {
	if !reflect.DeepEqual(want, got) {
		return fmt.Errorf("expected %v, not %v", want, got)
	}
	return nil
}

// field returns one of the structured content.
func field(res *mcp.CallToolResult, name string) any {
	fields, _ := res.StructuredContent.(map[string]any)
	return fields[name]
}

func told(h *host) error {
	return expect(true, strings.Contains(h.session.InitializeResult().Instructions, "task_status"))
}

func quick(h *host) error {
	res, err := h.call("count", args{"steps": 1, "ms": 1})
	if err != nil {
		return err
	}
	return expect(1.0, field(res, "counted"))
}

func long(h *host) error {
	steps := number("STEPS", 20)
	res, err := h.startTask("count", args{"steps": steps, "ms": number("STEP_MS", 100)}, "working")
	if err == nil {
		err = h.restart()
	}
	if err == nil {
		res, err = h.follow(res, nil)
	}
	if err != nil {
		return err
	}
	return expect([]any{float64(steps), fmt.Sprintf(`{"counted":%d}`, steps)}, []any{field(res, "counted"), text(res)})
}

func form(h *host) error {
	res, err := h.startTask("delete", args{"file": "a.txt"}, "input_required")
	if err == nil {
		err = h.restart()
	}
	if err == nil {
		res, err = h.follow(res, map[string]args{"confirm": {"really": true}})
	}
	if err != nil {
		return err
	}
	return expect(args{"file": "a.txt", "deleted": true}, res.StructuredContent)
}

// ended starts a task and follows it to its end.
func (h *host) ended(tool string, in args, status string) (*mcp.CallToolResult, error) {
	res, err := h.startTask(tool, in, status)
	if err != nil {
		return nil, err
	}
	return h.follow(res, nil)
}

func decline(h *host) error {
	res, err := h.ended("delete", args{"file": "b.txt"}, "input_required")
	if err != nil {
		return err
	}
	return expect(args{"file": "b.txt", "deleted": false}, res.StructuredContent)
}

func toolError(h *host) error {
	res, err := h.ended("fail", args{"ms": number("FAIL_MS", 3000)}, "working")
	if err != nil {
		return err
	}
	return expect([]any{true, nil, "this tool always fails"}, []any{res.IsError, res.StructuredContent, strings.TrimSpace(text(res))})
}

func failedTask(h *host) error {
	res, err := h.ended("refuse", args{"ms": number("FAIL_MS", 3000)}, "working")
	if err != nil {
		return err
	}
	failure, _ := field(res, "error").(map[string]any)
	return expect([]any{true, "failed", -32004.0}, []any{res.IsError, field(res, "status"), failure["code"]})
}

func cancelled(h *host) error {
	begun, err := h.startTask("count", args{"steps": 1000, "ms": 100}, "working")
	if err != nil {
		return err
	}
	res, err := h.call("task_cancel", args{"id": field(begun, "id")})
	if err == nil {
		res, err = h.follow(res, nil)
	}
	if err == nil {
		err = expect("cancelled", field(res, "status"))
	}
	if err == nil {
		res, err = h.follow(begun, nil)
	}
	if err != nil {
		return err
	}
	return expect([]any{true, "cancelled"}, []any{res.IsError, field(res, "status")})
}

func unknown(h *host) error {
	res, err := h.call("task_status", args{"id": "x"})
	if err != nil {
		return err
	}
	return expect([]any{true, "task_not_found", nil}, []any{res.IsError, field(res, "code"), field(res, "status")})
}

// text returns the text of a result.
func text(res *mcp.CallToolResult) string {
	var all []string
	for _, c := range res.Content {
		if c, ok := c.(*mcp.TextContent); ok {
			all = append(all, c.Text)
		}
	}
	return strings.Join(all, "\n")
}

// follow does what each answer says, until none says more.
func (h *host) follow(res *mcp.CallToolResult, user map[string]args) (*mcp.CallToolResult, error) {
	for range 100 {
		said := text(res)
		asked := nextCall.FindStringSubmatch(said[strings.LastIndexByte(said, '\n')+1:])
		if asked == nil {
			return res, nil
		}
		var in args
		if err := json.NewDecoder(strings.NewReader(asked[2])).Decode(&in); err != nil {
			return nil, err
		}
		answers, _ := in["answers"].(map[string]any)
		for key := range answers {
			answers[key] = args{"action": "decline"}
			if content, ok := user[key]; ok {
				answers[key] = args{"action": "accept", "content": content}
			}
		}
		var err error
		if res, err = h.call(asked[1], in); err != nil {
			return nil, err
		}
	}
	return nil, fmt.Errorf("the chain of calls did not end: %s", text(res))
}

// startTask calls a tool and wants a task.
func (h *host) startTask(tool string, in args, status string) (*mcp.CallToolResult, error) {
	res, err := h.call(tool, in)
	if err != nil {
		return nil, err
	}
	return res, expect(status, field(res, "status"))
}

func (h *host) call(tool string, in args) (*mcp.CallToolResult, error) {
	return h.session.CallTool(context.Background(), &mcp.CallToolParams{Name: tool, Arguments: in})
}

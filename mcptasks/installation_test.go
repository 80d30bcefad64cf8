package mcptasks

import "testing"

// A tool that was removed is dropped with its options; one that was added again
// meanwhile has others, and stays.
func TestAToolThatWasAddedAgainIsNotForgotten(t *testing.T) {
	removed, again := new(ToolOptions), new(ToolOptions)
	in := &installation{tools: map[string]*ToolOptions{"tool": again}}
	in.forgetTool("tool", removed)
	if in.tool("tool") != again {
		t.Error("the tool that was added again is forgotten")
	}
	in.forgetTool("tool", again)
	if in.tool("tool") != nil {
		t.Error("the tool that was removed is still known")
	}
}

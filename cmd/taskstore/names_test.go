package main

import (
	"go/ast"
	"go/parser"
	"go/token"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/taskstore/taskstore/cmd/taskstore/internal/look"
	"github.com/taskstore/taskstore/tasks"
)

// The command knows how mcptasks stores a call, and does not link it.
func TestCallsAreReadAsMCPTasksStoresThem(t *testing.T) {
	file, err := parser.ParseFile(token.NewFileSet(), "../../mcptasks/saved.go", nil, 0)
	require.NoError(t, err)
	members := make(map[string]string)
	ast.Inspect(file, func(n ast.Node) bool {
		if spec, ok := n.(*ast.TypeSpec); ok && spec.Name.Name == "saved" {
			for _, f := range spec.Type.(*ast.StructType).Fields.List {
				members[f.Names[0].Name] = f.Tag.Value
			}
		}
		return true
	})
	assert.Equal(t, map[string]string{"Method": "`json:\"method\"`", "Params": "`json:\"params\"`"}, members)
	for request, tool := range map[string]string{
		`{"method":"tools/call","params":{"name":"render","arguments":{"name":"x"}}}`: "render",
		`{"name":"render","arguments":{}}`:                                            "render", // as earlier versions stored it
		`{"method":"prompts/get","params":{"name":"render"}}`:                         "",
		`{"city":"Bern"}`: "",
		`17`:              "",
		``:                "",
	} {
		assert.Equal(t, tool, look.ToolOf(tasks.Task{Request: []byte(request)}), request)
	}
}

// The command knows how mcptasks names owners and the ids of anonymous tasks, and does not
// link it.
func TestOwnersAreNamedAsByMCPTasks(t *testing.T) {
	file, err := parser.ParseFile(token.NewFileSet(), "../../mcptasks/owner.go", nil, 0)
	require.NoError(t, err)
	values := make(map[string]string)
	ast.Inspect(file, func(n ast.Node) bool {
		if spec, ok := n.(*ast.ValueSpec); ok && len(spec.Names) == 1 && len(spec.Values) == 1 {
			if l, ok := spec.Values[0].(*ast.BasicLit); ok {
				values[spec.Names[0].Name] = l.Value
			}
		}
		return true
	})
	assert.Equal(t, map[string]string{"namedPrefix": `"n:"`, "localPrefix": `"l:"`, "anonymousPrefix": `"a:"`, "bucketLen": "2"}, values)
	assert.True(t, isServed("n:alice"))
	assert.True(t, isServed("a:3f"))
	assert.True(t, isServed("l:1000 alice"))
	assert.False(t, isServed("alice"))
}

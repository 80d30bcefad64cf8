package mcptasks

import (
	"context"
	"errors"
	"fmt"
	"reflect"
	"sync"

	"github.com/google/jsonschema-go/jsonschema"
	"github.com/modelcontextprotocol/go-sdk/jsonrpc"
	"github.com/modelcontextprotocol/go-sdk/mcp"
)

// AddTool is [mcp.AddTool] for a tool whose calls may become tasks. Nil opts mean the
// defaults. It may be called before and after Install. It panics if mcp.AddTool does, and
// if opts make no sense.
//
// The server's RemoveTools removes the tool; it can be added again, with other opts or by
// mcp.AddTool, whose calls are no tasks. A task that is under way ends with the handler
// and the opts that it began with; if it goes on after its replica was lost, it gets
// those that the server has then.
func AddTool[In, Out any](t *Tasks, server *mcp.Server, tool *mcp.Tool, handler mcp.ToolHandlerFor[In, Out], opts *ToolOptions) {
	o := toolOptions(tool, opts)
	in := t.installation(server)
	typed := *tool
	if out := reflect.TypeFor[Out](); tool.OutputSchema == nil && out != reflect.TypeFor[any]() {
		schema, err := schemaOf(out)
		if err != nil {
			panic(fmt.Sprintf("AddTool: tool %q: output schema: %v", tool.Name, err))
		}
		typed.OutputSchema = schema
	}
	// The output type is any, so that the SDK passes on the result of a run, which it has
	// completed there already. The SDK decodes and checks the arguments twice: for the
	// request, to refuse a wrong call before anything begins, and for the run, because
	// Around may have changed them. It has no typed handler without a tool to be called,
	// and its handling of outputs is not to be copied here.
	mcp.AddTool(server, &typed, func(ctx context.Context, req *mcp.CallToolRequest, args In) (*mcp.CallToolResult, any, error) {
		if !running(ctx) {
			res, err := in.gate(ctx, req, o, false).forHandler()
			return res, nil, in.wired(tool.Name, err)
		}
		ctx, err := reached(ctx)
		if err != nil {
			return nil, nil, err
		}
		res, out, err := handler(ctx, req, args)
		return res, output(out), err
	})
	in.added(tool.Name, o)
}

// AddRawTool is [mcp.Server.AddTool] for a tool whose calls may become tasks. The rest is
// as for [AddTool]. Since the SDK does not look at the arguments, a call whose arguments
// are wrong becomes a task too.
func AddRawTool(t *Tasks, server *mcp.Server, tool *mcp.Tool, handler mcp.ToolHandler, opts *ToolOptions) {
	o := toolOptions(tool, opts)
	in := t.installation(server)
	server.AddTool(tool, func(ctx context.Context, req *mcp.CallToolRequest) (*mcp.CallToolResult, error) {
		if !running(ctx) {
			return in.gate(ctx, req, o, false).forHandler()
		}
		ctx, err := reached(ctx)
		if err != nil {
			return nil, err
		}
		return handler(ctx, req)
	})
	in.added(tool.Name, o)
}

// toolOptions returns a copy of opts that makes sense.
func toolOptions(tool *mcp.Tool, opts *ToolOptions) *ToolOptions {
	var o ToolOptions
	if opts != nil {
		o = *opts
	}
	if err := o.check(); err != nil {
		panic(fmt.Sprintf("AddTool: tool %q: %v", tool.Name, err)) // as mcp.AddTool says it
	}
	o.idempotent = tool.Annotations != nil && tool.Annotations.IdempotentHint
	return &o
}

func (in *installation) added(name string, opts *ToolOptions) {
	in.toolsMu.Lock()
	in.tools[name] = opts
	in.toolsMu.Unlock()
	if in.fallsBack(opts) {
		in.addFallbackTools()
		in.fallback.shown.Store(true)
	}
	if err := in.checkFallbackNames(); err != nil {
		panic(fmt.Sprintf("AddTool: tool %q: %v", name, err))
	}
}

// tool returns the options of a tool, nil if its calls do not become tasks; foreign says
// that they come from Options.Tool. The server may not have the tool any more.
func (in *installation) tool(name string) (opts *ToolOptions, foreign bool) {
	in.toolsMu.RLock()
	opts = in.tools[name]
	in.toolsMu.RUnlock()
	if opts != nil || in.opts.Tool == nil || in.fallback.has(name) {
		return opts, false
	}
	if opts = in.opts.Tool(name); opts == nil {
		return nil, false
	}
	if err := opts.check(); err != nil {
		in.log.badOptions(name, err)
		return nil, false
	}
	return opts, true
}

// schemas are the schemas of outputs, one for each type: the SDK remembers by the pointer
// that it has resolved one.
var schemas sync.Map

// schemaOf returns the schema that the SDK would infer.
func schemaOf(out reflect.Type) (*jsonschema.Schema, error) {
	if out.Kind() == reflect.Pointer {
		out = out.Elem()
	}
	if schema, ok := schemas.Load(out); ok {
		return schema.(*jsonschema.Schema), nil
	}
	schema, err := jsonschema.ForType(out, &jsonschema.ForOptions{})
	if err == nil && schema == nil {
		err = errors.New("no schema exists for type " + out.String())
	}
	if err != nil {
		return nil, err
	}
	kept, _ := schemas.LoadOrStore(out, schema)
	return kept.(*jsonschema.Schema), nil
}

// output returns a handler's output; as the SDK does, it takes a nil pointer for the zero
// value.
func output[Out any](out Out) any {
	if v := reflect.ValueOf(out); reflect.TypeFor[Out]().Kind() == reflect.Pointer && v.IsNil() {
		return reflect.Zero(v.Type().Elem()).Interface()
	}
	return out
}

// wired returns err as the SDK would send it. Of any other error of a typed handler it
// would make a result. The methods of err are code of the server's author.
func (in *installation) wired(tool string, err error) error {
	if err == nil {
		return nil
	}
	if wire, ok := err.(*jsonrpc.Error); ok {
		return wire
	}
	wire := new(jsonrpc.Error)
	if panicked := in.guard(tool, func() error {
		wire.Message = err.Error()
		if inner := new(jsonrpc.Error); errors.As(err, &inner) {
			wire.Code = inner.Code
		}
		return nil
	}); panicked != nil {
		return panicked
	}
	return wire
}

package mcptasks

import (
	"slices"

	"github.com/modelcontextprotocol/go-sdk/mcp"
)

// A warning comes once for each reason why calls are synchronous for clients that declare
// the extension: to them, and to the operator, it looks as if tasks were off.

// warnIfUninstalled looks at a call that the server's chain brought to a tool's handler
// without the middleware that would have made it a task.
func (in *installation) warnIfUninstalled(req *mcp.CallToolRequest) {
	if capable(req) && !in.installed() {
		in.warned.uninstalled.Do(func() {
			in.log.notInstalled(req.Params.Name)
		})
	}
}

// warnIfTooOld looks at the server's description for a client of the new protocol: one
// that is told of older versions only will call tools without the extension. It need not
// have declared it yet.
func (in *installation) warnIfTooOld(found *mcp.DiscoverResult) {
	if !slices.ContainsFunc(found.SupportedVersions, func(v string) bool { return v >= firstVersion }) {
		in.warnTooOld()
	}
}

// warnIfAnonymous looks at a call that has no fallback because its caller is anonymous.
func (t *Tasks) warnIfAnonymous(tool string) {
	t.warned.anonymous.Do(func() { t.log.noFallback(tool) })
}

func (t *Tasks) warnTooOld() {
	t.warned.tooOld.Do(func() {
		t.log.tooOld()
	})
}

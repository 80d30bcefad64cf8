package mcptasks

import (
	"slices"

	"github.com/modelcontextprotocol/go-sdk/mcp"
)

// What makes calls synchronous for clients that declare the extension is said
// once: to them, and to whoever runs the server, it looks as if tasks were off.

// warnIfUninstalled looks at a call that the server's chain brought to a tool's handler
// without the middleware that would have made it a task.
func (in *installation) warnIfUninstalled(req *mcp.CallToolRequest) {
	if capable(req) && !in.installed() {
		in.warned.uninstalled.Do(func() {
			in.log.notInstalled(req.Params.Name)
		})
	}
}

// warnIfTooOld looks at what a client of the new protocol learns about the server:
// one that is told of older versions only will call tools without the extension. It
// need not have declared it yet.
func (in *installation) warnIfTooOld(found *mcp.DiscoverResult) {
	if !slices.ContainsFunc(found.SupportedVersions, func(v string) bool { return v >= firstVersion }) {
		in.warnTooOld()
	}
}

// warnIfAnonymous looks at a call that has no fallback, since nobody in particular made it.
func (t *Tasks) warnIfAnonymous(tool string) {
	t.warned.anonymous.Do(func() { t.log.noFallback(tool) })
}

func (t *Tasks) warnTooOld() {
	t.warned.tooOld.Do(func() {
		t.log.tooOld()
	})
}

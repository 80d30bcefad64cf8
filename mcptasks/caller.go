package mcptasks

import (
	"context"
	"errors"
	"sync"

	"github.com/modelcontextprotocol/go-sdk/mcp"
)

type callerKey struct{}

var errNoCaller = errors.New("mcptasks: no caller: the ctx is not of a request to a server with Install, or it comes from middleware added after Install")

// Caller returns the owner that a request belongs to, as [Options.Owner] named it:
// the user of the token, by default. It is the same for every call of a tool's
// handler: the first one, one that is called again with answers or by another
// replica, where req.Extra is nil, and one for a client without the extension. ctx is
// that of the handler, or of [Options].Around, or of any request in middleware that was
// added before Install.
//
// An anonymous caller gives [ErrAnonymous]. If Options.Owner fails, or names an owner
// that cannot be used, Caller returns the error with which a call as a task is refused; a
// handler that returns it refuses the call the same way. A ctx that no server with
// Install has passed on gives another error. So a handler that serves only users ends at
// any error.
//
// Options.Owner is called when Caller or a task first needs it, and at most once for a
// request. Caller may be called by any number of goroutines at once.
func Caller(ctx context.Context) (owner string, err error) {
	who, err := callerOf(ctx)
	switch {
	case err != nil:
		return "", err
	case who.named == "":
		return "", ErrAnonymous
	}
	return who.name(), nil
}

// callerOf returns the caller of the request of ctx.
func callerOf(ctx context.Context) (tenant, error) {
	who, ok := ctx.Value(callerKey{}).(func() (tenant, error))
	if !ok {
		return tenant{}, errNoCaller
	}
	return who()
}

// withRequest returns a ctx whose caller is that of req, looked up on first use.
func (t *Tasks) withRequest(ctx context.Context, req mcp.Request) context.Context {
	return context.WithValue(ctx, callerKey{}, sync.OnceValues(func() (tenant, error) { return t.identify(ctx, req) }))
}

// withOwner returns a ctx whose caller is the stored owner.
func withOwner(ctx context.Context, owner string) context.Context {
	who := tenantOf(owner)
	return context.WithValue(ctx, callerKey{}, func() (tenant, error) { return who, nil })
}

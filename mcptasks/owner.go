package mcptasks

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"strings"

	"github.com/modelcontextprotocol/go-sdk/jsonrpc"
	"github.com/modelcontextprotocol/go-sdk/mcp"

	"github.com/taskstore/taskstore/tasks"
)

// A tenant is the caller of a request: an owner by name, or an anonymous one.
//
// Anonymous tasks are spread over 256 owners, so that no limit, index or channel of one
// owner has to serve them all; the limits of an owner then bound all anonymous callers
// together and no caller alone. The end of the id that clients see, after the stored id,
// tells the owner of the task. The prefixes keep anonymous and named owners apart.
type tenant struct {
	named string // with its prefix; empty: anonymous
}

const (
	namedPrefix     = "n:"
	localPrefix     = "l:" // before the process's user, whose tasks are those of plain clients on stdio
	anonymousPrefix = "a:"
	bucketLen       = 2 // hex digits

	// maxNamed is the maximum length of an owner that Options.Owner returns, in bytes.
	maxNamed = tasks.MaxOwnerLength - len(namedPrefix)
)

// tokenOwner is the default of [Options.Owner].
func tokenOwner(_ context.Context, req mcp.Request) (string, error) {
	extra := req.GetExtra() // nil on stdio
	if extra == nil || extra.TokenInfo == nil {
		return "", ErrAnonymous
	}
	if extra.TokenInfo.UserID == "" {
		return "", &jsonrpc.Error{Code: jsonrpc.CodeInvalidRequest, Message: "the token names no user"}
	}
	return extra.TokenInfo.UserID, nil
}

// identify asks [Options.Owner] for the caller of req.
func (t *Tasks) identify(ctx context.Context, req mcp.Request) (tenant, error) {
	owner, err := t.opts.Owner(ctx, req)
	switch {
	case errors.Is(err, ErrAnonymous):
		return tenant{}, nil
	case err != nil:
		var wire *jsonrpc.Error
		if errors.As(err, &wire) {
			return tenant{}, wire
		}
		t.log.ownerUnknown(err)
		return tenant{}, &jsonrpc.Error{Code: jsonrpc.CodeInvalidRequest, Message: "the request's owner is not known"}
	case owner == "":
		t.log.ownerUnusable(0)
		return tenant{}, &jsonrpc.Error{Code: jsonrpc.CodeInvalidRequest, Message: "the request's owner is empty"}
	case len(owner) > maxNamed:
		t.log.ownerUnusable(len(owner))
		return tenant{}, &jsonrpc.Error{Code: jsonrpc.CodeInvalidRequest, Message: fmt.Sprintf("the request's owner is too long: at most %d bytes", maxNamed)}
	}
	return tenant{named: namedPrefix + owner}, nil
}

// tenantOf returns the tenant of a stored owner.
func tenantOf(owner string) tenant {
	if strings.HasPrefix(owner, namedPrefix) {
		return tenant{named: owner}
	}
	return tenant{}
}

// name returns the owner as Options.Owner named it; empty for an anonymous caller and for
// the process's user.
func (n tenant) name() string {
	name, ok := strings.CutPrefix(n.named, namedPrefix)
	if !ok {
		return ""
	}
	return name
}

// newOwner returns the owner for a new task.
func (n tenant) newOwner() string {
	if n.named != "" {
		return n.named
	}
	var b [bucketLen / 2]byte
	_, _ = rand.Read(b[:]) // does not fail
	return anonymousPrefix + hex.EncodeToString(b[:])
}

// stored returns the place of the task that a client of n calls id. It reports false for
// a malformed id.
func (n tenant) stored(id string) (owner, storedID string, ok bool) {
	if n.named != "" {
		return n.named, id, id != ""
	}
	i := strings.LastIndexByte(id, '-')
	if i <= 0 || len(id)-i-1 != bucketLen || strings.Trim(id[i+1:], "0123456789abcdef") != "" {
		return "", "", false
	}
	return anonymousPrefix + id[i+1:], id[:i], true
}

// wireID returns the id of a task for clients.
func wireID(owner, storedID string) string {
	if bucket, ok := strings.CutPrefix(owner, anonymousPrefix); ok {
		return storedID + "-" + bucket
	}
	return storedID
}

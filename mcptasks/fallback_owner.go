package mcptasks

import (
	"context"
	"os"
	"os/user"
	"reflect"
	"strconv"
	"sync"

	"github.com/modelcontextprotocol/go-sdk/mcp"
)

// plainTenant returns the owner of the tasks of a plain client, one without the
// extension. It reports false if the client gets no fallback.
func (t *Tasks) plainTenant(ctx context.Context, session mcp.Session) (who tenant, ok bool, err error) {
	who, err = callerOf(ctx)
	switch {
	case err != nil:
		return tenant{}, false, t.wireError(methodCall, err)
	case who.named != "":
		return who, true, nil
	case onStdio(session):
		return localTenant(), true, nil
	}
	return who, t.opts.Fallback.Anonymous, nil
}

// localTenant is the user of this process.
func localTenant() tenant { return tenant{named: localPrefix + localUser()} }

// localUser names the user of this process, by id and name: the same in the next process.
var localUser = sync.OnceValue(func() string {
	if u, err := user.Current(); err == nil {
		return u.Uid + " " + u.Username
	}
	return strconv.Itoa(os.Getuid())
})

// onStdio reports whether the session is that of a server on stdio, by Tasks.Transport.
// Only such a client has the rights of the process. The SDK keeps the connection in an
// unexported field; without that field no session is on stdio.
func onStdio(session mcp.Session) bool {
	s, ok := session.(*mcp.ServerSession)
	if !ok {
		return false
	}
	conn := reflect.ValueOf(s).Elem().FieldByName("mcpConn")
	if conn.Kind() != reflect.Interface || conn.IsNil() || conn.Elem().Type() != reflect.TypeFor[*shimConn]() {
		return false
	}
	return conn.Elem().Elem().FieldByName("stdio").Bool()
}

// isStdio reports whether the transport is the process's stdin and stdout.
func isStdio(transport mcp.Transport) bool {
	for {
		switch t := transport.(type) {
		case *mcp.StdioTransport:
			return true
		case *mcp.LoggingTransport:
			transport = t.Transport
		default:
			return false
		}
	}
}

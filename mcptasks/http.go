package mcptasks

import (
	"context"
	"net/http"

	"github.com/modelcontextprotocol/go-sdk/auth"
	"github.com/modelcontextprotocol/go-sdk/mcp"
)

// HTTPHandler serves clients of all protocol versions at one endpoint. It is the
// SDK's [mcp.NewStreamableHTTPHandler] twice, with [Tasks.Handler] around it:
//
//   - requests with version 2026-07-28 or later in Mcp-Protocol-Version, which alone
//     can have tasks, go to a Stateless handler, any of them to any replica. When
//     such a client goes away, the ctx of its request ends
//     (PropagateRequestCancellation);
//   - all others go to a handler with sessions. Only there can a tool ask a client of
//     an older version for input: without a session there is no way back to the
//     client, and the call gets "client does not support elicitation". A session
//     lives in one process: in front of several replicas, a proxy has to send
//     requests with one Mcp-Session-Id to one replica. Such clients get no tasks, their
//     calls are answered synchronously, or as their [Fallback] says.
//
// If older clients need not be asked, or cannot be routed, put Handler around a single
// Stateless handler instead: it serves them too.
//
// getServer and opts are those of the SDK; Stateless and PropagateRequestCancellation in
// opts have no effect. Nil opts mean the defaults: sessions then do not time out, see
// SessionTimeout. Put the handler inside the one that authenticates requests.
func (t *Tasks) HTTPHandler(getServer func(*http.Request) *mcp.Server, opts *mcp.StreamableHTTPOptions) http.Handler {
	var o mcp.StreamableHTTPOptions
	if opts != nil {
		o = *opts
	}
	o.Stateless, o.PropagateRequestCancellation = false, false
	sessions := mcp.NewStreamableHTTPHandler(getServer, &o)
	o.Stateless, o.PropagateRequestCancellation = true, true
	stateless := t.Handler(mcp.NewStreamableHTTPHandler(getServer, &o))
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch {
		case r.Method == http.MethodPost && r.Header.Get(headerVersion) >= firstVersion:
			stateless.ServeHTTP(w, r)
		case r.Method == http.MethodGet:
			t.serveSessionStream(sessions, w, r)
		default:
			sessions.ServeHTTP(w, r)
		}
	})
}

// serveSessionStream serves the stream of a session, which stays open as that of a
// subscriptions/listen does, and ends with the token that authorised it too.
func (t *Tasks) serveSessionStream(sessions http.Handler, w http.ResponseWriter, r *http.Request) {
	ctx := r.Context()
	if token := auth.TokenInfoFromContext(ctx); token != nil && !token.Expiration.IsZero() {
		var end context.CancelFunc
		ctx, end = context.WithDeadline(ctx, token.Expiration)
		defer end()
	}
	events := newEventWriter(&answerWriter{ResponseWriter: w, tasks: t, request: r}, nil, t.keepAlive)
	defer events.close()
	sessions.ServeHTTP(events, r.WithContext(ctx))
}

// Package mcptasks gives a server of the official Go SDK
// (github.com/modelcontextprotocol/go-sdk) the Tasks extension of the Model Context
// Protocol, io.modelcontextprotocol/tasks: a long tool call answers with a task that the
// client polls, answers and cancels through any replica.
//
//	t, err := mcptasks.New(store, nil)              // any taskstore.StorageBackend
//	server := mcp.NewServer(impl, nil)
//	opts := &mcptasks.ToolOptions{Retry: true}       // render may be called again
//	mcptasks.AddTool(t, server, &mcp.Tool{Name: "render"}, render, opts)
//	err = t.Install(server)
//	web := &http.Server{Handler: t.HTTPHandler(getServer, nil)}
//	go web.ListenAndServe()
//	err = t.Run(ctx, server)    // until ctx ends; then hands tasks over and waits for handlers
//	web.Close()                 // streams of older clients' sessions may stay open till then
//
// Handlers stay ordinary [mcp.ToolHandlerFor] functions. A client that does not declare
// the extension gets the ordinary synchronous answer, or with a [Fallback] a task that
// its model follows by tools.
//
// [InstallClient] makes a client's CallTool wait for tasks. [StartTool], [GetTask],
// [AnswerTask], [CancelTask] and [Await] take a task's id, and work after a restart too.
//
// # How a task runs
//
// The server stores the task before its handler begins, and before the client hears of
// it. The handler runs on a session of its own, because the request's session ends with
// the answer. Once the call is a task, the messages that the handler sends through
// req.Session are dropped, as the extension wants for progress and log messages. Until
// then, in its Grace or in Manual mode, they reach the client. Report the progress of a
// task with [Task.SetStatusMessage], and in numbers with [Task.SetProgress].
//
// The handler's ctx outlives the request. It ends when the task is cancelled on any
// replica, when its lease is lost, or on shutdown; [context.Cause] tells [ErrCancelled],
// [ErrLost], [ErrExpired] and [ErrShutdown] apart. The handler's return decides how the
// task ends:
//
//	result, also one with IsError        completed
//	*jsonrpc.Error, or a panic           failed
//	anything but a good result, after
//	a cancel was requested               cancelled
//	result with InputRequests            input_required: parked, no goroutine waits;
//	                                     called again with the answers, by whichever
//	                                     replica took the last one
//
// The end clears the status message; a failed task says why. A call that exceeds a task's
// limits (big arguments, one task more than its owner may have) is answered
// synchronously, as for a client without the extension; [ToolOptions].Required refuses it
// instead.
//
// A handler whose work another process does calls [Task.Detach], sends the reference
// there, and returns: the task goes on without a goroutine here.
//
// # Middleware
//
// The server's receiving middleware is around requests, whether it was added before
// Install or after. It runs once for each tools/call, tasks/get, tasks/update and
// tasks/cancel, in the server's order, can refuse before a task is made, and has returned
// when the client has its answer. So authorization, rate limits, audit and tracing keep
// their place. The handler runs on: it has the values of the ctx that middleware handed
// down, without its deadline and its end.
//
// Middleware added before Install sees, as the result of a call that has become a task, a
// *mcp.CallToolResult that says so in a text and names the task in its Meta, under
// [ExtensionID]. If it then returns an error or a result with IsError, it has the last
// word: the handler is stopped and the task is removed. Middleware added after Install
// sees the CreateTaskResult. It can refuse only before it hands the request on; if it
// changes the answer afterwards, the task still goes on.
//
// Handler results that go into a task bypass middleware, as do runs without a request:
// those with answers, and those after a crash. Use [Options].Around for code that every
// run needs, to open a span or to take secrets out of results.
//
// # Faults
//
// The server stops retrying a handler that has begun [ToolOptions].MaxRuns times and lost
// its replica each time: the task fails.
//
// A runner holds a lease. A replica that finds the lease expired marks the task as
// suspected. Unless the runner renews it within a third of a lease, the task fails, or,
// with [ToolOptions].Retry, runs again on another replica. So an outage of the store that
// hits all replicas fails no healthy task. The server retries storing an outcome for as
// long as the process lives. A task that is worked on outlives its TTL, until MaxTTL.
//
// While the store is away, or the server shuts down, requests get error -32603 with
// {"retryable":true,"retryAfterMs":…} as its data, and over HTTP status 503 with
// Retry-After: the client may send the same request again. Only these errors are worth a
// retry.
//
// # Owners
//
// A task belongs to the caller that made the request; for all others it does not exist.
// See [Options.Owner]. [Caller] names the owner in every call of a handler, and
// [Tasks.Account] lists, counts and removes an owner's tasks.
//
// Authentication identifies the caller. It goes around HTTPHandler, so that every request
// is checked before anything reads it. The SDK has it for bearer tokens, in its package
// auth; the verifier's UserID becomes the owner:
//
//	http.Handle("/mcp", auth.RequireBearerToken(verify, nil)(handler))
//
// The server accepts anonymous requests only if it does not demand a token. The id of an
// anonymous task is all that guards it, and clients send it in the Mcp-Name header, which
// many proxies write to their logs: a reader of those logs can read, answer and cancel
// the task. Have proxies leave that header out of their logs, or demand tokens.
//
// # Clients without the extension
//
// Few clients of today declare the extension. [FallbackOptions].All, or
// [ToolOptions].Fallback tool by tool, lets the server answer their calls in time: see
// [Fallback].
//
// # Input
//
// A handler that needs input returns [mcp.CallToolResult.InputRequests] and, optionally,
// RequestState, as for any multi round-trip request, and finds the answers in req.Params
// when it is called again. The same handler works with and without a task. In a task only
// the first call has req.Extra, the token and the headers of the request: the server does
// not store them, and later calls find nil on every replica. [Caller] names the caller in
// each of these calls. Within one task the keys on the wire are unique, as the extension
// demands: a key that a handler uses twice gets a suffix there and comes back to the
// handler as it was. A question of a kind that the client has not declared fails with
// error -32021.
package mcptasks

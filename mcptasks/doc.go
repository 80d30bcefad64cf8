// Package mcptasks gives a server of the official Go SDK
// (github.com/modelcontextprotocol/go-sdk) the Tasks extension of the Model
// Context Protocol, io.modelcontextprotocol/tasks: a long tool call answers with
// a task that the client polls, answers and cancels, on whatever replica its
// requests arrive.
//
//	t, err := mcptasks.New(store, nil)              // any taskstore.StorageBackend
//	server := mcp.NewServer(impl, nil)
//	opts := &mcptasks.ToolOptions{Retry: true}       // render may be called again
//	mcptasks.AddTool(t, server, &mcp.Tool{Name: "render"}, render, opts)
//	err = t.Install(server)                          // after other middleware
//	drained := make(chan error, 1)
//	go func() { drained <- t.Run(ctx, server) }()    // resumes what other replicas left
//	h := t.Handler(mcp.NewStreamableHTTPHandler(get, &mcp.StreamableHTTPOptions{Stateless: true}))
//	...                                              // serve h until the process is to end
//	cancel()                                         // ends ctx, and with it Run
//	<-drained                                        // handlers have finished, or were told to
//
// Handlers stay ordinary [mcp.ToolHandlerFor] functions. A client that does not
// declare the extension gets the ordinary synchronous answer.
//
// [InstallClient] makes a client's CallTool wait for tasks, and [Await] finds one
// again after a restart.
//
// # How a task runs
//
// The task is stored before the client hears of it. Its handler then runs on a
// session of its own, since the request's is over once it is answered: what it
// sends to the client through req.Session goes nowhere, as the extension wants it
// for progress and log messages. Report progress with [Task.SetStatusMessage].
//
// The handler's ctx outlives the request and ends when the task is cancelled, on
// whichever replica, when its lease is lost, or on shutdown; [context.Cause] tells
// [ErrCancelled], [ErrLost] and [ErrShutdown] apart. What a handler returns
// decides how its task ends:
//
//	result, also one with IsError        completed
//	*jsonrpc.Error, or a panic           failed
//	anything but a good result, after
//	a cancel was requested               cancelled
//	result with InputRequests            input_required: parked, no goroutine waits;
//	                                     called again with the answers, by whichever
//	                                     replica took the last one
//
// # Owners
//
// A task belongs to who made the request; for anybody else it does not exist. See
// [Options.Owner].
//
// Who made it is for authentication to say, which goes around Handler: then every
// request is checked before anything reads it. The SDK has it for bearer tokens, in
// its package auth; the verifier's UserID becomes the owner:
//
//	http.Handle("/mcp", auth.RequireBearerToken(verify, nil)(h))
//
// Anonymous requests get through only where nothing demands a token.
//
// # Input
//
// A handler that needs input returns [mcp.CallToolResult.InputRequests] and,
// optionally, RequestState, as for any multi round-trip request, and finds the
// answers in req.Params when it is called again. The same handler works with and
// without a task. In a task only the first call has req.Extra, the token and the
// headers of the request: they are not stored, and later calls, on whatever
// replica, find nil. [Task.Owner] is always there. Within one task the keys on the wire are unique, as the
// extension demands: a key that a handler uses twice gets a suffix there and
// comes back to the handler as it was.
package mcptasks

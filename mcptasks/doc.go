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
//	err = t.Install(server)
//	web := &http.Server{Handler: t.HTTPHandler(getServer, nil)}
//	go web.ListenAndServe()
//	err = t.Run(ctx, server)    // until ctx ends; then hands tasks over and waits for handlers
//	web.Close()                 // streams of older clients' sessions may stay open till then
//
// Handlers stay ordinary [mcp.ToolHandlerFor] functions. A client that does not
// declare the extension gets the ordinary synchronous answer, or with a [Fallback] a task
// that its model follows by tools.
//
// [InstallClient] makes a client's CallTool wait for tasks; [StartTool], [GetTask],
// [AnswerTask], [CancelTask] and [Await] go by the task's id, after a restart too.
//
// # How a task runs
//
// The task is stored before its handler begins, and before the client hears of it.
// The handler runs on a session of its own, since the request's is over once it is
// answered: what it sends to the client through req.Session goes nowhere then, as the
// extension wants it for progress and log messages; as long as the call has no task,
// in its Grace or in Manual mode, they reach the client. Report the progress of a task
// with [Task.SetStatusMessage], and in numbers with [Task.SetProgress].
//
// The handler's ctx outlives the request and ends when the task is cancelled, on
// whichever replica, when its lease is lost, or on shutdown; [context.Cause] tells
// [ErrCancelled], [ErrLost], [ErrExpired] and [ErrShutdown] apart. What a handler
// returns decides how its task ends:
//
//	result, also one with IsError        completed
//	*jsonrpc.Error, or a panic           failed
//	anything but a good result, after
//	a cancel was requested               cancelled
//	result with InputRequests            input_required: parked, no goroutine waits;
//	                                     called again with the answers, by whichever
//	                                     replica took the last one
//
// An end clears the status message; a failed task says why. What is too much for a
// task, such as big arguments or one task more than its owner may have, is answered
// synchronously, as for a client without the extension; [ToolOptions].Required refuses
// it instead.
//
// A handler whose work another process does calls [Task.Detach], sends the reference there,
// and returns: the task goes on without a goroutine here.
//
// # Middleware
//
// The server's receiving middleware is around requests, whether it was added before
// Install or after: it runs once for each tools/call, tasks/get, tasks/update and
// tasks/cancel, in the order in which the server has it, can refuse before a task is made,
// and has returned when the client has its answer. So authorization, rate limits, audit
// and tracing are where they always were. The handler runs on: it has the values of the
// ctx that middleware handed down, and neither its deadline nor its end. Middleware that
// was added before Install finds, as the result of a call that has become a task, a
// *mcp.CallToolResult that says so in a text and names the task in its Meta, under
// [ExtensionID]; what was added after finds the CreateTaskResult. Middleware that was
// added before Install, and returns an error then or a result with IsError, has the last
// word: the handler is stopped and no task is left. What was added after can refuse only
// before it hands the request on; what it makes of the answer nobody here hears of, and
// the task goes on. No middleware sees what the handler returns into its task, and none is
// around a run without a request, with answers or after a crash: what has to be around
// every run, to open a span or to take secrets out of results, is [Options].Around.
//
// # Faults
//
// A handler that was begun [ToolOptions].MaxRuns times and lost its replica each time is
// not begun again: its task fails.
//
// A runner holds a lease. Whoever finds it over marks the task as suspected, and only
// if nobody renews it within a third of a lease is the task failed, or, with
// [ToolOptions].Retry, run again by another replica: so an outage of the store that all
// have met fails no healthy task. An outcome is stored for as long as the process
// lives. A task lives on beyond its TTL while it is worked on, until MaxTTL.
//
// While the store is away, or the server shuts down, requests get error -32603 with
// {"retryable":true,"retryAfterMs":…} as its data, and over HTTP status 503 with
// Retry-After: the same request may be sent again. Nothing else is worth repeating.
//
// # Owners
//
// A task belongs to who made the request; for anybody else it does not exist. See
// [Options.Owner]. [Caller] names the owner in every call of a handler, and
// [Tasks.Account] lists, counts and removes what an owner has.
//
// Who made it is for authentication to say, which goes around HTTPHandler: then every
// request is checked before anything reads it. The SDK has it for bearer tokens, in
// its package auth; the verifier's UserID becomes the owner:
//
//	http.Handle("/mcp", auth.RequireBearerToken(verify, nil)(handler))
//
// Anonymous requests get through only where nothing demands a token. The id of an
// anonymous task is all that guards it, and clients send it in the Mcp-Name header, which
// many proxies write to their logs: whoever reads those can read, answer and cancel the
// task. Have proxies leave that header out of their logs, or demand tokens.
//
// # Clients without the extension
//
// Nearly no client of today declares it. [FallbackOptions].All, or [ToolOptions].Fallback
// tool by tool, lets their calls be answered in time: see [Fallback].
//
// # Input
//
// A handler that needs input returns [mcp.CallToolResult.InputRequests] and,
// optionally, RequestState, as for any multi round-trip request, and finds the
// answers in req.Params when it is called again. The same handler works with and
// without a task. In a task only the first call has req.Extra, the token and the
// headers of the request: they are not stored, and later calls, on whatever
// replica, find nil. [Caller] tells whom every call comes from. Within one task the
// keys on the wire are unique, as the extension demands: a key that a handler uses
// twice gets a suffix there and comes back to the handler as it was. A question of a
// kind that the client has not declared fails with error -32021.
package mcptasks

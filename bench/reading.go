package main

// reading says what the figures do not say of themselves: why some targets are
// missed, and what it would take. It names no figure that is not in the tables.
const reading = `- **One caller.** Client and server take turns to wait for each other, so a call is mostly threads that wake up, also in redis-benchmark, in C. How long
  that takes changes from turn to turn: see the spread of go-redis itself, and how far *again* is from 1.
- **A ctx that can end.** go-redis looks at it between commands and not while it waits for an answer. taskstore heeds it, by having the command run on
  another goroutine, which is kept for the next call. That is one more thread to wake up and one to go back to: it can show where calls come one at a time on loopback,
  as in the update of 64 KiB, little with many callers, and not at all beside a network. *ctx without end* does without, and so does the model, which does not heed
  ctx and can be ahead with one caller. It would take a client whose waiting can be interrupted.
- **What the limit leaves out.** go-redis here sends arguments that are ready and returns strings. taskstore makes the keys and arguments, checks them, decodes
  the answer, and copies data on its way in and out, so that what a caller does with its slice later changes nothing: see the allocations. That is the rest
  of the distance, with 64 callers, with automatic pipelining, and most of all with 64 KiB, where the model has it too. Unsafe conversions would save a copy each way.
- **Automatic pipelining** pays where some dozen calls or more are made at once on small tasks: client and server make fewer system calls. With one caller it
  replaces one hand-over by another. With 64 KiB it loses: one connection carries what several did side by side. It is an option, and not the default, also because
  go-redis calls it experimental, because calls of one batch wait for each other, and because it cannot say of a write whose ctx ended in the queue that it was not sent.
- **Creates and deletes** cost more than those of stores that keep a value alone, at the server and so for everybody: two indexes that are exact and in order,
  the owner's limit and the write's own id are part of them, in one script. The model has one index, which keeps what has expired.
- **Lists.** The ratio to the model is that of its round trips to our work: the faster a round trip the smaller, as on a machine whose cores never
  sleep; beside a network it is many times as large. NATS KV streams a list from a server that is in the client's process.
- **tasks/get over HTTP.** The constant shows what the SDK takes, of which mcp-go takes a part. Redis adds one round trip, and that is threads that wake up again, which
  is too much where one caller has only that to wait for. Only a cache in the process would save it, and it would show other replicas' changes late.
- **Watching.** A hint comes with a write, which the bare way has not, and a goroutine more keeps a slow watcher from holding up others. At 1,000 changes a second client and server
  sleep in between, so a p99 is that of threads that wake up late, and its ratio changes from run to run.
- **Growth.** Flat on Redis: a create, whatever the owner has, and one that is refused; a page, whatever its owner has; in memory: the list of one owner, whatever others
  there are. What is not flat is a get, an update or a page of any task or owner, and a create in memory: the more of them there are, the less of their memory is in a
  cache of the processor. The tables of work on few tasks do not show it.
`

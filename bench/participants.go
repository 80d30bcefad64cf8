package main

// participants says who is in the tables.
const participants = `- **taskstore** is this repository's store, called as a server calls it: with a ctx that can end. *ctx without end* is called with one that cannot.
  *automatic pipelining* is RedisOptions.AutoPipeline. *no hints* is RedisOptions.NoHints: writes tell watchers nothing.
  *SQLite* is sqlitestore on one file, *SynchronousNormal* its option; *PostgreSQL* is pgstore.
- **go-redis** is the limit: what taskstore sends, recorded and sent again by the client with nothing around it. Its automatic pipelining has two ways, of which
  one heeds ctx. *again* is the same client a second time: as far as its ratio is from 1, ratios mean nothing.
- **redis-benchmark** is Redis's own client, in C, which makes nothing of the answers.
- **model** does what the Rust crate pmcp-tasks does in Redis, written anew in Go: a hash for each task, a script that writes everything, a list of one round
  trip for each task. It has no operation ids, no exact indexes, no hints, and does not heed ctx.
- **valkeyrie's commands** are those that kvtools/valkeyrie sends: a JSON value for each task, compared whole in a script. The module itself could not be had.
- **asynq** is hibiken/asynq, a task queue in Redis, through its own inspector; its update reads and writes and compares nothing.
- **NATS KV** is a JetStream key-value bucket of an embedded server that keeps it in memory; **a2a-go** its store in memory; **mcp-go** its tasks over HTTP;
  **a bare map** a map under a lock, the limit in memory.
`

// absent says who is not.
const absent = `- kvtools/valkeyrie, philippgille/gokv and hurtener/dockyard: the Go module proxy did not serve their modules when this was written. gokv has neither
  compare-and-swap nor list; its operations are a GET and a SET of JSON. dockyard's stores in memory and in SQLite have no stand-in.
- a2a-go from v2 on: its module was not served either; v0.3.3 is here.
- asynq and a2a-go have no compare-and-swap, a2a-go no list; their updates read and write. mcp-go lets nobody at its tasks but through the
  protocol, so it is compared there.
`

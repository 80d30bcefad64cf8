// Package tasks keeps long-running tasks on any [taskstore.StorageBackend]: the
// task domain of the Model Context Protocol's Tasks extension, without the
// protocol, so that an MCP server, another protocol's or a plain HTTP API can
// stand on it. Any number of replicas share the tasks of one store; each serves,
// cancels and finishes any of them.
//
// # Owners
//
// Every task belongs to an owner, any non-empty byte string of at most
// [MaxOwnerLength]. Take it from the authenticated caller. What belongs to
// somebody else is [ErrNotFound] in every method, as what never was.
//
// # States
//
//	from             to
//	working          input_required  completed  failed  cancelled
//	input_required   working         completed  failed  cancelled
//	completed, failed, cancelled: nothing; the first to end a task wins
//
// A change reads the task, computes the next state and writes it by
// compare-and-swap, again if somebody else was faster. It is never lost and
// never undoes another.
//
// # Leases
//
// Who runs a task holds a lease, a [Run], and renews it at a third of
// [Options.Lease]. Each write of a Run carries its fencing token and is refused
// with [ErrLeaseLost] once the lease is somebody else's, whatever the runner
// believes. A working task whose lease is over is an orphan:
//
//   - If a cancel was requested, it is cancelled when it is next read.
//   - Otherwise, if it is Resumable, it stays working until somebody acquires it;
//     [Store.Orphans] finds it.
//   - Otherwise it fails when it is next read; the first reader writes that down.
//
// A task without a lease, such as one that follows an external job, is never an
// orphan.
//
// # Time
//
// All times come from the backend's clock, see [taskstore.Now]. A record exists
// for TTL from its creation, and for [Options.Retention] from its end on.
//
// # Storage
//
//	backend owner       task                        content
//	"u:" + owner        "t/" + id                   the task, one record, see codec.go
//	"u:" + owner        "k/" + sha256(key)          the id for an idempotency key
//	"a:" + owner        id                          an entry for a task that has not ended
//	"r:" + 0 to f       id + "/" + sha256(owner)    an entry for one that is resumable
//	"s:" + owner        "turn"                      nothing: the "a:" entries were looked at lately
//
// The others are JSON with a format number. What a newer version wrote is refused
// with [ErrFormat] and not touched. No id is used for a second task, also not for
// the same idempotency key: what a runner of the first one still writes would pass
// for the second's.
package tasks

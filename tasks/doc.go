// Package tasks keeps long-running tasks on any [taskstore.StorageBackend]: the
// task domain of the Model Context Protocol's Tasks extension, without the
// protocol, so that an MCP server, another protocol's or a plain HTTP API can
// stand on it. Any number of replicas share the tasks of one store; each serves,
// cancels and finishes any of them.
//
// # Owners
//
// Every task belongs to an owner, any non-empty byte string of at most
// [MaxOwnerLength]. Take it from the authenticated caller. Every method answers
// [ErrNotFound] for a task of another owner, just as for a task that does not exist.
//
// # States
//
//	from             to
//	working          input_required  completed  failed  cancelled
//	input_required   working         completed  failed  cancelled
//	completed, failed, cancelled: terminal; the first to end a task wins
//
// A change reads the task, computes the next state and writes it by compare-and-swap. A
// [Run] first tries the state that it knows, if that is young. If another writer was
// faster, the change is retried on the newer state, so no update is lost and no update
// undoes another.
//
// # Leases
//
// The runner of a task holds a lease, a [Run], and renews it at a third of
// [Options.Lease]. Each write of a Run carries its fencing token. Once another runner
// has the lease the write is refused with [ErrLeaseLost], even if the old runner still
// believes that it holds the lease.
//
// An expired lease does not tell a dead runner from an outage of the store that the
// runner and all readers shared. So the first caller that meets a working task under an
// expired lease only marks it, by a write that clients do not see: see
// [Lease].IdleSince. A runner that is alive renews, which removes the mark. If the mark
// stands for a grace of a third of [Options.Lease], the task is an orphan:
//
//   - If a cancel was requested, it is cancelled when it is next read.
//   - Otherwise, if it is Resumable, it stays working until a runner acquires it;
//     [Store.Orphans] finds it.
//   - Otherwise it fails when it is next read, with [MessageRunnerGone]; the first
//     reader writes the failure.
//
// A task that a client polls fails at the latest a lease and a half after its runner
// died. If the record has no room for the mark, the mark is left out and the grace
// begins when the lease ends.
//
// A task whose last question was answered is offered to runners for [Options.Lease]:
// any runner may acquire it at any time, and when the offer ends the rules above apply.
// A task that has not had a lease, such as one that follows an external job, does not
// become an orphan.
//
// # Work elsewhere
//
// [Run.Detach] hands the work of a task to another process, which opens it by a [Ref],
// see [Store.Open], and need not renew the lease: the lease is a deadline, after which
// the task is an orphan that fails with [MessageDeadline]. A detached task cannot be
// acquired, and it keeps its lease while it waits for answers. Its worker learns of
// cancels by [Run.Context], asks by [Run.Ask], and may move the deadline by
// [Run.Extend]. If the worker is gone, a cancel takes effect at the deadline, or at
// once while a question waits.
//
// # Time
//
// All times come from the backend's clock, see [taskstore.Now]. TTL is the promise to
// clients: the task exists for TTL from its creation, and for [Options.Retention] from
// its end. A task that is under a lease, is offered or is Resumable is kept for longer
// than TTL while it is working, and a task that waits for answers gets time for them:
// [Task].ExpiresAt tells. A task without any lease is kept for TTL.
//
// At [Options.MaxTTL] from its creation a task that is working under a lease, or could
// be, fails with [MessageOvertime]: its first reader, or its runner's next renewal,
// writes the failure. A result that is written earlier is accepted.
//
// # Storage
//
//	backend owner   collection   task                       content
//	"u:" + owner    none         id                         the task, one record, see record.go
//	"u:" + owner    "active"     id                         empty: the task has not ended
//	"u:" + owner    "keys"       sha256(key)                the id for an idempotency key
//	"u:" + owner    "turn"       "turn"                     empty: the active tasks were read lately
//	"s:"            none         "ref"                      the secret that seals references, made by the first
//	                                                        Detach: without it no reference can be opened
//	"r:" + 0 to f   none         id + "/" + sha256(owner)   an entry for a task that is resumable and
//	                                                        has not ended; it names the service
//
// Content is JSON with a format number. A record that a newer version wrote is refused
// with [ErrFormat] and left as it is.
//
// A task, its active entry and its key are written together, in one batch of the
// backend, when the task is created, ends, is removed or gets another expiry. So the
// three agree at every instant, even if a process crashes. The registry is shared by
// all owners, and is written before a task is created and after it has ended: a crash
// may leave a stale entry until Orphans meets it or it expires.
//
// On a backend that is no [taskstore.Batcher] the writes of a batch are made one by
// one, the task's last: see [taskstore.PutBatch]. A process that dies in between leaves
//
//	when a task is made    an active entry, which counts until it expires as the task would
//	                       have; and a key that has no task: the next Create with that key
//	                       and the same request makes one, another request is refused
//	when a task ends       a task that has not ended and is not counted
//	when it is removed     the same, and its key may be free, or another task's
//	when its expiry moves  an entry and a key that expire when the task was to, not when it does
//
// All of it expires, and the end or the removal of the task repairs it before that. A
// new task takes over the id of a key that has no task; otherwise an id is used only
// once.
package tasks

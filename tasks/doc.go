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
// The runner of a task holds a lease, a [Run], and renews it at a third of
// [Options.Lease]. Each write of a Run carries its fencing token and is refused
// with [ErrLeaseLost] once the lease is somebody else's, whatever the runner
// believes.
//
// A lease that is over does not tell a runner that died from an outage of the store
// that its runner and all readers shared. So the first reader, or any other caller,
// that meets a working task under such a lease only marks it, by a write that no client
// sees: see [Lease].IdleSince. A runner that lives renews, which takes the mark back.
// After a grace of a third of [Options.Lease] without that, the task is an orphan:
//
//   - If a cancel was requested, it is cancelled when it is next read.
//   - Otherwise, if it is Resumable, it stays working until somebody acquires it;
//     [Store.Orphans] finds it.
//   - Otherwise it fails when it is next read, with [MessageRunnerGone]; the first
//     reader writes that down.
//
// A task that a client polls has failed a lease and a half after its runner died, or
// earlier. A mark that does not fit in the record is left out; the grace then begins
// with the lease's end.
//
// A task that waits for somebody to acquire it, since its last question was answered,
// is offered for [Options.Lease]: anybody may acquire it at any time, and from the
// offer's end on it goes the same way. A task that never had a lease, such as one that
// follows an external job, is never an orphan.
//
// # Work elsewhere
//
// [Run.Detach] has the work of a task go on in another process, which opens it by a [Ref],
// see [Store.Open], and has no lease to renew: the lease is a deadline, after which the task
// is an orphan that fails with [MessageDeadline]. Nobody can acquire a detached task, and it
// keeps its lease while it waits for answers. Its worker hears of cancels by [Run.Context],
// asks by [Run.Ask], and may move the deadline by [Run.Extend]. If the worker is gone, a
// cancel takes effect at the deadline, or at once while a question waits.
//
// # Time
//
// All times come from the backend's clock, see [taskstore.Now]. TTL is what clients are
// told: for so long from its creation, and for [Options.Retention] from its end on, the
// task is there. A task that is under a lease, is offered or is Resumable is kept for
// longer than TTL while it is working, and one that waits for answers is given time for
// them: [Task].ExpiresAt tells. A task without any lease is kept for TTL.
//
// At [Options.MaxTTL] from its creation a task that is working under a lease, or could
// be, fails with [MessageOvertime]: whoever reads it first, or its runner's next
// renewal, writes that down. A result that comes before is accepted.
//
// # Storage
//
//	backend owner   collection   task                       content
//	"u:" + owner    none         id                         the task, one record, see record.go
//	"u:" + owner    "active"     id                         nothing: the task has not ended
//	"u:" + owner    "keys"       sha256(key)                the id for an idempotency key
//	"u:" + owner    "turn"       "turn"                     nothing: the active tasks were looked at lately
//	"s:"            none         "ref"                      the secret that seals references, made by the first
//	                                                        Detach: without it none can be opened
//	"r:" + 0 to f   none         id + "/" + sha256(owner)   an entry for a task that is resumable and
//	                                                        has not ended, which names its service
//
// What has content is JSON with a format number. What a newer version wrote is refused
// with [ErrFormat] and not touched.
//
// A task, its active entry and its key are made, ended, removed, and given another expiry,
// in one write, a batch of the backend; so each is there if and only if it should be, at
// every instant and whatever crashes. The registry, which all owners have in common, is
// written before a task is made and after it has ended: an entry may be left that nobody
// needs, until Orphans meets it or it expires.
//
// A backend that is no [taskstore.Batcher] makes the writes of a batch one by one, the
// task's last: see [taskstore.PutBatch]. A process that dies in between leaves there
//
//	when a task is made    an active entry, which counts until it expires as the task would
//	                       have; and a key that has no task: the next Create with that key
//	                       and the same request makes one, another request is refused
//	when a task ends       a task that has not ended and is not counted
//	when it is removed     the same, and its key may be free, or another task's
//	when its expiry moves  an entry and a key that expire when the task was to, not when it does
//
// All of it expires, and the end of the task, or its removal, puts it right before that.
// Where a key has no task, its id is taken for the new one; otherwise no id is used for a
// second task.
package tasks

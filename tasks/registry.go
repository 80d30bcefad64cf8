package tasks

import "github.com/taskstore/taskstore"

// The registry has an entry for every resumable task that has not ended, so that
// any replica finds the ones whose runner is gone; no backend lists all owners.
// It is spread over sixteen backend owners, which no user's owner can be.

const (
	registryPrefix = "r:"
	buckets        = "0123456789abcdef"
)

// registryKey names the registry's entry of a task. An id has one length, so no
// two pairs of owner and id have one name; an owner may be too long to be in it.
func registryKey(owner, id string) taskstore.Key {
	task := id + "/" + hash(owner)
	return taskstore.Key{Owner: registryPrefix + hash(task)[:1], Task: task}
}

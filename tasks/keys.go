package tasks

import (
	"strings"

	"github.com/taskstore/taskstore"
)

// The keys of all records, see the package documentation. The records of one owner lie
// in collections of one backend owner, so that one write reaches all of them. The
// registry lies in sixteen backend owners of its own, which cannot be any user's.
const (
	userPrefix     = "u:"
	registryPrefix = "r:"
	buckets        = "0123456789abcdef"

	activeCollection = "active"
	keyCollection    = "keys"
	turnCollection   = "turn"
)

// secretKey names the record of the secret that seals references. Its owner cannot be
// any user's.
var secretKey = taskstore.Key{Owner: "s:", Task: "ref"}

// taskKey names the record of a task. For an id that Create cannot have made it returns
// ErrNotFound, so such an id does not reach the backend.
func taskKey(owner, id string) (taskstore.Key, error) {
	if err := checkOwner(owner); err != nil {
		return taskstore.Key{}, err
	}
	if !validID(id) {
		return taskstore.Key{}, ErrNotFound
	}
	return storedKey(owner, id), nil
}

// storedKey is taskKey for an owner and an id that were checked before.
func storedKey(owner, id string) taskstore.Key {
	return taskstore.Key{Owner: userPrefix + owner, Task: id}
}

// named is the inverse of storedKey.
func named(k taskstore.Key) (owner, id string) {
	return strings.TrimPrefix(k.Owner, userPrefix), k.Task
}

// tasksKey is the prefix of all tasks of an owner.
func tasksKey(owner string) taskstore.Key { return taskstore.Key{Owner: userPrefix + owner} }

// activeKey names the entry of a task among the active ones of its owner. Without an id
// it is the prefix of all entries.
func activeKey(owner, id string) taskstore.Key {
	return taskstore.Key{Owner: userPrefix + owner, Collection: activeCollection, Task: id}
}

// idempotencyKey names the record of an idempotency key by its hash. Without a hash it
// is the prefix of all keys.
func idempotencyKey(owner, hash string) taskstore.Key {
	return taskstore.Key{Owner: userPrefix + owner, Collection: keyCollection, Task: hash}
}

// turnKey names the record that says that an owner's active tasks were read lately.
func turnKey(owner string) taskstore.Key {
	return taskstore.Key{Owner: userPrefix + owner, Collection: turnCollection, Task: "turn"}
}

// registryKey names the registry's entry of a task. It hashes the owner, which may be
// too long for a key. All ids have one length, so different pairs of owner and id have
// different names.
func registryKey(owner, id string) taskstore.Key {
	task := id + "/" + hash(owner)
	return taskstore.Key{Owner: registryPrefix + hash(task)[:1], Task: task}
}

package tasks

import (
	"strings"

	"github.com/taskstore/taskstore"
)

// The keys of all records, see the package documentation. What belongs to one owner lies
// in collections of one backend owner, so that one write reaches all of it. The registry
// lies in sixteen backend owners of its own, which no user's owner can be.
const (
	userPrefix     = "u:"
	registryPrefix = "r:"
	buckets        = "0123456789abcdef"

	activeCollection = "active"
	keyCollection    = "keys"
	turnCollection   = "turn"
)

// secretKey names the record of what seals references. Its owner can be no user's.
var secretKey = taskstore.Key{Owner: "s:", Task: "ref"}

// taskKey names the record of a task. What is not an id that Create made reaches no
// backend.
func taskKey(owner, id string) (taskstore.Key, error) {
	if err := checkOwner(owner); err != nil {
		return taskstore.Key{}, err
	}
	if !validID(id) {
		return taskstore.Key{}, ErrNotFound
	}
	return storedKey(owner, id), nil
}

// storedKey is taskKey for what was checked before.
func storedKey(owner, id string) taskstore.Key {
	return taskstore.Key{Owner: userPrefix + owner, Task: id}
}

// named is the way back of storedKey.
func named(k taskstore.Key) (owner, id string) {
	return strings.TrimPrefix(k.Owner, userPrefix), k.Task
}

// tasksKey is the prefix of all tasks of an owner.
func tasksKey(owner string) taskstore.Key { return taskstore.Key{Owner: userPrefix + owner} }

// activeKey names the entry of a task among the active ones of its owner. Without an id
// it is the prefix of all of them.
func activeKey(owner, id string) taskstore.Key {
	return taskstore.Key{Owner: userPrefix + owner, Collection: activeCollection, Task: id}
}

// idempotencyKey names the record of an idempotency key by its hash. Without one it is
// the prefix of all of them.
func idempotencyKey(owner, hash string) taskstore.Key {
	return taskstore.Key{Owner: userPrefix + owner, Collection: keyCollection, Task: hash}
}

// turnKey names the record that says that an owner's active tasks were looked at lately.
func turnKey(owner string) taskstore.Key {
	return taskstore.Key{Owner: userPrefix + owner, Collection: turnCollection, Task: "turn"}
}

// registryKey names the registry's entry of a task. An id has one length, so no
// two pairs of owner and id have one name; an owner may be too long to be in it.
func registryKey(owner, id string) taskstore.Key {
	task := id + "/" + hash(owner)
	return taskstore.Key{Owner: registryPrefix + hash(task)[:1], Task: task}
}

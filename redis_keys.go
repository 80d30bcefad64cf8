package taskstore

import (
	"net/url"
	"strings"
)

// redisKeys builds every key and channel name of one RedisBackend. The layout is
// at the top of redis.go.
//
// Owner and task are escaped as in a URL query, which is injective and lets no
// brace and no colon of theirs through. So the parts cannot be confused, and the
// only hash tag of a key is the owner's: all keys of an owner are in one slot of
// a Cluster.
type redisKeys struct {
	prefix   string
	database string // what the names of channels end with: they know no databases
}

func escapeKeyPart(s string) string { return url.QueryEscape(s) }

// ownerKeys are the keys of one owner.
type ownerKeys struct {
	tasks  string // what the keys of the tasks start with
	index  string
	expiry string
}

func (k redisKeys) owner(owner string) ownerKeys {
	owner = escapeKeyPart(owner)
	return ownerKeys{
		tasks:  k.prefix + ":tasks:{" + owner + "}:",
		index:  k.prefix + ":idx:{" + owner + "}",
		expiry: k.prefix + ":exp:{" + owner + "}",
	}
}

// record is owner(key.Owner).task(key.Task), made at once.
func (k redisKeys) record(key Key) string {
	return k.prefix + ":tasks:{" + escapeKeyPart(key.Owner) + "}:" + escapeKeyPart(key.Task)
}

func (o ownerKeys) task(task string) string { return o.tasks + escapeKeyPart(task) }

// all returns the keys of a record and of its owner's indexes, as the scripts have
// them.
func (k redisKeys) all(key Key) [3]string {
	o := k.owner(key.Owner)
	return [3]string{o.task(key.Task), o.index, o.expiry}
}

// channel is the name of an owner's channel. That of database 0 is the name of the
// index.
func (k redisKeys) channel(owner string) string { return k.owner(owner).index + k.database }

// ownerOf returns the owner whose channel that is.
func (k redisKeys) ownerOf(channel string) string {
	name := strings.TrimSuffix(strings.TrimPrefix(channel, k.prefix+":idx:{"), "}"+k.database)
	owner, _ := url.QueryUnescape(name)
	return owner
}

// clock is the key that the clock script names so that a Cluster sends it to
// always the same node. Nothing is ever stored there.
func (k redisKeys) clock() string { return k.prefix + ":clock" }

package taskstore

import (
	"context"
	"iter"
	"strings"

	"github.com/taskstore/taskstore/internal/hub"
	"github.com/taskstore/taskstore/internal/redislink"
)

var _ OwnerLister = (*RedisBackend)(nil)

// scanCount is the number of keys that the server looks at in one round trip; it takes
// about a third of a millisecond for them.
const scanCount = 1000

// Owners implements [OwnerLister]. It walks all keys of the database by SCAN, on each
// master of a Cluster, a thousand in one round trip. The user needs the right to SCAN,
// which shows the names of all keys, including those that the user may not read.
//
// Owners may leave out an owner of a slot that is moved meanwhile, or of a server that is
// replaced without breaking a connection. It may yield an owner whose last record
// expired within the last second.
func (b *RedisBackend) Owners(ctx context.Context) iter.Seq2[string, error] {
	return func(yield func(string, error) bool) {
		if err := b.usable(ctx); err != nil {
			yield("", err)
			return
		}
		err := b.scanOwners(ctx, func(owner string) bool { return yield(owner, nil) })
		if err != nil {
			yield("", failure("list owners", Key{}, b.link.Ended(err)))
		}
	}
}

// scanOwners calls found with each owner once, until found returns false.
func (b *RedisBackend) scanOwners(ctx context.Context, found func(owner string) bool) error {
	nodes, err := redislink.Retry(ctx, b.link, func() ([]redislink.Node, error) { return b.link.Nodes(ctx) })
	if err != nil {
		return err
	}
	seen := make(map[string]bool)
	for _, node := range nodes {
		if node.Replica {
			continue
		}
		for cursor, more := uint64(0), true; more; {
			page, err := redislink.Retry(ctx, b.link, func() (redislink.ScanPage, error) {
				page, err := node.Scan(ctx, cursor, b.keys.indexes(), scanCount)
				if err != nil {
					cursor = 0 // another server may answer next, and a cursor belongs to one server
				}
				return page, err
			})
			if err != nil {
				return err
			}
			for _, key := range page.Keys {
				owner, ok := b.keys.ownerOfIndex(key)
				if !ok || seen[owner] {
					continue
				}
				seen[owner] = true
				if !found(owner) {
					return nil
				}
			}
			cursor, more = page.Next, page.Next != 0
			if err := b.usable(ctx); err != nil {
				return err
			}
		}
	}
	return nil
}

// indexes is a pattern that matches the keys of all indexes.
func (k redisKeys) indexes() string {
	return strings.NewReplacer(`\`, `\\`, `*`, `\*`, `?`, `\?`, `[`, `\[`, `]`, `\]`).Replace(k.prefix) + ":idx:{*"
}

// ownerOfIndex returns the owner of an index. ok is false if this package does not make
// an index with that key.
func (k redisKeys) ownerOfIndex(key string) (owner string, ok bool) {
	here := redisKeys{prefix: k.prefix} // a database has its own keys but not its own channels
	scope := here.scopeOf(key)
	return scope.Owner, scope.Owner != "" && here.scope(hub.Scope{Owner: scope.Owner, Collection: scope.Collection}).index == key
}

package taskstore

import "github.com/taskstore/taskstore/internal/hub"

// scopeOf is the collection of key.
func scopeOf(key Key) hub.Scope { return hub.Scope{Owner: key.Owner, Collection: key.Collection} }

// changes returns a function that passes hints to yield as the changes of a watch on prefix.
func changes(prefix Key, yield func(Change, error) bool) func(hub.Hint, error) bool {
	return func(h hub.Hint, err error) bool {
		if err != nil {
			return yield(Change{}, err)
		}
		return yield(ChangeOf(prefix, h.Task, Version(h.Version)), nil)
	}
}

package mcptasks_test

import (
	"testing"

	"github.com/taskstore/taskstore"
)

// An opener opens one store once more, as each replica does for itself.
type opener func() taskstore.StorageBackend

// stores are for the tests about several replicas, or about resources that are left behind.
// A live Redis joins them with the integration tag.
var stores = map[string]func(testing.TB) opener{
	"memory": func(testing.TB) opener {
		store := memory()
		return func() taskstore.StorageBackend { return store }
	},
}

// onEach runs test on a fresh store of each kind.
func onEach(t *testing.T, test func(t *testing.T, open opener)) {
	for name, store := range stores {
		t.Run(name, func(t *testing.T) {
			open := store(t) // a server that this starts is no leak of the test's
			noLeaks(t)
			test(t, open)
		})
	}
}

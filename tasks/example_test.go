package tasks_test

import (
	"context"
	"encoding/json"
	"fmt"

	"github.com/taskstore/taskstore"
	"github.com/taskstore/taskstore/tasks"
)

func Example() {
	ctx := context.Background()
	store, err := tasks.New(taskstore.NewMemoryBackend(nil), nil)
	if err != nil {
		panic(err)
	}
	task, _, err := store.Create(ctx, "alice", tasks.CreateParams{
		Request: json.RawMessage(`{"name":"render"}`),
		Holder:  "replica-1", // runs it, so has the lease
	})
	if err != nil {
		panic(err)
	}
	run := store.RunOf(task)
	go func() { // the work; a long one calls run.Renew every ten seconds
		if _, err := run.Complete(ctx, json.RawMessage(`{"pages":3}`)); err != nil {
			panic(err)
		}
	}()

	// Any replica waits for it.
	for t, err := range store.Changes(ctx, "alice", task.ID) {
		if err != nil {
			panic(err)
		}
		task = t
	}
	fmt.Println(task.Status, string(task.Result))
	_, err = store.Get(ctx, "bob", task.ID)
	fmt.Println(err)
	// Output:
	// completed {"pages":3}
	// tasks: task not found
}

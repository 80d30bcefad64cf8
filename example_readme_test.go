package taskstore_test

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/taskstore/taskstore"
)

func Example() {
	ctx := context.Background()
	var store taskstore.StorageBackend = taskstore.NewMemoryBackend(nil)
	// On Redis: store, err := taskstore.OpenRedis(ctx, "redis://localhost:6379", nil)

	now, _ := taskstore.Now(ctx, store) // the clock by which records expire
	key := taskstore.Key{Owner: "alice", Task: "b9f4c7e2"}
	task := taskstore.Value{Data: []byte("working"), ExpiresAt: now.Add(time.Hour)}
	version, err := store.PutIfVersion(ctx, key, task, 0) // create, and only create
	fmt.Println("created version", version, err)

	task.Data = []byte("completed")
	version, err = store.PutIfVersion(ctx, key, task, version) // update what was read
	fmt.Println("updated to version", version, err)

	task.Data = []byte("cancelled")
	_, err = store.PutIfVersion(ctx, key, task, 1) // somebody who still thinks it is version 1
	fmt.Println("too late:", errors.Is(err, taskstore.ErrVersionConflict))

	_, err = store.Get(ctx, taskstore.Key{Owner: "mallory", Task: "b9f4c7e2"})
	fmt.Println("another tenant:", err)

	records, _ := store.ListByPrefix(ctx, taskstore.Key{Owner: "alice"})
	fmt.Printf("alice has %d task: %s\n", len(records), records[0].Data)
	// Output:
	// created version 1 <nil>
	// updated to version 2 <nil>
	// too late: true
	// another tenant: taskstore: record not found
	// alice has 1 task: completed
}

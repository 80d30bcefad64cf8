package taskstore_test

import (
	"context"
	"errors"
	"fmt"
	"log"

	"github.com/redis/go-redis/v9"

	"github.com/taskstore/taskstore"
)

func ExampleNewMemoryBackend() {
	store := taskstore.NewMemoryBackend(&taskstore.MemoryOptions{MaxRecordsPerOwner: 1})
	ctx := context.Background()

	_, err := store.Put(ctx, taskstore.Key{Owner: "alice", Task: "1"}, taskstore.Value{})
	fmt.Println(err)
	_, err = store.Put(ctx, taskstore.Key{Owner: "alice", Task: "2"}, taskstore.Value{})
	fmt.Println(err)
	// Output:
	// <nil>
	// taskstore: capacity exceeded: at most 1 records per collection of an owner, the write asks for 2
}

func ExampleOpenRedis() {
	ctx := context.Background()
	store, err := taskstore.OpenRedis(ctx, "redis://localhost:6379/0", &taskstore.RedisOptions{
		Prefix:             "app:prod",
		MaxRecordsPerOwner: 10_000,
		MaxDataBytes:       1 << 20,
	})
	if err != nil {
		log.Fatal(err)
	}
	defer store.Close()
}

// A client that the program has anyway can be lent; Close leaves it open.
func ExampleNewRedisBackend() {
	client := redis.NewClusterClient(&redis.ClusterOptions{
		Addrs:                 []string{"10.0.0.1:6379", "10.0.0.2:6379"},
		ContextTimeoutEnabled: true,
	})
	defer client.Close()
	store, err := taskstore.NewRedisBackend(client, nil)
	if err != nil {
		log.Fatal(err)
	}
	defer store.Close()
}

// The loop updates a record that others may update too: it reads, changes, and writes if the
// record is still the same. Else it begins again.
func ExampleStorageBackend_compareAndSwap() {
	ctx := context.Background()
	var store taskstore.StorageBackend = taskstore.NewMemoryBackend(nil)
	key := taskstore.Key{Owner: "alice", Task: "report"}

	appendLine := func(line string) error {
		for {
			record, err := store.Get(ctx, key)
			if err != nil && !errors.Is(err, taskstore.ErrNotFound) {
				return err
			}
			record.Data = append(record.Data, line...)
			_, err = store.PutIfVersion(ctx, key, record.Value, record.Version) // version 0 creates
			if !errors.Is(err, taskstore.ErrVersionConflict) {
				return err
			}
		}
	}
	fmt.Println(appendLine("collecting; "), appendLine("writing"))

	record, _ := store.Get(ctx, key)
	fmt.Printf("version %d: %s\n", record.Version, record.Data)
	// Output:
	// <nil> <nil>
	// version 2: collecting; writing
}

func ExampleAll() {
	ctx := context.Background()
	store := taskstore.NewMemoryBackend(nil)
	for _, task := range []string{"render/1", "render/2", "upload/1"} {
		_, _ = store.Put(ctx, taskstore.Key{Owner: "alice", Task: task}, taskstore.Value{})
	}
	for record, err := range taskstore.All(ctx, store, taskstore.Key{Owner: "alice", Task: "render/"}) {
		if err != nil {
			log.Fatal(err)
		}
		fmt.Println(record.Key.Task)
	}
	// Output:
	// render/1
	// render/2
}

// A watch starts with a Resync: the program looks at everything, then at each change.
func ExampleWatcher() {
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	var store taskstore.StorageBackend = taskstore.NewMemoryBackend(nil)
	key := taskstore.Key{Owner: "alice", Task: "report"}

	watcher, ok := taskstore.As[taskstore.Watcher](store)
	if !ok {
		log.Fatal("poll instead")
	}
	for change, err := range watcher.Watch(ctx, key) {
		if err != nil {
			log.Fatal(err)
		}
		record, err := store.Get(ctx, key) // a hint says only when to look
		fmt.Println(change.Resync, record.Version, errors.Is(err, taskstore.ErrNotFound))
		if record.Version == 2 {
			break
		}
		_, _ = store.Put(ctx, key, taskstore.Value{})
	}
	// Output:
	// true 0 true
	// false 1 false
	// false 2 false
}

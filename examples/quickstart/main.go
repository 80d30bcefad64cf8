// Command quickstart shows the uses of a task store: it creates a task, updates it, loses a
// race, lists the tasks, and watches one and its expiry.
//
//	go run ./examples/quickstart                                # in memory
//	go run ./examples/quickstart -store redis://localhost:6379  # in Redis; run it twice
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"log"
	"os"
	"time"

	"github.com/google/uuid"

	"github.com/taskstore/taskstore"
)

func main() {
	log.SetFlags(0)
	url := flag.String("store", "memory:", "URL of the store: memory: or redis://HOST")
	flag.Parse()
	if flag.NArg() > 0 {
		log.Fatalf("unexpected argument %q: options begin with -, see -h", flag.Arg(0))
	}
	ctx := context.Background()

	store, err := taskstore.Open(ctx, *url)
	if err != nil {
		log.Fatal(err)
	}
	defer taskstore.Close(store)
	if err := run(ctx, os.Stdout, store); err != nil {
		log.Fatal(err)
	}
}

func run(ctx context.Context, out io.Writer, store taskstore.StorageBackend) error {
	const owner = "alice"

	// An earlier run, or another replica, may have left tasks.
	old, err := store.ListByPrefix(ctx, taskstore.Key{Owner: owner})
	if err != nil {
		return err
	}
	fmt.Fprintf(out, "tasks of %s from before: %d\n", owner, len(old))
	for _, task := range old {
		fmt.Fprintf(out, "  %s  version %d  %s\n", task.Key.Task, task.Version, task.Data)
	}

	// Expiries are computed from the store's clock, not from this process's.
	now, err := taskstore.Now(ctx, store)
	if err != nil {
		return err
	}

	// Create only: a task id that exists already is a conflict.
	key := taskstore.Key{Owner: owner, Task: uuid.NewString()}
	task := taskstore.Value{Data: []byte("working"), ExpiresAt: now.Add(10 * time.Minute)}
	version, err := store.PutIfVersion(ctx, key, task, 0)
	if err != nil {
		return err
	}
	fmt.Fprintf(out, "created   version %d  %s\n", version, task.Data)

	// Update: the write names the version on which it is based.
	task.Data = []byte("completed")
	newer, err := store.PutIfVersion(ctx, key, task, version)
	if err != nil {
		return err
	}
	fmt.Fprintf(out, "updated   version %d  %s\n", newer, task.Data)

	// A replica that has not seen this version loses the race, and its write changes no
	// data.
	task.Data = []byte("cancelled")
	_, err = store.PutIfVersion(ctx, key, task, version)
	var conflict *taskstore.VersionConflictError
	if !errors.As(err, &conflict) {
		return fmt.Errorf("a late update was not refused: %w", err)
	}
	fmt.Fprintf(out, "refused   %v\n", err)

	// Another tenant cannot read the task, even with its id.
	_, err = store.Get(ctx, taskstore.Key{Owner: "mallory", Task: key.Task})
	if !errors.Is(err, taskstore.ErrNotFound) {
		return fmt.Errorf("another owner was not refused: %w", err)
	}
	fmt.Fprintf(out, "isolated  %v\n", err)

	// Tasks are listed in order of creation, and long lists in pages.
	for record, err := range taskstore.All(ctx, store, taskstore.Key{Owner: owner}) {
		if err != nil {
			return err
		}
		fmt.Fprintf(out, "listed    %s  %s\n", record.Key.Task, record.Data)
	}
	return watchOneExpire(ctx, out, store, owner)
}

// watchOneExpire follows a short-lived task from its creation to its end.
func watchOneExpire(ctx context.Context, out io.Writer, store taskstore.StorageBackend, owner string) error {
	watcher, ok := taskstore.As[taskstore.Watcher](store)
	if !ok {
		return errors.New("this backend cannot be watched; poll Get instead")
	}
	key := taskstore.Key{Owner: owner, Task: uuid.NewString()}
	for change, err := range watcher.Watch(ctx, key) {
		if err != nil {
			return err
		}
		if change.Resync { // the watch is in place: it reports every write from now on
			now, err := taskstore.Now(ctx, store)
			if err != nil {
				return err
			}
			task := taskstore.Value{Data: []byte("short-lived"), ExpiresAt: now.Add(300 * time.Millisecond)}
			if _, err := store.PutIfVersion(ctx, key, task, 0); err != nil {
				return err
			}
			continue
		}
		fmt.Fprintf(out, "watched   version %d\n", change.Version)
		break
	}

	// Expiry sends no hint: a client that waits for it sets a timer.
	record, err := store.Get(ctx, key)
	for err == nil {
		time.Sleep(time.Until(record.ExpiresAt)/2 + time.Millisecond)
		record, err = store.Get(ctx, key)
	}
	if !errors.Is(err, taskstore.ErrNotFound) {
		return err
	}
	fmt.Fprintf(out, "expired   %v\n", err)
	return nil
}

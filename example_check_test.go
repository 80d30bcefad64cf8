package taskstore_test

import (
	"context"
	"log"
	"time"

	"github.com/taskstore/taskstore"
)

// A program reports at its start the faults that Check finds on its server.
func ExampleRedisBackend_Check() {
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	store, err := taskstore.OpenRedis(ctx, "redis://localhost:6379", nil)
	if err != nil {
		log.Fatal(err)
	}
	defer store.Close()

	findings, err := store.Check(ctx)
	if err != nil {
		log.Fatal(err) // no task could be written
	}
	for _, f := range findings {
		if f.Unknown {
			log.Print("cannot tell: ", f)
		} else {
			log.Print("set this right: ", f)
		}
	}
}

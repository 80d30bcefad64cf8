package pgstore_test

import (
	"context"
	"fmt"
	"os"

	"github.com/taskstore/taskstore"
	"github.com/taskstore/taskstore/pgstore"
)

func Example() {
	ctx := context.Background()
	url := os.Getenv("DATABASE_URL") // postgres://user:password@host/database
	if err := pgstore.Migrate(ctx, url, nil); err != nil {
		fmt.Println(err)
		return
	}
	store, err := pgstore.Open(ctx, url, nil)
	if err != nil {
		fmt.Println(err)
		return
	}
	defer store.Close()
	findings, err := store.Check(ctx)
	fmt.Println(findings, err)
	version, err := store.PutIfVersion(ctx, taskstore.Key{Owner: "alice", Task: "b9f4c7e2"}, taskstore.Value{Data: []byte("working")}, 0)
	fmt.Println(version, err)
}

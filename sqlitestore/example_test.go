package sqlitestore_test

import (
	"context"
	"fmt"
	"io"
	"os"
	"path/filepath"

	"github.com/taskstore/taskstore"
	"github.com/taskstore/taskstore/sqlitestore"
)

// Records outlive the process that wrote them.
func Example() {
	dir, err := os.MkdirTemp("", "")
	if err != nil {
		panic(err)
	}
	defer os.RemoveAll(dir)
	ctx, path := context.Background(), filepath.Join(dir, "tasks.db")

	store, err := sqlitestore.Open(ctx, path, nil)
	if err != nil {
		panic(err)
	}
	key := taskstore.Key{Owner: "alice", Task: "b9f4c7e2"}
	version, err := store.PutIfVersion(ctx, key, taskstore.Value{Data: []byte("working")}, 0)
	fmt.Println("created version", version, err)
	fmt.Println("closed", store.Close())

	again, err := taskstore.Open(ctx, "sqlite:"+path)
	if err != nil {
		panic(err)
	}
	record, err := again.Get(ctx, key)
	fmt.Println("read", string(record.Data), err)
	if closer, ok := again.(io.Closer); ok {
		_ = closer.Close()
	}
	// Output:
	// created version 1 <nil>
	// closed <nil>
	// read working <nil>
}

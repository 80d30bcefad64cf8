// A program that keeps records in an SQLite file.
package main

import (
	"context"
	"fmt"
	"log"
	"os"
	"path/filepath"

	"github.com/taskstore/taskstore"
	"github.com/taskstore/taskstore/sqlitestore"
)

func main() {
	ctx := context.Background()
	dir, err := os.MkdirTemp("", "consumer-")
	if err != nil {
		log.Fatal(err)
	}
	defer os.RemoveAll(dir)
	store, err := sqlitestore.Open(ctx, filepath.Join(dir, "tasks.db"), nil)
	if err != nil {
		log.Fatal(err)
	}
	defer store.Close()
	version, err := store.Put(ctx, taskstore.Key{Owner: "o", Task: "t"}, taskstore.Value{})
	fmt.Println("version", version, err)
}

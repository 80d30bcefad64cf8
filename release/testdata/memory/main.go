// A program that keeps records in memory.
package main

import (
	"context"
	"fmt"

	"github.com/taskstore/taskstore"
)

func main() {
	store := taskstore.NewMemoryBackend(nil)
	version, err := store.Put(context.Background(), taskstore.Key{Owner: "o", Task: "t"}, taskstore.Value{})
	fmt.Println("version", version, err)
}

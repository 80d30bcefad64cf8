// A program that keeps tasks in Redis.
package main

import (
	"context"
	"fmt"

	"github.com/taskstore/taskstore"
	"github.com/taskstore/taskstore/tasks"
)

func main() {
	store, err := taskstore.OpenRedis(context.Background(), "redis://127.0.0.1:1/?dial_timeout=1ms&max_retries=-1", nil)
	if err != nil {
		fmt.Println("no server")
		return
	}
	_, err = tasks.New(store, nil)
	fmt.Println(err)
}

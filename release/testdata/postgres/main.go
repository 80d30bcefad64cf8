// A program that opens PostgreSQL by its URL.
package main

import (
	"context"
	"errors"
	"fmt"

	"github.com/taskstore/taskstore"
	_ "github.com/taskstore/taskstore/pgstore"
)

func main() {
	_, err := taskstore.Open(context.Background(), "postgres://u@127.0.0.1:1/d")
	var refused *taskstore.ConnectError
	if errors.As(err, &refused) {
		fmt.Println("no server")
	}
}

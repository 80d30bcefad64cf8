package main

// The stores that register their URLs.
import (
	_ "github.com/taskstore/taskstore/pgstore"
	_ "github.com/taskstore/taskstore/sqlitestore"
)

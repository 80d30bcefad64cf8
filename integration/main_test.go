//go:build integration

// Package integration holds the tests of RedisBackend on live servers that need no
// name but the exported ones, each file named after its subject. They start their own
// servers; see the package internal/redistest.
package integration

import (
	"context"
	"testing"

	"github.com/taskstore/taskstore"
	"github.com/taskstore/taskstore/internal/redistest"
)

func TestMain(m *testing.M) { redistest.Main(m) }

var (
	ctx   = context.Background()
	key   = taskstore.Key{Owner: "owner", Task: "task"}
	hello = taskstore.Value{Data: []byte("hello")}
)

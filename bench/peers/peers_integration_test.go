//go:build integration

package peers_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/redis/go-redis/v9"

	"github.com/taskstore/taskstore"
	"github.com/taskstore/taskstore/bench/peers"
	"github.com/taskstore/taskstore/internal/redistest"
)

// A comparison is worth something if every peer really does the work.
func TestPeersDoTheirMeasuredWork(t *testing.T) {
	server := redistest.Start(t)
	database := func(n int) *redis.Client {
		c := redis.NewClient(&redis.Options{Addr: server.Addr(), DB: n})
		t.Cleanup(func() { _ = c.Close() })
		return c
	}
	ours, err := taskstore.NewRedisBackend(database(0), nil)
	if err != nil {
		t.Fatal(err)
	}
	all := []peers.Peer{
		peers.Taskstore("memory", taskstore.NewMemoryBackend(nil)), peers.Map(), peers.A2A(),
		peers.Taskstore("taskstore", ours), peers.Model(database(1)), peers.Valkeyrie(database(2)), peers.Asynq(database(3)),
	}
	for _, tcp := range []bool{false, true} {
		p, err := peers.NATS(t.Context(), tcp)
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, p)
	}
	for _, p := range all {
		t.Run(p.Name, func(t *testing.T) {
			if p.Close != nil {
				t.Cleanup(func() {
					if err := p.Close(); err != nil {
						t.Error(err)
					}
				})
			}
			check(t, t.Context(), p)
		})
	}
}

func check(t *testing.T, ctx context.Context, p peers.Peer) {
	data := []byte(strings.Repeat("a", 1024))
	const n = 30
	var records []peers.Record
	for i := range n {
		r, err := p.Create(ctx, "owner", fmt.Sprint("task-", i), data)
		if err != nil {
			t.Fatal(err)
		}
		records = append(records, r)
	}
	if _, err := p.Create(ctx, "other", "task-0", data); err != nil {
		t.Fatal(err)
	}
	got, err := p.Get(ctx, "owner", "task-7")
	if err != nil || !slices.Equal(got.Data, data) {
		t.Fatalf("get: %d bytes, %v", len(got.Data), err)
	}
	changed := []byte(strings.Repeat("b", 1024))
	next, err := p.Update(ctx, "owner", "task-7", changed, records[7])
	if err != nil {
		t.Fatal("update: ", err)
	}
	if got, err = p.Get(ctx, "owner", "task-7"); err != nil || !slices.Equal(got.Data, changed) {
		t.Fatalf("get after update: %d bytes, %v", len(got.Data), err)
	}
	if p.Swaps {
		if _, err := p.Update(ctx, "owner", "task-7", data, records[7]); !errors.Is(err, peers.ErrConflict) {
			t.Errorf("a stale update gives %v", err)
		}
		if _, err := p.Update(ctx, "owner", "task-7", data, next); err != nil {
			t.Error("the update after it: ", err)
		}
	}
	if p.List != nil {
		if got, err := p.List(ctx, "owner"); err != nil || got != n {
			t.Errorf("list: %d, %v", got, err)
		}
	}
	if p.Page != nil {
		if got, err := p.Page(ctx, "owner", 20); err != nil || got != 20 {
			t.Errorf("page: %d, %v", got, err)
		}
	}
	if p.Delete != nil {
		if err := p.Delete(ctx, "owner", "task-7"); err != nil {
			t.Fatal(err)
		}
		if _, err := p.Get(ctx, "owner", "task-7"); err == nil {
			t.Error("there after its deletion")
		}
		if p.List != nil {
			if got, err := p.List(ctx, "owner"); err != nil || got != n-1 {
				t.Errorf("list after a deletion: %d, %v", got, err)
			}
		}
	}
}

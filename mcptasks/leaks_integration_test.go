//go:build integration

package mcptasks_test

import (
	"context"
	"strings"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/taskstore/taskstore"
	"github.com/taskstore/taskstore/internal/redistest"
)

// Tasks and subscriptions that are over close their connections: each that listened for
// hints, and all others beyond the pool's size.
func TestConnectionsDoNotLeak(t *testing.T) {
	server := redistest.Start(t)
	noLeaks(t)
	const poolSize = 4
	release := make(chan struct{})
	close(release)
	url := server.URL() + "?client_name=replica&pool_size=4"
	opts := fast()
	opts.Tasks.MaxTasks, opts.Tasks.MaxActive = -1, -1
	r := start(t, openRedis(t, url, taskstore.RedisOptions{}), opts, statusTools(release))
	c := r.as("alice")
	var ids []string
	for range 1000 {
		ids = append(ids, c.create("work", nil))
	}
	for _, id := range ids {
		c.until(id, "completed")
	}
	asking := c.create("ask", nil)
	c.until(asking, "input_required")
	for range 200 {
		ctx, cancel := context.WithCancel(t.Context())
		events := c.listen(ctx, map[string]any{"taskIds": []string{asking}})
		next(t, events)
		cancel()
		for range events {
		}
	}

	options, err := redis.ParseURL(server.URL())
	if err != nil {
		t.Fatal(err)
	}
	client := redis.NewClient(options)
	defer client.Close()
	var connections []string
	for deadline := time.Now().Add(10 * time.Second); ; time.Sleep(20 * time.Millisecond) {
		list, err := client.ClientList(t.Context()).Result()
		if err != nil {
			t.Fatal(err)
		}
		connections = connections[:0]
		listening := 0
		for line := range strings.Lines(list) {
			if strings.Contains(line, "name=replica") {
				connections = append(connections, line)
				if !strings.Contains(line, " sub=0 ") {
					listening++
				}
			}
		}
		if listening == 0 && len(connections) <= poolSize {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("%d connections, %d of which listen, are left:\n%s", len(connections), listening, strings.Join(connections, ""))
		}
	}
}

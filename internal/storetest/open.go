// Package storetest opens Redis backends for live tests, each with its own keys on the
// servers of package redistest, and inspects their keys directly.
package storetest

import (
	"context"
	"strings"
	"testing"

	"github.com/google/uuid"
	"github.com/redis/go-redis/v9"

	"github.com/taskstore/taskstore"
	"github.com/taskstore/taskstore/internal/redistest"
)

// A Topology is a set of servers that all tests of a binary share.
type Topology struct {
	Name string
	URL  func(testing.TB) string
}

// Topologies are those on which every rule must hold.
var Topologies = []Topology{
	{"OneServer", redistest.SharedURL},
	{"Cluster", func(tb testing.TB) string { return redistest.SharedCluster(tb).URL() }},
	{"Sentinel", func(tb testing.TB) string { return redistest.SharedSentinel(tb).URL() }},
}

// OnEachTopology runs a test on each of [Topologies].
func OnEachTopology(t *testing.T, test func(t *testing.T, url string)) {
	for _, topology := range Topologies {
		t.Run(topology.Name, func(t *testing.T) { test(t, topology.URL(t)) })
	}
}

// Open opens a backend that ends with the test. Its prefix is a UUID unless opts has one,
// so its keys are its own.
func Open(tb testing.TB, url string, opts taskstore.RedisOptions) *taskstore.RedisBackend {
	tb.Helper()
	if opts.Prefix == "" {
		opts.Prefix = uuid.NewString()
	}
	b, err := taskstore.OpenRedis(context.Background(), url, &opts)
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() { _ = b.Close() })
	if external, ok := redistest.ExternalURL(); ok && strings.HasPrefix(url, external) {
		tb.Cleanup(func() { removeKeys(tb, external, opts.Prefix) })
	}
	return b
}

// removeKeys removes the keys of a prefix from an external server.
func removeKeys(tb testing.TB, url, prefix string) {
	ctx := context.Background()
	c := connect(tb, url)
	defer c.Close()
	keys := c.Scan(ctx, 0, prefix+":*", 10_000).Iterator()
	for keys.Next(ctx) {
		if err := c.Del(ctx, keys.Val()).Err(); err != nil {
			tb.Fatal(err)
		}
	}
	if err := keys.Err(); err != nil {
		tb.Fatal(err)
	}
}

func connect(tb testing.TB, url string) *redis.Client {
	tb.Helper()
	o, err := redis.ParseURL(url)
	if err != nil {
		tb.Fatal(err)
	}
	return redis.NewClient(o)
}
